//! Who earned each sale: windows, repeats, and the stream that analysts pull.

use munadi::node::PULL_ROWS_MAX;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{
    AdSet, AttributionRow, AttributionSpec, Channel, DeclineReason, EventKind, InvalidReason,
    MatchConfidence, MatchKind, Outcome, TouchKind,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Conversion, Incoming, Origin, Resource, Scope, Verdict};
use munadi::types::time::{DAY_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Shop, Stage, TENANT, charged, refused, sale};

fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    (stage, shop)
}

/// Returns the row of the only sale.
fn sale_row(stage: &mut Stage) -> AttributionRow {
    let mut rows = stage.credits();
    rows.retain(|row| row.outcome() == Outcome::Conversion);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn a_sale_by_click_token_is_credited_to_its_ad() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    charged(&stage.convert(&shop, "order 1", origin));
    let row = sale_row(&mut stage);
    assert_eq!((row.ad_id, row.account_id), (shop.ad, shop.account));
    assert_eq!((&*row.event_id, &*row.name), ("order 1", "Purchase"));
    assert_eq!((row.match_kind(), row.revision), (MatchKind::ClickToken, 1));
    let report = &stage.report(&[]).rows[0];
    assert_eq!((report.conversions, report.conversion_value_micros), (1, 9_000_000));
}

#[test]
fn a_sale_in_a_conversation_inherits_the_click_that_opened_it() {
    for channel in [Channel::Telegram, Channel::Whatsapp] {
        let mut stage = Stage::new();
        let shop = stage.shop(&Offer { channel, ..Offer::default() });
        let shown = stage.tapped("a");
        let claim = match channel {
            Channel::Telegram => Claim::Click(stage.click(&shown)),
            _ => Claim::Code(stage.code(&shown)),
        };
        stage.open_chat(&shop, "contact", Some(claim));
        let origin = stage.by_chat(&shop, "contact");
        charged(&stage.convert(&shop, "order 1", origin));
        let row = sale_row(&mut stage);
        assert_eq!((row.ad_id, row.decline_reason), (shop.ad, 0), "{channel:?}");
        assert_eq!(row.conversation_id, stage.chat(&shop, "contact").id);
    }
}

#[test]
fn a_sale_in_an_organic_conversation_is_credited_to_no_ad() {
    let (mut stage, shop) = staged();
    stage.tapped("a");
    stage.open_chat(&shop, "contact", None);
    let origin = stage.by_chat(&shop, "contact");
    charged(&stage.convert(&shop, "order 1", origin));
    let row = sale_row(&mut stage);
    assert_eq!(row.decline_reason(), DeclineReason::AttributeToOtherSource);
    assert_eq!((row.ad_id, stage.report(&[]).rows[0].conversions), (0, 0));
}

#[test]
fn a_sale_of_an_unknown_conversation_is_refused() {
    let (mut stage, shop) = staged();
    let origin = stage.by_chat(&shop, "nobody");
    assert_eq!(refused(&stage.convert(&shop, "order 1", origin)), Reason::ConversationUnknown);
}

#[test]
fn the_same_sale_counts_once_whichever_way_it_is_reported() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let click = stage.click(&shown);
    stage.open_chat(&shop, "contact", Some(Claim::Click(click)));
    charged(&stage.convert(&shop, "order 1", Origin::Click(click)));
    let by_chat = stage.by_chat(&shop, "contact");
    assert_eq!(stage.convert(&shop, "order 1", by_chat), Verdict::Already);
    let mut stage = stage.restarted();
    assert_eq!(stage.convert(&shop, "order 1", Origin::Click(click)), Verdict::Already);
    sale_row(&mut stage);
}

#[test]
fn the_same_event_id_with_other_content_is_refused() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    stage.convert(&shop, "order 1", origin);
    let dearer = sale(&shop, "order 1", 10_000_000, origin);
    let verdict = stage.record(Incoming::Converted(Box::new(dearer)));
    assert_eq!(refused(&verdict), Reason::IdReused);
    let mut renamed = sale(&shop, "order 1", 9_000_000, origin);
    renamed.name = "Lead".into();
    let verdict = stage.record(Incoming::Converted(Box::new(renamed)));
    assert_eq!(refused(&verdict), Reason::IdReused);
    assert_eq!(stage.report(&[]).rows[0].conversion_value_micros, 9_000_000);
}

