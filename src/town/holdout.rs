//! A holdout: one account's ads are held back from half of the viewers, so that the day's end can tell what
//! they bring about beyond what would have happened anyway.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::town::create::create;
use crate::town::error::TownError;
use crate::town::founding::{Founded, Shop};
use crate::town::life::Town;
use crate::town::lines::Kind;
use crate::town::places::PLACES;
use crate::town::talk::is_posted;
use crate::types::proto::v1;
use crate::types::request::Resource;

/// Viewers of the control group, in millionths: of all splits, halves find the smallest effects.
const CONTROL_MICROS: u32 = 500_000;

/// The account whose ads are held back, as the town must know it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct HeldOut {
    pub(crate) account: u64,
    /// Where its customers write, by their country.
    pub(crate) shops: BTreeMap<String, Vec<Shop>>,
}

impl Town {
    /// Holds the ads of one account back from half of the viewers, from the next second on: of those that have
    /// no limit and whose chats' platforms can tell viewers, the one whose ads are for the most people.
    /// Customers of old come to it with or without its ads ([`crate::town::Habits::loyal`]).
    ///
    /// # Errors
    /// When the experiment is refused or the server fails.
    pub async fn hold_out(&mut self) -> Result<(), TownError> {
        let Some(account) = busiest(&self.founded) else { return Ok(()) };
        let purse = self.founded.accounts.get(&account).cloned().unwrap_or_default();
        let experiment = Resource::Experiment(v1::Experiment {
            account_id: account,
            name: format!("{}, what its ads bring about", purse.name),
            control_micros: CONTROL_MICROS,
            ..Default::default()
        });
        let request_id = format!("town-{}-holdout", self.seed);
        let Some(door) = self.doors().campaigns.get_mut(purse.tenant) else { return Ok(()) };
        let created = create(door, request_id, experiment).await;
        let created = created.map_err(TownError::refused("CreateExperiment"))?;
        if let Resource::Experiment(experiment) = created {
            self.founded.experiments.push(experiment.id);
            let shops = shops_of(&self.founded, account);
            self.held_out = Some(HeldOut { account, shops });
        }
        Ok(())
    }
}

/// Returns the account whose ads are for the most people, ads by people: without a limit of its own, which
/// would end its day, and with chats of which the platforms can tell who is in them.
fn busiest(founded: &Founded) -> Option<u64> {
    let mut reaches = BTreeMap::<u64, Option<u32>>::new();
    for home in founded.ads.values() {
        let line = founded.budgets.get(&(Kind::Account, home.account));
        let is_limited = line.is_some_and(|line| line.lifetime.is_some());
        let reach = reaches.entry(home.account).or_insert(Some(0));
        *reach = if is_limited || is_posted(home.channel) {
            None
        } else {
            reach.map(|reach| reach + people(founded, home.ad_set))
        };
    }
    let known = reaches.into_iter().filter_map(|(account, reach)| Some((reach?, Reverse(account))));
    known.max().map(|(_, Reverse(account))| account)
}

/// Returns the share of the town's people that live where an ad set is shown, in thousandths.
fn people(founded: &Founded, ad_set: u64) -> u32 {
    let countries = founded.countries.get(&ad_set);
    let is_shown =
        |country: &str| countries.is_some_and(|known| known.iter().any(|it| it == country));
    PLACES.iter().filter(|place| is_shown(place.country)).map(|place| place.share).sum()
}

fn shops_of(founded: &Founded, account: u64) -> BTreeMap<String, Vec<Shop>> {
    let is_ours = |shop: &&Shop| {
        founded.ads.values().any(|home| home.account == account && home.endpoint == shop.endpoint)
    };
    let of_country = |(country, shops): (&String, &Vec<Shop>)| {
        let ours: Vec<Shop> = shops.iter().filter(is_ours).cloned().collect();
        (!ours.is_empty()).then(|| (country.clone(), ours))
    };
    founded.shops.iter().filter_map(of_country).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::founding::{AdHome, BudgetLine};
    use crate::types::money::Micros;

    /// Adds an ad of an account, shown in a country and leading to a channel.
    fn add(founded: &mut Founded, account: u64, country: &str, channel: v1::Channel) {
        let ad = founded.ads.len() as u64 + 1;
        let (endpoint, channel) = (account * 10, channel.into());
        let home = AdHome { account, ad_set: ad, endpoint, channel, ..AdHome::default() };
        founded.ads.insert(ad, home);
        founded.countries.insert(ad, vec![country.to_owned()]);
        let shops = founded.shops.entry(country.to_owned()).or_default();
        shops.push(Shop { endpoint, channel, ..Shop::default() });
    }

    #[test]
    fn the_account_is_the_one_for_the_most_people_of_those_that_can_be_measured() {
        let mut founded = Founded::default();
        assert_eq!(busiest(&founded), None);
        add(&mut founded, 1, "MX", v1::Channel::Whatsapp);
        add(&mut founded, 1, "MX", v1::Channel::Line);
        assert_eq!(busiest(&founded), None, "a webhook knows no viewers");
        add(&mut founded, 2, "US", v1::Channel::Line);
        add(&mut founded, 3, "BR", v1::Channel::Telegram);
        add(&mut founded, 4, "BR", v1::Channel::Rcs);
        assert_eq!(busiest(&founded), Some(3), "the first of two alike");
        add(&mut founded, 2, "BR", v1::Channel::Line);
        assert_eq!(busiest(&founded), Some(2));
        let limited = BudgetLine { account: 2, daily: None, lifetime: Some(Micros(1)) };
        founded.budgets.insert((Kind::Account, 2), limited);
        assert_eq!(busiest(&founded), Some(3));
        let shops = shops_of(&founded, 2);
        assert_eq!(shops.keys().collect::<Vec<_>>(), ["BR", "US"]);
        assert!(shops.values().flatten().all(|shop| shop.endpoint == 20));
    }
}
