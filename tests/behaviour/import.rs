//! Histories of another system: attributed as they were, counted once, charged and learned from never.

mod naive;
mod recount;
mod wire;

use std::sync::Arc;

use munadi::decide::imports::{IMPORT_AGE_MS_MAX, conversion_outcome};
use munadi::decide::record::FUTURE_MS_MAX;
use munadi::node::writer::Work;
use munadi::state::credit::timestamp;
use munadi::state::past::PAST_TOUCHES_MAX;
use munadi::tokens::{imported_conversation, imported_view};
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{
    AttributionRow, CapEvent, DeclineReason, Dimension, EventKind, FrequencyCap, Money, ReportRow,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{
    Import, ImportVerdict, Imported, ImportedEvent, Incoming, Origin, Verdict,
};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

use crate::stage::{ALL, Offer, Shop, Stage, charged, sale};

/// The account's own viewers have numbers like any others.
fn viewer_of(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    u64::from_be_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

/// Words for what another system says of a shop's viewer.
struct Teller<'a> {
    shop: &'a Shop,
    viewer: u64,
}

impl Teller<'_> {
    fn item(&self, at_ms: i64, event: ImportedEvent) -> Imported {
        let Shop { tenant, account, .. } = *self.shop;
        Imported { tenant, account, viewer: self.viewer, at: Moment(at_ms), event }
    }

    fn view(&self, is_tap: bool, id: &str) -> u64 {
        imported_view(self.shop.account, self.viewer, is_tap, id)
    }

    fn impression(&self, id: &str, at_ms: i64) -> Imported {
        let (view, ad) = (self.view(false, id), self.shop.ad);
        self.item(at_ms, ImportedEvent::Impression { view, ad })
    }

    fn watched(&self, id: &str, kind: EventKind, at_ms: i64) -> Imported {
        let (view, ad) = (self.view(false, id), self.shop.ad);
        self.item(at_ms, ImportedEvent::Watched { view, ad, kind })
    }

    fn tap(&self, id: &str, impression: Option<&str>, at_ms: i64) -> Imported {
        let (view, ad) = (self.view(true, id), self.shop.ad);
        let tapped_view = impression.map_or(0, |impression| self.view(false, impression));
        self.item(at_ms, ImportedEvent::Tap { view, ad, tapped_view })
    }

    fn conversation(&self, id: &str, tap: Option<&str>, at_ms: i64) -> Imported {
        let outcome = imported_conversation(self.shop.account, id);
        let tap = tap.map_or(0, |tap| self.view(true, tap));
        self.item(at_ms, ImportedEvent::Conversation { outcome, tap })
    }

    fn conversion(&self, id: &str, tap: Option<&str>, at_ms: i64, micros: i64) -> Imported {
        let event = ImportedEvent::Conversion {
            outcome: conversion_outcome(self.shop.account, id),
            tap: tap.map_or(0, |tap| self.view(true, tap)),
            event_id: id.to_owned(),
            name: "Purchase".into(),
            value: Some(Money { micros, currency: "MXN".into() }),
        };
        self.item(at_ms, event)
    }
}

fn import(stage: &mut Stage, items: Vec<Imported>) -> Vec<ImportVerdict> {
    let history = Arc::new(Import { items, dry_run: false });
    stage.work(|reply| Work::Import(history, reply)).unwrap()
}

fn import_one(stage: &mut Stage, item: Imported) -> ImportVerdict {
    import(stage, vec![item]).remove(0)
}

fn judged(stage: &mut Stage, item: Imported) -> ImportVerdict {
    let history = Arc::new(Import { items: vec![item], dry_run: true });
    stage.work(|reply| Work::Import(history, reply)).unwrap().remove(0)
}

fn refused(verdict: &ImportVerdict) -> (&str, Reason) {
    match verdict {
        ImportVerdict::Refused(refusal) => (&refusal.field, refusal.reason),
        other => panic!("not refused: {other:?}"),
    }
}