#[test]
fn a_tap_earns_for_seven_days_and_not_a_moment_longer() {
    for (ms, credited) in [(7 * DAY_MS, true), (7 * DAY_MS + 1, false)] {
        let (mut stage, shop) = staged();
        let shown = stage.tapped("a");
        let origin = Origin::Click(stage.click(&shown));
        stage.wait(ms);
        charged(&stage.convert(&shop, "order 1", origin));
        let row = sale_row(&mut stage);
        let declined = row.decline_reason() == DeclineReason::OutOfLookbackWindow;
        assert_eq!((row.ad_id == shop.ad, declined), (credited, !credited), "{ms}");
    }
}

#[test]
fn a_sale_of_another_tenants_click_is_refused_as_unknown() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    let foreign = Shop { tenant: 99, ..shop };
    assert_eq!(refused(&stage.convert(&foreign, "order 1", origin)), Reason::NotFound);
}

#[test]
fn a_sale_that_is_too_old_to_be_told_from_a_repeat_is_refused() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    let at = Some(stage.now.plus_ms(-60 * DAY_MS - 1));
    let old = munadi::types::request::Conversion { at, ..sale(&shop, "old", 1, origin) };
    let verdict = stage.record(Incoming::Converted(Box::new(old)));
    assert_eq!(refused(&verdict), Reason::EventTooOld);
}

/// Makes sales over some minutes.
fn sales(stage: &mut Stage, shop: &Shop, count: usize) {
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    for number in 0..count {
        stage.convert(shop, &format!("order {number}"), origin);
        if number % 7 == 0 {
            stage.wait(MINUTE_MS / 2);
        }
    }
}

#[test]
fn a_pull_resumes_where_it_stopped_and_two_pulls_from_one_cursor_are_equal() {
    let (mut stage, shop) = staged();
    sales(&mut stage, &shop, 30);
    let start = SeqVector::default();
    let (first, _) = stage.front.pull(ALL, &start, stage.now);
    assert!(!first.rows.is_empty() && first.rows.len() < 30, "the open minute is not sent");
    let again = stage.front.pull(ALL, &start, stage.now).0;
    assert_eq!(again, first);
    stage.convert(&shop, "late", Origin::Click(Default::default()));
    stage.wait(2 * MINUTE_MS);
    stage.settle();
    let (rest, _) = stage.front.pull(ALL, &first.cursor, stage.now);
    let whole = stage.front.pull(ALL, &start, stage.now).0;
    assert_eq!([first.rows, rest.rows].concat(), whole.rows);
    assert_eq!(whole.rows.len(), 30);
    let stage = stage.restarted();
    assert_eq!(stage.front.pull(ALL, &start, stage.now).0, whole, "and after a restart");
}

#[test]
fn a_long_pull_comes_in_pages_that_join() {
    let (mut stage, shop) = staged();
    let shown = stage.tapped("a");
    let origin = Origin::Click(stage.click(&shown));
    let count = PULL_ROWS_MAX + 10;
    let items = (0..count).map(|number| {
        Incoming::Converted(Box::new(sale(&shop, &format!("order {number}"), 1, origin)))
    });
    stage.record_all(items.collect());
    stage.wait(MINUTE_MS);
    let first = stage.front.pull(ALL, &SeqVector::default(), stage.now).0;
    assert_eq!((first.rows.len(), first.more), (PULL_ROWS_MAX, true));
    let rest = stage.front.pull(ALL, &first.cursor, stage.now).0;
    assert_eq!((rest.rows.len(), rest.more), (10, false));
}

#[test]
fn a_tenant_pulls_its_own_rows_only() {
    let (mut stage, shop) = staged();
    sales(&mut stage, &shop, 3);
    stage.wait(2 * MINUTE_MS);
    let pull = |tenant| {
        let scope = Scope { tenant, any: false };
        stage.front.pull(scope, &SeqVector::default(), stage.now).0.rows.len()
    };
    assert_eq!((pull(TENANT), pull(99)), (3, 0));
}

/// Reports a sale of which only the viewer is known.
fn sold_to(stage: &mut Stage, shop: &Shop, event_id: &str, name: &str) -> AttributionRow {
    let origin = Origin::Viewer { account: shop.account };
    let viewer = stage.viewer(name);
    let sold = Conversion { viewer, ..sale(shop, event_id, 9_000_000, origin) };
    charged(&stage.record(Incoming::Converted(Box::new(sold))));
    stage.credits().into_iter().find(|row| row.event_id == event_id).unwrap()
}

