//! Who earned each sale: windows, repeats, and the stream that analysts pull.

use munadi::node::PULL_ROWS_MAX;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{AttributionRow, Channel, DeclineReason, MatchKind, Outcome};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Incoming, Origin, Scope, Verdict};
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