fn rows(stage: &Stage) -> Vec<AttributionRow> {
    let (mut cursor, mut rows) = (SeqVector::default(), Vec::new());
    loop {
        let page = stage.front.pull(ALL, &cursor, stage.now.plus_ms(HOUR_MS)).0;
        rows.extend(page.rows);
        cursor = page.cursor;
        if !page.more {
            return rows;
        }
    }
}

fn report(stage: &Stage) -> Vec<ReportRow> {
    stage.report(&[Dimension::Ad]).rows
}

/// What another import must not change.
fn everything(stage: &Stage) -> (Vec<AttributionRow>, Vec<ReportRow>) {
    (rows(stage), stage.report(&[Dimension::Ad, Dimension::Hour]).rows)
}

#[test]
fn a_crash_between_credit_and_settling_loses_and_doubles_nothing() {
    for lost in 0..4 {
        let mut stage = Stage::new();
        let shop = stage.shop(&Offer::default());
        let of = Teller { shop: &shop, viewer: viewer_of("ana") };
        let at_ms = stage.now.0 - DAY_MS;
        import(&mut stage, vec![of.tap("t", None, at_ms)]);
        let sold = || {
            let unknown = Teller { shop: &shop, viewer: viewer_of("nobody") };
            vec![
                of.conversion("credited", None, at_ms + HOUR_MS, 7),
                unknown.conversation("declined", None, at_ms + HOUR_MS),
            ]
        };
        let first = import(&mut stage, sold());
        let declined = ImportVerdict::Declined(DeclineReason::NoTouch);
        assert_eq!(first, [ImportVerdict::Matched, declined]);
        let whole = everything(&stage);
        let mut stage = stage.losing(lost);
        let again = import(&mut stage, sold());
        let known = |verdict: &ImportVerdict| *verdict == ImportVerdict::Already;
        assert!(again.iter().all(known) || again == first, "{lost}: {again:?}");
        assert_eq!(report(&stage), stage.restarted().front_report(&whole), "{lost}");
    }
}

impl Stage {
    /// Checks rows against those of a whole run, and returns the report.
    fn front_report(&self, whole: &(Vec<AttributionRow>, Vec<ReportRow>)) -> Vec<ReportRow> {
        let told = rows(self);
        let ids = |rows: &[AttributionRow]| -> Vec<(u64, i32, u64)> {
            let mut ids: Vec<_> =
                rows.iter().map(|row| (row.outcome_id, row.decline_reason, row.ad_id)).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(&told), ids(&whole.0));
        report(self)
    }
}

