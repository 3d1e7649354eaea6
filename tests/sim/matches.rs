//! Openings that were taken to come from a tap which they don't name, looked up by hand among all taps.
//!
//! A batch's blocks stand in the order of their shards, so a batch is looked at when it is whole, and what
//! happened in the same batch proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{ConversationOpened, Tapped};
use munadi::types::proto::v1::{EntryPoint, MatchKind};

use crate::audit::{Finding, ensure, known};
use crate::coverage::Coverage;

const HALF_HOUR_MS: i64 = 1_800_000;

struct Tap {
    view: u64,
    ad: u64,
    country: u32,
    tap_ms: i64,
    batch: u64,
    /// The first batch in which an opening claimed it.
    claimed: Option<u64>,
}

/// The taps of the journal, and the openings of the batch that is being read.
#[derive(Default)]
pub(crate) struct Matches {
    /// By endpoint.
    taps: BTreeMap<u64, Vec<Tap>>,
    codes: BTreeMap<u64, u64>,
    opened: Vec<(ConversationOpened, u64)>,
    taken: BTreeSet<u64>,
}

impl Matches {
    pub(crate) fn note(&mut self, kind: &Kind, batch: u64) -> Finding {
        match kind {
            Kind::Tapped(fact) if fact.invalid == 0 => self.tapped(fact, batch)?,
            Kind::ConversationOpened(fact) => self.opened.push((*fact, batch)),
            _ => {}
        }
        Ok(())
    }

    fn tapped(&mut self, fact: &Tapped, batch: u64) -> Finding {
        let (showing, country) = (known(&fact.showing)?, fact.country);
        self.codes.insert(fact.code, showing.view);
        self.taps.entry(fact.endpoint).or_default().push(Tap {
            view: showing.view,
            ad: showing.ad,
            country,
            tap_ms: fact.event_ms,
            batch,
            claimed: None,
        });
        Ok(())
    }

    /// Looks at the openings of a batch that has been read whole.
    pub(crate) fn check_batch(&mut self, coverage: &mut Coverage) -> Finding {
        let opened = std::mem::take(&mut self.opened);
        // What anybody claimed in this batch was perhaps claimed before.
        for (fact, batch) in &opened {
            let proof = fact.proof.unwrap_or_default();
            let named = self.codes.get(&proof.code).copied().filter(|_| proof.code != 0);
            let view = named.unwrap_or(proof.view);
            for tap in self.taps.values_mut().flatten().filter(|tap| tap.view == view) {
                tap.claimed.get_or_insert(*batch);
            }
        }
        for (fact, batch) in &opened {
            self.look(fact, *batch, coverage).map_err(|what| format!("{what}: {fact:?}"))?;
        }
        Ok(())
    }

    fn look(&mut self, fact: &ConversationOpened, batch: u64, coverage: &mut Coverage) -> Finding {
        let none = Vec::new();
        let proof = fact.proof.unwrap_or_default();
        let all = self.taps.get(&fact.endpoint).unwrap_or(&none);
        let inside = |tap: &&Tap| (0..HALF_HOUR_MS).contains(&(fact.event_ms - tap.tap_ms));
        let of_country = |tap: &&Tap| tap.country == fact.country || tap.country == 0;
        let free = |tap: &&Tap| tap.batch < batch && tap.claimed.is_none();
        let found = all.iter().filter(inside).find(|tap| tap.view == proof.view);
        let kind = if fact.source != 0 { MatchKind::SourceCode } else { proof.match_kind() };
        coverage.note("match", kind.as_str_name());
        match kind {
            MatchKind::ChannelRef => {
                let of_ad = |tap: &&Tap| tap.ad == proof.ad;
                let newer = |tap: &&Tap| found.is_none_or(|found| tap.tap_ms > found.tap_ms);
                let better =
                    all.iter().filter(inside).filter(of_ad).filter(free).any(|tap| newer(&tap));
                ensure(!better, || "a newer tap of the ad was free".into())?;
                ensure(proof.view == 0 || found.is_some_and(|tap| of_ad(&tap)), || {
                    "a tap of another ad, endpoint or time".into()
                })?;
                if proof.view == 0 {
                    coverage.note("match", "no tap of the ad");
                    return Ok(());
                }
            }
            MatchKind::OnlyTap => {
                let found = found.ok_or("no such tap on this endpoint at this time")?;
                let here = fact.country != 0 && found.country == fact.country;
                ensure(here, || "a tap of another country".into())?;
                let others = all.iter().filter(inside).filter(of_country).filter(free).count();
                ensure(others == 0, || "it was not the only tap".into())?;
            }
            MatchKind::Unspecified => {
                let asks = matches!(fact.entry_point(), EntryPoint::Ad | EntryPoint::Organic);
                let mut here = all.iter().filter(inside).filter(of_country);
                let (first, second) = (here.next(), here.next());
                let sure = first.is_some_and(|tap| free(&tap) && tap.country != 0);
                let missed = asks && fact.country != 0 && sure && second.is_none();
                return ensure(!missed, || "the only tap was not found".into());
            }
            MatchKind::ClickToken
            | MatchKind::PrefillCode
            | MatchKind::SourceCode
            | MatchKind::Viewer => return Ok(()),
        }
        ensure(self.taken.insert(proof.view), || "a tap was taken twice".into())?;
        let claimed = found.and_then(|tap| tap.claimed);
        ensure(claimed.is_none_or(|first| first == batch), || "the tap was claimed before".into())
    }
}
