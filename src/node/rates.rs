//! What is learned of action rates beside the running state, and shown to serving.
//!
//! Nothing of it is on disk: after recovery it is made anew from the catalog and the tallies.

use crate::decide::board::Board;
use crate::decide::rates::{Learned, Predictor, hide_rate};
use crate::node::live::{Live, locked};
use crate::state::chunk_of;
use crate::state::tallies::{AdTally, TallyChunk};
use crate::state::totals::Totals;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::Placement;

impl Live {
    /// Learns from a fact, and stores on the board the rates of its ad. Those of other ads wait for an event
    /// of their own: a campaign's new rate reaches each of its ads by then.
    pub(in crate::node) fn show_rates(&self, tallies: &TallyChunk, fact: &Kind) {
        let showing = match fact {
            Kind::ImpressionSeen(fact) => &fact.showing,
            Kind::Watched(fact) => &fact.showing,
            Kind::Tapped(fact) => &fact.showing,
            Kind::ClickMatched(fact) => &fact.showing,
            Kind::ConversionCredited(fact) => &fact.showing,
            Kind::FeedbackGiven(fact) => &fact.showing,
            _ => return,
        };
        let more = Totals::of(fact);
        let ad = showing.as_ref().map_or(0, |showing| showing.ad);
        let Some(tally) = tallies.ads.get(&ad) else { return };
        if more == Totals::NONE && !matches!(fact, Kind::FeedbackGiven(_)) {
            return;
        }
        let mut predictor = locked(&self.predictor);
        // There is none before recovery has come to its end: it is then made of all counts at once.
        let Some(predictor) = &mut *predictor else { return };
        let learned = predictor.learn(ad, &more);
        if learned == Learned::Factors {
            show_factors(&self.board, predictor);
        }
        if self.board.set_rates(ad, predictor.rates(ad, &tally.totals), hides(tally)) {
            locked(&self.outgrown).push(ad);
        }
    }

    /// Puts an ad where the catalog has it now, and stores its rates on the board: a new ad has those of its
    /// campaign. Called when it is written, before its row is built, which then allows for them.
    pub(in crate::node) fn place_ad(&self, ad: u64) {
        let family = self.catalog().family(ad);
        let Some(family) = family else { return };
        let tallies = self.tallies_at(chunk_of(ad));
        let tally = tallies.ads.get(&ad);
        let totals = tally.map_or(Totals::NONE, |tally| tally.totals);
        let mut predictor = locked(&self.predictor);
        let Some(predictor) = &mut *predictor else { return };
        if predictor.place(ad, family.campaign, family.category, &totals) == Learned::Factors {
            show_factors(&self.board, predictor);
        }
        // Its row is being built for them, so it is no matter whether they have outgrown the last one.
        self.board.set_rates(ad, predictor.rates(ad, &totals), tally.map_or(0, hides));
    }

    /// Learns from all that was ever counted, after recovery, and stores on the board what that says of each
    /// ad.
    pub(in crate::node) fn learn_rates(&self) {
        let mut predictor = Predictor::default();
        let catalog = self.catalog();
        let tally_of = |ad: u64, show: &mut dyn FnMut(Option<&AdTally>, &Totals)| {
            let tallies = self.tallies_at(chunk_of(ad));
            let tally = tallies.ads.get(&ad);
            show(tally, &tally.map_or(Totals::NONE, |tally| tally.totals));
        };
        for ad in catalog.ads.ids_after(0) {
            let Some(family) = catalog.family(ad) else { continue };
            tally_of(ad, &mut |_, totals| {
                predictor.place(ad, family.campaign, family.category, totals);
            });
        }
        // Only now is known what any of them falls back to.
        for ad in catalog.ads.ids_after(0) {
            tally_of(ad, &mut |tally, totals| {
                self.board.set_rates(ad, predictor.rates(ad, totals), tally.map_or(0, hides));
            });
        }
        show_factors(&self.board, &predictor);
        *locked(&self.predictor) = Some(predictor);
    }
}

/// Returns how often an ad is hidden or reported.
fn hides(tally: &AdTally) -> u16 {
    let [impressions, ..] = tally.totals.funnel();
    hide_rate(tally.hides, impressions)
}

fn show_factors(board: &Board, predictor: &Predictor) {
    let placements = [Placement::Status, Placement::Stories, Placement::Feed, Placement::ChatList];
    for placement in placements {
        board.set_factors(placement, predictor.factors()[placement as usize]);
    }
}
