//! Explanations beside the slow twin: each ad's reason, and that what is said to win wins.

use std::collections::BTreeMap;

use munadi::decide::explain::{Bars, Full, Judged, judge, obstacles};
use munadi::decide::groups::Member;
use munadi::decide::index::{Entry, Walker, Worth};
use munadi::decide::plain;
use munadi::decide::select::{Asked, Passes, Selector, Tray};
use munadi::decide::skip::Skip;
use munadi::decide::target::Told;
use munadi::state::rules::Blocks;

use crate::luck::Luck;
use crate::market::{Market, NOW, market};
use crate::twin::{asked, twin_wins};

#[derive(Default)]
struct Passed(BTreeMap<u32, Skip>);

impl Passes for Passed {
    fn pass(&mut self, entry: &Entry, skip: Skip) {
        self.0.insert(entry.ad, skip);
    }
}

#[test]
fn every_ad_of_a_market_has_the_reason_that_the_slow_twin_gives_it() {
    let mut luck = Luck::new(2_626);
    let (mut selector, mut walker, mut told) = <(Selector, Walker, Told)>::default();
    let mut covered = BTreeMap::<Option<Skip>, u32>::new();
    for case in 0..4_000 {
        let market = market(&mut luck);
        let (onlooker, blocks) = (market.onlooker(), Blocks::default());
        let asked = asked(&market, &onlooker, &blocks, luck.roll());
        let (mut tray, mut passed) = <(Tray, Passed)>::default();
        selector.select(&asked, &mut tray, &mut passed);
        let bars = Bars::of(&tray, &asked);
        told.take(&market.request.profile, market.request.placement, NOW);
        let mut found = BTreeMap::new();
        let take = |entry: &Entry, _: Worth, why| {
            found.insert(entry.ad, why);
        };
        walker.walk(&market.index, &told, &mut Full { asked: &asked, bars: &bars, take });
        let placed = |ad: u32| {
            let mut ads = tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok());
            ads.any(|placed| placed.entry.ad == ad)
        };
        for (ad, plain) in plain::judge(&market.drafts, &asked) {
            let context = format!("case {case}, ad {ad}");
            let walked = found.get(&ad).copied();
            let expected = match &plain {
                Err(Skip::NotTargeted) => None,
                Err(skip) => Some(Some(*skip)),
                Ok(_) if placed(ad) => Some(None),
                Ok(member) => Some(bars.verdict(ad, member.group, member.worth.total())),
            };
            assert_eq!(walked, expected, "{context}");
            let exact = passed.0.get(&ad).copied();
            assert!(exact.is_none() || Some(exact) == expected, "{context}: auction {exact:?}");
            assert!(plain.is_err() || placed(ad) || expected != Some(None), "{context}");
            *covered.entry(expected.unwrap_or(Some(Skip::NotTargeted))).or_default() += 1;
            check_judge(&market, &asked, &bars, &told, (ad, expected), &context);
        }
    }
    println!("{covered:?}");
    for skip in [Skip::Outbid, Skip::Separation, Skip::InterruptionCost, Skip::BudgetSpent] {
        assert!(covered.get(&Some(skip)).is_some_and(|count| *count > 50), "{skip:?}");
    }
}

/// Checks that one ad alone is judged as the walk judges it, and that its obstacles begin with serving's.
fn check_judge(
    market: &Market,
    asked: &Asked<'_>,
    bars: &Bars,
    told: &Told,
    (ad, expected): (u32, Option<Option<Skip>>),
    context: &str,
) {
    let draft = market.drafts.iter().find(|draft| draft.ad() == ad).expect("it was judged");
    let entry = draft.entry();
    let (worth, _) = asked.worth(entry);
    let against = obstacles(asked, entry, draft.extra(), worth);
    let first = asked.obstacle(entry, draft.extra(), worth);
    assert_eq!(against.first().copied(), first, "{context}");
    let said = match judge(draft, asked, bars, told) {
        Judged::Placed => Some(None),
        Judged::Mismatch(_) => None,
        Judged::Lost(lost) => Some(Some(lost.skip)),
    };
    assert_eq!(said, expected, "{context}");
}

#[test]
fn what_is_said_to_have_won_would_have_won_and_less_would_not() {
    let mut luck = Luck::new(404);
    let mut selector = Selector::default();
    let mut tried = 0;
    for case in 0..6_000 {
        let market = market(&mut luck);
        let (onlooker, blocks) = (market.onlooker(), Blocks::default());
        let asked = asked(&market, &onlooker, &blocks, luck.roll());
        let mut tray = Tray::default();
        selector.select(&asked, &mut tray, &mut Passed::default());
        let bars = Bars::of(&tray, &asked);
        let bids = plain::bids(&market.drafts, &asked);
        for (at, bid) in bids.iter().enumerate() {
            let lost = bars.won.iter().all(|won| won.ad != bid.ad);
            let (true, Some(needed)) = (lost, bars.needed(bid.ad, bid.group)) else { continue };
            let wins = |total: i64| {
                let value = total - bid.worth.quality;
                let mut others: Vec<Member> = bids.clone();
                others[at].worth.value = value;
                twin_wins(&market, &others).iter().any(|(_, won, _)| *won == at)
            };
            assert!(wins(needed), "case {case}, ad {}: {needed} is not enough", bid.ad);
            // At one less a lot may decide.
            assert!(!wins(needed - 2), "case {case}, ad {}: {needed} is too much", bid.ad);
            tried += 1;
        }
    }
    assert!(tried > 2_000, "{tried}");
}
