//! Where ads of a policy category may be shown, and to whom.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::wire;
use crate::types::iso::country_code;
use crate::types::proto::journal::v1::PolicyRulesPut;
use crate::types::proto::v1::{AgeBand, PolicyCategory, PolicyRule};

/// Bits of every category.
const ALL: u16 = (1 << (PolicyCategory::Weapons as u16 + 1)) - 2;

/// Age bands, the unknown one first.
const BANDS: usize = AgeBand::AgeBand65Up as usize + 1;

/// First year of each band; of the unknown one none is sure.
const FIRST_YEARS: [u32; BANDS] = [0, 13, 18, 25, 35, 45, 55, 65];

/// The operator's rules, as written and as serving reads them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    put: PolicyRulesPut,
    blocks: Arc<Blocks>,
}

/// Which categories are blocked, by country and age band. Immutable.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Blocks {
    /// Ascending by country.
    by_country: Vec<(u16, [u16; BANDS])>,
}

impl Blocks {
    /// Returns the categories, one bit each by its number, whose ads may not be shown in a country to a
    /// viewer of an age band. Without a rule a category is blocked; so is one with a least age where
    /// the viewer's is unknown.
    pub fn blocked(&self, country: u16, age_band: u8) -> u16 {
        let found = self.by_country.binary_search_by_key(&country, |(country, _)| *country);
        let bands = found.ok().map(|at| self.by_country[at].1);
        bands.and_then(|bands| bands.get(usize::from(age_band)).copied()).unwrap_or(ALL)
    }

    fn of(rules: &[PolicyRule]) -> Self {
        let mut blocks = Self::default();
        for rule in rules {
            let Some(country) = country_code(&rule.country) else { continue };
            let found = blocks.by_country.binary_search_by_key(&country, |(country, _)| *country);
            let at = found.unwrap_or_else(|at| {
                blocks.by_country.insert(at, (country, [ALL; BANDS]));
                at
            });
            let bit = 1 << (rule.category as u16 & 15) & ALL;
            for (blocked, first_year) in blocks.by_country[at].1.iter_mut().zip(FIRST_YEARS) {
                if rule.allowed && first_year >= rule.age_min {
                    *blocked &= !bit;
                } else {
                    *blocked |= bit;
                }
            }
        }
        blocks
    }
}

impl Rules {
    /// Returns these rules. Of two for one category and country the later holds.
    pub fn of(put: PolicyRulesPut) -> Self {
        let blocks = Arc::new(Blocks::of(&put.rules));
        Self { put, blocks }
    }

    /// Returns all rules as they were written.
    pub fn all(&self) -> &[PolicyRule] {
        &self.put.rules
    }

    /// Returns what serving reads of them. A change makes a new one.
    pub const fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// Returns the categories that may not be shown; see [`Blocks::blocked`].
    pub fn blocked(&self, country: u16, age_band: u8) -> u16 {
        self.blocks.blocked(country, age_band)
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::message::serialize(&self.put, serializer)
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::message::deserialize(deserializer).map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALCOHOL: u16 = 1 << PolicyCategory::Alcohol as u16;

    fn rule(category: PolicyCategory, country: &str, allowed: bool, age_min: u32) -> PolicyRule {
        PolicyRule { category: category.into(), country: country.into(), allowed, age_min }
    }

    fn blocked(rules: &[PolicyRule], country: &str, band: AgeBand) -> u16 {
        let rules = Rules::of(PolicyRulesPut { rules: rules.to_vec() });
        rules.blocked(country_code(country).unwrap_or_default(), band as u8)
    }

    #[test]
    fn without_a_rule_every_category_is_blocked_everywhere() {
        assert_eq!(ALL, 0b1_1111_1110);
        assert_eq!(blocked(&[], "MX", AgeBand::AgeBand65Up), ALL);
        let rules = [rule(PolicyCategory::Alcohol, "MX", true, 0)];
        assert_eq!(blocked(&rules, "BR", AgeBand::AgeBand65Up), ALL);
        assert_eq!(blocked(&rules, "", AgeBand::AgeBand65Up), ALL);
        assert_eq!(blocked(&rules, "MX", AgeBand::AgeBand65Up), ALL & !ALCOHOL);
    }

    #[test]
    fn a_least_age_needs_a_viewer_known_to_be_as_old() {
        let rules = [rule(PolicyCategory::Alcohol, "MX", true, 18)];
        for (band, shown) in [
            (AgeBand::Unspecified, false),
            (AgeBand::AgeBand1317, false),
            (AgeBand::AgeBand1824, true),
            (AgeBand::AgeBand65Up, true),
        ] {
            assert_eq!(blocked(&rules, "MX", band) & ALCOHOL == 0, shown, "{band:?}");
        }
        let anyone = [rule(PolicyCategory::Alcohol, "MX", true, 0)];
        assert_eq!(blocked(&anyone, "MX", AgeBand::Unspecified) & ALCOHOL, 0);
    }

    #[test]
    fn a_rule_that_forbids_blocks_and_the_later_rule_holds() {
        let rules = [
            rule(PolicyCategory::Alcohol, "MX", true, 0),
            rule(PolicyCategory::Dating, "MX", true, 18),
            rule(PolicyCategory::Alcohol, "MX", false, 0),
        ];
        let dating = 1 << PolicyCategory::Dating as u16;
        assert_eq!(blocked(&rules, "MX", AgeBand::AgeBand2534), ALL & !dating);
    }
}
