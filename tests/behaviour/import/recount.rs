//! A thousand events of some hundred viewers, imported in batches between restarts, beside the naive recount.

use std::collections::{BTreeMap, BTreeSet};

use munadi::state::credit::timestamp;
use munadi::types::proto::v1::{
    AttributionRow, AttributionSpec, EventKind, MatchKind, Outcome, ReportRow, TouchKind,
};
use munadi::types::request::{ImportVerdict, Imported};
use munadi::types::time::MINUTE_MS;

use super::naive::{Expected, History, SPECS, Touch, expect};
use super::{Teller, everything, import, report, rows, viewer_of};
use crate::audited::audited;
use crate::stage::{Offer, Shop, Stage};

/// Viewers, each with a history of its own.
const HISTORIES: usize = 400;

/// Events of one message.
const BATCH: usize = 97;

/// Three shops by their windows, the first two of one account.
fn shops(stage: &mut Stage) -> [Shop; 3] {
    let offer = Offer::default();
    let [one, other] = [stage.shop(&offer).account, stage.shop(&offer).account];
    let mut index = 0;
    [one, one, other].map(|account| {
        let [click, view, engaged] = SPECS[index];
        index += 1;
        stage.shop_of(account, &offer, |row| {
            row.attribution_spec = Some(AttributionSpec {
                click_window_days: click as u32,
                view_window_days: view as u32,
                engaged_view_window_days: engaged as u32,
            });
        })
    })
}

/// Touches first, then what is known of them, then outcomes: as the command sends them.
fn items(shops: &[Shop; 3], history: &History) -> [Vec<Imported>; 3] {
    let viewer = viewer_of(&history.viewer);
    let of = |shop: usize| Teller { shop: &shops[shop], viewer };
    let [mut touches, mut watched] = [Vec::new(), Vec::new()];
    for seen in &history.seen {
        touches.push(of(seen.shop).impression(&seen.id, seen.at_ms));
        for (kind, is) in [(EventKind::Viewable, seen.viewable), (EventKind::Video50, seen.engaged)]
        {
            if is {
                watched.push(of(seen.shop).watched(&seen.id, kind, seen.at_ms + 10));
            }
        }
    }
    for tap in &history.taps {
        let impression = tap.of.map(|of| &*history.seen[of].id);
        touches.push(of(tap.shop).tap(&tap.id, impression, tap.at_ms));
    }
    // A tap may come before its impression.
    if viewer.is_multiple_of(2) {
        touches.reverse();
    }
    let outcomes = history.outcomes.iter().map(|told| {
        let tap = told.tap.map(|tap| &*history.taps[tap].id);
        let of = of(told.shop);
        match told.opens {
            true => of.conversation(&told.id, tap, told.at_ms),
            false => of.conversion(&told.id, tap, told.at_ms, told.micros),
        }
    });
    let outcomes = outcomes.collect();
    [touches, watched, outcomes]
}

#[test]
fn imported_histories_equal_a_naive_recount_and_count_once() {
    let mut stage = Stage::new();
    let shops = shops(&mut stage);
    let end_ms = stage.now.0 - MINUTE_MS;
    let histories: Vec<History> =
        (0..HISTORIES).map(|viewer| History::drawn(viewer, end_ms)).collect();
    let mut stages = [Vec::new(), Vec::new(), Vec::new()];
    for history in &histories {
        for (all, items) in stages.iter_mut().zip(items(&shops, history)) {
            all.extend(items);
        }
    }
    let all: Vec<Imported> = stages.into_iter().flatten().collect();
    let mut verdicts = Vec::new();
    for (number, batch) in all.chunks(BATCH).enumerate() {
        verdicts.extend(import(&mut stage, batch.to_vec()));
        // The hours go on, and what is remembered of live viewers is swept.
        stage.wait(7 * MINUTE_MS);
        if number % 11 == 5 {
            stage = stage.restarted();
        }
    }
    let expected: BTreeMap<u64, Expected> = histories
        .iter()
        .flat_map(|history| {
            let viewer = viewer_of(&history.viewer);
            history.outcomes.iter().map(move |told| (told, history, viewer))
        })
        .map(|(told, history, viewer)| {
            let of = Teller { shop: &shops[told.shop], viewer };
            let item = match told.opens {
                true => of.conversation(&told.id, None, told.at_ms),
                false => of.conversion(&told.id, None, told.at_ms, told.micros),
            };
            (item.outcome().unwrap(), expect(history, told))
        })
        .collect();
    check_verdicts(&all, &verdicts, &expected);
    let told = rows(&stage);
    assert_eq!(told.len(), expected.len());
    told.iter().for_each(|row| check_row(row, &expected[&row.outcome_id], &shops));
    check_report(&report(&stage), &shops, &histories, &expected);

    let before = everything(&stage);
    for batch in all.chunks(BATCH) {
        let again = import(&mut stage, batch.to_vec());
        assert!(again.iter().all(|verdict| *verdict == ImportVerdict::Already), "{again:?}");
    }
    assert_eq!(everything(&stage), before, "a second import changes nothing");
    let mut stage = stage.restarted();
    assert_eq!(everything(&stage), before, "and a restart neither");
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, .. } = stage;
    stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert_eq!(everything(&stage), before, "nor a checkpoint");
    let again = import(&mut stage, all[..BATCH].to_vec());
    assert!(again.iter().all(|verdict| *verdict == ImportVerdict::Already), "{again:?}");
    let audit = audited(&stage, |_| {});
    assert!(audit.equal, "{audit}");
}