#[test]
fn a_history_charges_nobody_teaches_nothing_and_caps_nothing() {
    let mut stage = Stage::new();
    let caps = vec![FrequencyCap {
        max_frequency: 1,
        interval_hours: 24,
        event: CapEvent::Impressions.into(),
    }];
    let shop = stage.shop(&Offer { caps, ..Offer::default() });
    let rates = stage.front.rates(shop.ad);
    let balance = stage.front.balance(ALL, shop.account).unwrap();
    // Under the names by which the feed asks.
    let of = Teller { shop: &shop, viewer: stage.viewer("a") };
    let at_ms = stage.now.0 - MINUTE_MS;
    let mut items = Vec::new();
    for number in 0..100 {
        let id = format!("{number}");
        items.push(of.impression(&id, at_ms));
        items.push(of.watched(&id, EventKind::Viewable, at_ms));
        items.push(of.tap(&id, Some(&id), at_ms));
        items.push(of.conversation(&id, Some(&id), at_ms));
        items.push(of.conversion(&id, None, at_ms, 5));
    }
    let verdicts = import(&mut stage, items);
    assert!(
        verdicts
            .iter()
            .all(|verdict| { matches!(verdict, ImportVerdict::Counted | ImportVerdict::Matched) })
    );
    assert_eq!(stage.front.rates(shop.ad), rates);
    assert_eq!(stage.front.balance(ALL, shop.account).unwrap(), balance);
    let whole = report(&stage);
    assert_eq!((whole[0].impressions, whole[0].taps, whole[0].conversions), (100, 100, 100));
    assert_eq!(whole[0].spend_micros, 0);
    let mut stage = stage.restarted();
    assert_eq!(stage.front.rates(shop.ad), rates, "recovery learns as little");
    // It is shown all the same, by the price of a new ad, and what it does is no invalid traffic.
    let shown = stage.show("a");
    assert_eq!(stage.see(&shown), 1_000_000);
    match stage.happen(&shown, EventKind::Tap) {
        Verdict::Recorded { invalid: None, .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(report(&stage)[0].people.unwrap().tapped, 1, "one person, imported and here");
}

#[test]
fn what_happens_here_is_credited_to_imported_touches_too_but_not_learned_from() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let viewer = stage.viewer("ana");
    let of = Teller { shop: &shop, viewer };
    let sold = |stage: &mut Stage, id: &str| {
        let sold = sale(&shop, id, 9_000_000, Origin::Viewer { account: shop.account });
        let told = munadi::types::request::Conversion { viewer, tenant: 0, ..sold };
        charged(&stage.record(Incoming::Converted(Box::new(told))));
        rows(stage).into_iter().find(|row| row.event_id == id).unwrap()
    };
    let shown = stage.tapped("ana");
    stage.wait(HOUR_MS);
    let here = sold(&mut stage, "here");
    assert_eq!((here.ad_id, here.imported, here.path.len()), (shop.ad, false, 1));
    let rates = stage.front.rates(shop.ad);
    let tapped_ms = stage.now.0 - MINUTE_MS;
    import(&mut stage, vec![of.tap("t", None, tapped_ms)]);
    let there = sold(&mut stage, "there");
    assert_eq!((there.ad_id, there.imported, there.path.len()), (shop.ad, true, 2));
    assert_eq!(there.touch_time, Some(timestamp(tapped_ms)));
    assert_eq!(stage.front.rates(shop.ad), rates);
    // An imported sale is credited to what was tapped here, if that was the last.
    stage.wait(HOUR_MS);
    let next = stage.show("ana");
    stage.see(&next);
    stage.tap(&next);
    stage.wait(MINUTE_MS);
    let now_ms = stage.now.0;
    let verdict = import_one(&mut stage, of.conversion("other", None, now_ms, 5));
    assert_eq!(verdict, ImportVerdict::Matched);
    let other = rows(&stage).into_iter().find(|row| row.event_id == "other").unwrap();
    assert_eq!((other.imported, other.path.len()), (true, 3));
    // An imported conversation takes no tap from one that is opened here.
    let verdict = import_one(&mut stage, of.conversation("chat", None, now_ms));
    assert_eq!(verdict, ImportVerdict::Matched);
    let click = stage.click(&next);
    let claim = Some(munadi::types::request::Claim::Click(click));
    charged(&stage.open_chat(&shop, "contact", claim));
    let opened = rows(&stage).into_iter().rfind(|row| row.conversation_id != 0).unwrap();
    assert_eq!((opened.decline_reason(), opened.imported), (DeclineReason::Unspecified, false));
    assert_ne!(shown.token.view, next.token.view);
}

#[test]
fn an_event_counts_once_whichever_way_it_comes() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let of = Teller { shop: &shop, viewer: stage.viewer("ana") };
    let shown = stage.tapped("ana");
    let click = stage.click(&shown);
    stage.wait(MINUTE_MS);
    charged(&stage.convert(&shop, "order", Origin::Click(click)));
    let now_ms = stage.now.0;
    let same = of.conversion("order", None, now_ms, 9_000_000);
    assert_eq!(import_one(&mut stage, same), ImportVerdict::Already);
    let dearer = of.conversion("order", None, now_ms, 8_000_000);
    assert_eq!(refused(&import_one(&mut stage, dearer)), ("event_id", Reason::IdReused));
    import(&mut stage, vec![of.conversion("imported", None, now_ms, 9_000_000)]);
    assert_eq!(stage.convert(&shop, "imported", Origin::Click(click)), Verdict::Already);
    // In one message, too.
    let twice = vec![of.tap("t", None, now_ms), of.tap("t", None, now_ms)];
    assert_eq!(import(&mut stage, twice), [ImportVerdict::Counted, ImportVerdict::Already]);
    // The same id of another type, viewer or account is another event.
    let ben = Teller { shop: &shop, viewer: stage.viewer("ben") };
    let others = vec![of.impression("t", now_ms), ben.tap("t", None, now_ms)];
    assert_eq!(import(&mut stage, others), [ImportVerdict::Counted, ImportVerdict::Counted]);
    let chat = of.conversation("t", None, now_ms);
    assert_eq!(import_one(&mut stage, chat), ImportVerdict::Matched);
    let chat = ben.conversation("t", None, now_ms);
    assert_eq!(refused(&import_one(&mut stage, chat)), ("event_id", Reason::IdReused));
    assert_eq!(report(&stage)[0].conversions, 2);
}