#[test]
fn a_sale_of_a_viewer_whom_the_platform_tells_goes_to_the_last_tap_else_the_last_view() {
    let (mut stage, shop) = staged();
    let row = sold_to(&mut stage, &shop, "before", "ana");
    assert_eq!(row.decline_reason(), DeclineReason::NoTouch);
    let shown = stage.show("ana");
    stage.see(&shown);
    stage.wait(DAY_MS - 2 * MINUTE_MS);
    let row = sold_to(&mut stage, &shop, "viewed", "ana");
    assert_eq!((row.ad_id, row.touch_kind()), (shop.ad, TouchKind::View));
    assert_eq!((row.match_kind(), row.match_confidence()), VIEWER);
    stage.tapped("ana");
    stage.wait(MINUTE_MS);
    let shown = stage.show("ana");
    stage.see(&shown);
    stage.happen(&shown, EventKind::Video50);
    let row = sold_to(&mut stage, &shop, "tapped", "ana");
    assert_eq!(row.touch_kind(), TouchKind::Tap);
    let kinds: Vec<_> = row.path.iter().map(|touch| touch.kind()).collect();
    assert_eq!(kinds, [TouchKind::View, TouchKind::Tap, TouchKind::EngagedView]);
    let credits = &row.path[2].credit_micros;
    assert_eq!(credits[..], [0, 0, 0, 333_333, credits[4], 400_000], "by model");
    let row = sold_to(&mut stage, &shop, "stranger", "ben");
    assert_eq!(row.decline_reason(), DeclineReason::NoTouch, "each viewer for itself");
}

/// What a match by the platform's word is, and how sure.
const VIEWER: (MatchKind, MatchConfidence) = (MatchKind::Viewer, MatchConfidence::High);

#[test]
fn windows_are_those_of_the_ad_set_when_the_outcome_comes() {
    let (mut stage, shop) = staged();
    let shown = stage.show("ana");
    stage.see(&shown);
    let spec = |stage: &mut Stage, click, view| {
        let attribution_spec = Some(AttributionSpec {
            click_window_days: click,
            view_window_days: view,
            engaged_view_window_days: 0,
        });
        let row = AdSet { id: shop.ad_set, attribution_spec, ..AdSet::default() };
        stage.update(TENANT, Resource::AdSet(row), &["attribution_spec"]);
    };
    spec(&mut stage, 1, 0);
    let row = sold_to(&mut stage, &shop, "unseen", "ana");
    assert_eq!(row.decline_reason(), DeclineReason::ViewThroughDisabled);
    stage.tap(&shown);
    stage.wait(DAY_MS + 1);
    let row = sold_to(&mut stage, &shop, "late", "ana");
    assert_eq!(row.decline_reason(), DeclineReason::OutOfLookbackWindow);
    spec(&mut stage, 28, 0);
    let mut stage = stage.restarted();
    let row = sold_to(&mut stage, &shop, "in time", "ana");
    assert_eq!((row.ad_id, row.decline_reason), (shop.ad, 0));
}

#[test]
fn a_viewer_of_invalid_touches_alone_earns_nobody_anything() {
    let (mut stage, shop) = staged();
    let shown = stage.show("ana");
    let suspect = Some(InvalidReason::Network);
    let token = shown.token;
    let seen = Incoming::Ad { token, kind: EventKind::Impression, at: None, suspect, network: 0 };
    stage.record(seen);
    let row = sold_to(&mut stage, &shop, "order", "ana");
    assert_eq!((row.decline_reason(), row.ad_id), (DeclineReason::FraudDetected, 0));
    assert!(row.path.is_empty());
}

#[test]
fn what_was_known_at_a_moment_is_what_was_journaled_before_it() {
    let (mut stage, shop) = staged();
    let mut ends = Vec::new();
    for number in 0..3 {
        sold_to(&mut stage, &shop, &format!("order {number}"), "ana");
        stage.wait(MINUTE_MS);
        stage.settle();
        ends.push(stage.now);
    }
    for (count, end) in (1..).zip(&ends) {
        let start = SeqVector::default();
        let known = stage.front.pull_before(ALL, &start, *end);
        assert_eq!(known.rows.len(), count);
        assert_eq!(stage.front.pull_before(ALL, &start, *end), known, "the same each time");
        let rest = stage.front.pull_before(ALL, &known.cursor, stage.now);
        assert_eq!(known.rows.len() + rest.rows.len(), 3, "and it goes on from there");
    }
}