fn check_verdicts(
    items: &[Imported],
    verdicts: &[ImportVerdict],
    expected: &BTreeMap<u64, Expected>,
) {
    assert_eq!(items.len(), verdicts.len());
    let mut reasons = BTreeSet::new();
    for (item, verdict) in items.iter().zip(verdicts) {
        let wanted = match item.outcome().map(|outcome| &expected[&outcome]) {
            None => ImportVerdict::Counted,
            Some(expected) => {
                reasons.insert(format!("{:?}", expected.declined));
                match expected.credited {
                    Some(_) => ImportVerdict::Matched,
                    None => ImportVerdict::Declined(expected.declined),
                }
            }
        };
        assert_eq!(*verdict, wanted, "{item:?}");
    }
    // The histories have some of everything.
    let known = ["NoTouch", "OutOfLookbackWindow", "Unspecified", "ViewThroughDisabled"];
    assert_eq!(reasons.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

fn check_row(row: &AttributionRow, expected: &Expected, shops: &[Shop; 3]) {
    let what = format!("{row:?}\nexpected {expected:?}");
    assert!(row.imported, "{what}");
    assert_eq!(row.decline_reason(), expected.declined, "{what}");
    let kind = if expected.opens { Outcome::Conversation } else { Outcome::Conversion };
    assert_eq!((row.outcome(), row.charged_micros, row.invalid), (kind, 0, 0), "{what}");
    assert_eq!((row.match_kind(), row.conversation_id), (MatchKind::Viewer, 0), "{what}");
    assert_eq!(row.event_time, Some(timestamp(expected.at_ms)), "{what}");
    let path: Vec<_> = row.path.iter().map(|it| (it.ad_id, it.time, it.kind())).collect();
    let wanted: Vec<_> = match expected.credited {
        None => Vec::new(),
        Some(_) => {
            let touch = |it: &Touch| (shops[it.shop].ad, Some(timestamp(it.at_ms)), it.kind);
            expected.path.iter().map(touch).collect()
        }
    };
    assert_eq!(path, wanted, "{what}");
    let Some(credited) = expected.credited else {
        assert_eq!((row.ad_id, row.touch_kind()), (0, TouchKind::Unspecified), "{what}");
        return;
    };
    assert_eq!((row.ad_id, row.touch_kind()), (shops[credited.shop].ad, credited.kind), "{what}");
    assert_eq!(row.touch_time, Some(timestamp(credited.at_ms)), "{what}");
    for model in 0..6 {
        let sum: u32 = row.path.iter().map(|it| it.credit_micros[model]).sum();
        let last_click = model == 2;
        assert!(sum == 1_000_000 || last_click && sum == 0, "model {model}: {what}");
    }
}

fn check_report(
    told: &[ReportRow],
    shops: &[Shop; 3],
    histories: &[History],
    expected: &BTreeMap<u64, Expected>,
) {
    for (index, shop) in shops.iter().enumerate() {
        let row = told.iter().find(|row| row.ad_id == shop.ad).expect("some of everything");
        let seen = || histories.iter().flat_map(|it| &it.seen).filter(|it| it.shop == index);
        let taps = histories.iter().flat_map(|it| &it.taps).filter(|it| it.shop == index);
        let counts = [seen().count(), seen().filter(|it| it.viewable).count(), taps.count()];
        assert_eq!([row.impressions, row.viewable, row.taps], counts.map(|count| count as u64));
        let credited = |it: &&Expected| it.credited.is_some_and(|credited| credited.shop == index);
        let (opened, sold): (Vec<_>, Vec<_>) =
            expected.values().filter(credited).partition(|it| it.opens);
        assert_eq!((row.conversations, row.conversions), (opened.len() as u64, sold.len() as u64));
        assert_eq!(row.conversion_value_micros, sold.iter().map(|it| it.micros).sum::<i64>());
        let people =
            |of: &[&Expected]| of.iter().map(|it| &it.viewer).collect::<BTreeSet<_>>().len() as u64;
        let tapped = histories.iter().filter(|it| it.taps.iter().any(|tap| tap.shop == index));
        let funnel = row.people.unwrap();
        assert_eq!(funnel.tapped, tapped.count() as u64);
        assert_eq!((funnel.opened, funnel.converted), (people(&opened), people(&sold)));
        let money = [row.spend_micros, row.over_delivered_micros, row.credited_micros];
        assert_eq!((money, row.invalid_impressions, row.invalid_taps), ([0; 3], 0, 0));
    }
}