#[test]
fn each_bad_event_is_refused_by_its_field_and_changes_nothing() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let second = stage.shop_in(shop.account, &Offer::default());
    let other = stage.shop(&Offer { currency: "BRL", ..Offer::default() });
    let viewer = viewer_of("ana");
    let of = Teller { shop: &shop, viewer };
    let now_ms = stage.now.0;
    let tap = of.tap("t", None, now_ms);
    import(&mut stage, vec![tap.clone(), of.impression("i", now_ms)]);
    let before = everything(&stage);
    let moved = |at_ms: i64| Imported { at: Moment(at_ms), ..tap.clone() };
    let foreign = Teller { shop: &other, viewer };
    let of_ad = |event: ImportedEvent| of.item(now_ms, event);
    let (view, ad) = (of.view(true, "u"), other.ad);
    let seen = of.view(false, "i");
    let video = ImportedEvent::Watched { view: seen, ad: second.ad, kind: EventKind::Video50 };
    let brl = foreign.conversion("c", None, now_ms, 5);
    let bad = [
        (Imported { tenant: shop.tenant + 1, ..tap.clone() }, "account_id", Reason::NotFound),
        (Imported { account: 77, ..tap.clone() }, "account_id", Reason::NotFound),
        (moved(now_ms + FUTURE_MS_MAX + 1), "event_time", Reason::EventFromFuture),
        (moved(now_ms - IMPORT_AGE_MS_MAX - 1), "event_time", Reason::EventTooOld),
        (moved(now_ms - 1), "event_id", Reason::IdReused),
        (of_ad(ImportedEvent::Tap { view, ad, tapped_view: 0 }), "ad_id", Reason::NotFound),
        (of_ad(ImportedEvent::Impression { view, ad: 78 }), "ad_id", Reason::NotFound),
        (of_ad(video), "ad_id", Reason::FieldInvalid),
        (of.watched("x", EventKind::Video50, now_ms), "impression_event_id", Reason::ViewMissing),
        (brl, "currency", Reason::CurrencyInvalid),
    ];
    for (item, field, reason) in bad {
        let verdict = import_one(&mut stage, item.clone());
        assert_eq!(refused(&verdict), (field, reason), "{item:?}");
        assert!(reason != Reason::CurrencyInvalid || format!("{verdict:?}").contains("BRL"));
    }
    assert_eq!(everything(&stage), before);
    // An operator may speak for every account.
    let by_operator = Imported { tenant: 0, ..of.tap("o", None, now_ms) };
    assert_eq!(import_one(&mut stage, by_operator), ImportVerdict::Counted);
    let edge = of.tap("edge", None, now_ms - IMPORT_AGE_MS_MAX);
    assert_eq!(import_one(&mut stage, edge), ImportVerdict::Counted);
}

