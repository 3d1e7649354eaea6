//! Nobody's key makes the node remember without a bound, or work longer with each call: what goes beyond is refused or
//! declined, and everything on its way comes to its end.

use munadi::state::chats::{MESSAGES_MAX, OPENINGS_MAX};
use munadi::state::exposures::NOTED_MAX;
use munadi::state::viewers::{CREDITED_OF_ACCOUNT_MAX, TOUCHES_MAX};
use munadi::types::proto::v1::{Channel, DeclineReason, Direction, EntryPoint, EventKind, Outcome};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Conversion, Incoming, Opening, Origin, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::conversations::by_conversation;
use crate::stage::{Offer, Shop, Shown, Stage, charged, event, refused, sale};

/// Sales, by whatever tells of them, in one call.
fn sold(stage: &mut Stage, shop: &Shop, count: usize, viewer: u64, origin: Origin) {
    let one = |number: usize| {
        let sale = sale(shop, &format!("order {number}"), 1_000_000, origin);
        Incoming::Converted(Box::new(Conversion { viewer, ..sale }))
    };
    let verdicts = stage.record_all((0..count).map(one).collect());
    verdicts.iter().for_each(|verdict| assert_eq!(charged(verdict), 0));
}

/// Counts rows by why they are declined; unspecified: they are credited.
fn declined(stage: &mut Stage, reason: DeclineReason) -> usize {
    let rows = stage.credits();
    let conversions = rows.iter().filter(|row| row.outcome() == Outcome::Conversion);
    conversions.filter(|row| row.decline_reason() == reason).count()
}

#[test]
fn a_conversation_takes_as_many_messages_as_are_told_apart_and_more_once_they_are_old() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    charged(&stage.open_chat(&shop, "contact", None));
    let message = |stage: &Stage, number: usize| {
        stage.receipt(&shop, "contact", &format!("m{number}"), Direction::Inbound)
    };
    let all: Vec<usize> = (0..MESSAGES_MAX).collect();
    for some in all.chunks(1_000) {
        let items = some.iter().map(|number| message(&stage, *number)).collect();
        let verdicts = stage.record_all(items);
        assert!(verdicts.iter().all(|it| matches!(it, Verdict::Recorded { .. })), "{some:?}");
    }
    let further = |stage: &mut Stage, number: usize| {
        let further = message(stage, number);
        stage.record(further)
    };
    assert_eq!(refused(&further(&mut stage, MESSAGES_MAX)), Reason::ConversationFull);
    assert_eq!(further(&mut stage, 7), Verdict::Already, "one that is told apart");
    let mut stage = stage.restarted();
    assert_eq!(refused(&further(&mut stage, MESSAGES_MAX)), Reason::ConversationFull);
    charged(&stage.open_chat(&shop, "somebody else", None));
    stage.wait(6 * DAY_MS + HOUR_MS);
    charged(&further(&mut stage, MESSAGES_MAX));
    charged(&further(&mut stage, MESSAGES_MAX + 1));
}

#[test]
fn openings_of_a_conversation_wait_while_all_that_are_told_apart_are_on_their_way() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let chat = stage.chat(&shop, "contact");
    let opening = |number: usize| {
        let claim = Some(Claim::Ad(shop.ad));
        let opening = Opening {
            channel_click_id: format!("click {number}"),
            ..Opening::by_message(EntryPoint::Ad, claim)
        };
        Incoming::Opened { chat, opening }
    };
    let verdicts = stage.record_all((0..OPENINGS_MAX + 6).map(opening).collect());
    for (number, verdict) in verdicts.iter().enumerate() {
        if number < OPENINGS_MAX {
            charged(verdict);
        } else {
            assert_eq!(refused(verdict), Reason::Busy, "{number}");
        }
    }
    let rest: Vec<_> = (OPENINGS_MAX..OPENINGS_MAX + 6).map(opening).collect();
    stage.record_all(rest).iter().for_each(|verdict| assert_eq!(charged(verdict), 0));
    assert_eq!(stage.credits().len(), OPENINGS_MAX + 6, "each was declined once");
}

#[test]
fn more_outcomes_of_a_viewer_at_once_than_are_noted_come_to_their_end() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let (viewer, origin) = (stage.viewer("ana"), Origin::Viewer { account: shop.account });
    sold(&mut stage, &shop, NOTED_MAX + 44, viewer, origin);
    assert_eq!(declined(&mut stage, DeclineReason::NoTouch), NOTED_MAX + 44);
    let mut stage = stage.restarted();
    assert_eq!(declined(&mut stage, DeclineReason::NoTouch), NOTED_MAX + 44, "none told again");
}

#[test]
fn a_click_earns_as_many_sales_as_are_remembered_and_each_further_one_is_declined() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.tapped("ana");
    let origin = Origin::Click(stage.click(&shown));
    sold(&mut stage, &shop, CREDITED_OF_ACCOUNT_MAX + 44, 0, origin);
    assert_eq!(declined(&mut stage, DeclineReason::Unspecified), CREDITED_OF_ACCOUNT_MAX);
    assert_eq!(declined(&mut stage, DeclineReason::FraudDetected), 44);
    let counted = stage.report(&[]).rows[0].conversions;
    assert_eq!(counted, CREDITED_OF_ACCOUNT_MAX as u64);
    let mut stage = stage.restarted();
    charged(&stage.convert(&shop, "one more", origin));
    assert_eq!(declined(&mut stage, DeclineReason::FraudDetected), 45);
}

#[test]
fn taps_whose_views_never_came_are_refused_beyond_those_that_are_remembered() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("ana");
    // Until then the views may still come.
    stage.wait(16 * MINUTE_MS);
    let tap = |number: usize| {
        let mut other = Shown { ad: shown.ad.clone(), token: shown.token };
        other.token.view = shown.token.view.wrapping_add(1 + number as u64);
        event(&other, EventKind::Tap)
    };
    let all: Vec<usize> = (0..TOUCHES_MAX).collect();
    for some in all.chunks(1_000) {
        let verdicts = stage.record_all(some.iter().map(|number| tap(*number)).collect());
        assert!(verdicts.iter().all(|it| matches!(it, Verdict::Recorded { .. })), "{some:?}");
    }
    assert_eq!(refused(&stage.record(tap(TOUCHES_MAX))), Reason::ViewerFull);
    assert_eq!(stage.record(tap(7)), Verdict::Already, "one that is remembered");
}