#[test]
fn a_viewer_has_only_so_many_imported_touches() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let of = Teller { shop: &shop, viewer: viewer_of("ana") };
    let at_ms = stage.now.0 - HOUR_MS;
    let tap = |number: usize| of.tap(&format!("{number}"), None, at_ms);
    let verdicts = import(&mut stage, (0..=PAST_TOUCHES_MAX).map(tap).collect());
    let (last, others) = verdicts.split_last().unwrap();
    assert!(others.iter().all(|verdict| *verdict == ImportVerdict::Counted));
    assert_eq!(refused(last), ("viewer", Reason::ViewerFull));
    assert_eq!(import_one(&mut stage, tap(5)), ImportVerdict::Already);
}

#[test]
fn what_can_no_longer_be_told_from_a_repeat_is_refused() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let of = Teller { shop: &shop, viewer: viewer_of("ana") };
    let at_ms = stage.now.0 - 80 * DAY_MS;
    let history = || {
        vec![
            of.impression("i", at_ms),
            of.tap("t", Some("i"), at_ms),
            of.conversation("c", None, at_ms + HOUR_MS),
            of.conversion("s", None, at_ms + HOUR_MS, 5),
        ]
    };
    let matched = ImportVerdict::Matched;
    let counted = ImportVerdict::Counted;
    let first = import(&mut stage, history());
    assert_eq!(first, [counted.clone(), counted, matched.clone(), matched]);
    for _ in 0..15 {
        stage.wait(DAY_MS);
        for verdict in import(&mut stage, history()) {
            let again = verdict == ImportVerdict::Already;
            assert!(again || refused(&verdict) == ("event_time", Reason::EventTooOld));
        }
    }
    let counts = &report(&stage)[0];
    assert_eq!((counts.impressions, counts.taps), (1, 1));
    assert_eq!((counts.conversations, counts.conversions), (1, 1));
}

#[test]
fn a_dry_run_says_what_would_be_and_counts_nothing() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let of = Teller { shop: &shop, viewer: viewer_of("ana") };
    let now_ms = stage.now.0;
    let head = stage.writer.log().last_batch();
    let counted = ImportVerdict::Counted;
    assert_eq!(judged(&mut stage, of.impression("i", now_ms)), counted);
    // Its impression would stand before it.
    assert_eq!(judged(&mut stage, of.watched("i", EventKind::Viewable, now_ms)), counted);
    assert_eq!(judged(&mut stage, of.conversation("c", None, now_ms)), counted);
    let late = judged(&mut stage, of.tap("t", None, now_ms - 99 * DAY_MS));
    assert_eq!(refused(&late), ("event_time", Reason::EventTooOld));
    assert_eq!(stage.writer.log().last_batch(), head);
    assert!(rows(&stage).is_empty() && report(&stage).is_empty());
    import(&mut stage, vec![of.impression("i", now_ms)]);
    assert_eq!(judged(&mut stage, of.impression("i", now_ms)), ImportVerdict::Already);
}

#[test]
fn an_outcome_before_its_touches_is_declined_and_says_so() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let of = Teller { shop: &shop, viewer: viewer_of("ana") };
    let at_ms = stage.now.0 - HOUR_MS;
    let sold = |id: &str, tap| of.conversion(id, tap, at_ms + 1, 5);
    let early = vec![sold("early", None), sold("early and proven", Some("t"))];
    let declined = || ImportVerdict::Declined(DeclineReason::NoTouch);
    assert_eq!(import(&mut stage, early), [declined(), declined()]);
    // Of one message all touches are known.
    let together = vec![sold("proven", Some("t")), of.tap("t", None, at_ms), sold("late", None)];
    let (counted, matched) = (ImportVerdict::Counted, ImportVerdict::Matched);
    assert_eq!(import(&mut stage, together), [matched.clone(), counted, matched]);
}
