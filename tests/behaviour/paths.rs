//! Who earned what by every model and window, beside a recount that is as plain as the rules are told.

mod check;
pub(crate) mod naive;
mod revised;

use std::collections::BTreeMap;

use munadi::types::proto::v1::{
    AttributionSpec, DeclineReason, Direction, EntryPoint, EventKind, InvalidReason, Outcome,
    RevisionCause, TouchKind,
};
use munadi::types::request::{Claim, Conversion, Incoming, Opening, Origin, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment, SECOND_MS};
use munadi::types::token::{ClickToken, ViewToken};

use crate::stage::{FEED, Offer, Shop, Stage, sale};
use check::Outcomes;
use naive::{Luck, Touch, path_of, reason};

/// Viewers, each with a history of its own.
const HISTORIES: usize = 1_000;

/// The longest history.
const SPAN_MS: i64 = 30 * DAY_MS;

/// Click, view and engaged-view windows of each shop, days. The first two are of one account.
const SPECS: [[i64; 3]; 3] = [[7, 1, 0], [28, 0, 1], [1, 0, 0]];

/// One showing, as the recount knows it.
#[derive(Clone, Debug, Default)]
struct Showing {
    shop: usize,
    token: ViewToken,
    seen_ms: i64,
    tap_ms: i64,
    /// Whether it was valid, once it was reported.
    seen: Option<bool>,
    /// When half of its video had been played.
    engaged_ms: Option<i64>,
    /// Whether nothing more is told of it: what a node has forgotten by now would matter.
    dropped: bool,
    /// When it was tapped, and whether validly.
    tapped: Option<(i64, bool)>,
    /// The conversation that its tap has opened.
    used: Option<u32>,
}

/// What happens to one viewer. Showings are numbered.
#[derive(Clone, Copy, Debug)]
enum Deed {
    See(usize, bool),
    Engage(usize),
    Tap(usize, bool),
    Outcome(Told),
    Message {
        shop: usize,
        contact: u32,
        direction: Direction,
    },
    /// The second number tells adjustments apart. Without a value the sale is retracted.
    Adjust {
        number: u32,
        adjustment: u32,
        micros: Option<i64>,
    },
}

/// A conversion or, with its contact, a conversation; by the token of a showing, or by the viewer alone.
#[derive(Clone, Copy, Debug)]
struct Told {
    number: u32,
    shop: usize,
    by: Option<usize>,
    opens: bool,
    at_ms: i64,
    micros: i64,
}

struct Due {
    at_ms: i64,
    viewer: usize,
    deed: Deed,
}

/// What an outcome must come to.
#[derive(Clone, Debug)]
struct Expected {
    viewer: usize,
    shop: usize,
    revision: u32,
    cause: RevisionCause,
    /// The tap that was proven to have led to it, as first told.
    proof: Option<Touch>,
    /// Whether no touch can change it any more.
    fixed: bool,
    /// Whether it had a touch, and has none any more.
    lost: bool,
    withdrawn: bool,
    kind: Outcome,
    credited: Option<Touch>,
    declined: DeclineReason,
    /// Whether an older view may be remembered or not.
    unsure: bool,
    path: Vec<Touch>,
    event_ms: i64,
    judged_ms: i64,
    micros: i64,
}

/// What was said in a conversation.
#[derive(Clone, Copy, Debug)]
struct Chat {
    inbound: u32,
    outbound: u32,
    /// The first answer.
    reply_ms: i64,
    /// Whether it was ever credited to a touch.
    touched: bool,
    /// Whether it was counted as a qualified one.
    qualified: bool,
}

struct Recount {
    stage: Stage,
    shops: Vec<Shop>,
    viewers: Vec<Vec<Showing>>,
    /// By conversation.
    chats: BTreeMap<String, Chat>,
    expected: Outcomes,
    /// Conversations and conversions of each viewer.
    theirs: Vec<Vec<(String, i32)>>,
    /// How many outcomes late touches changed, and how many nobody had earned before.
    late: [usize; 2],
    /// What outcomes had come to at some moments.
    snapshots: Vec<(Moment, Outcomes)>,
    reasons: BTreeMap<String, usize>,
}

#[test]
fn all_models_and_windows_equal_a_naive_recount_of_1_000_histories() {
    let mut recount = Recount::new();
    let mut dues = Vec::new();
    for viewer in 0..HISTORIES {
        recount.plan(viewer, &mut Luck::new(viewer as u64), &mut dues);
    }
    dues.sort_by_key(|due: &Due| due.at_ms);
    let restarts = [dues.len() / 3, dues.len() / 2, dues.len() - 5];
    for (number, due) in dues.iter().enumerate() {
        if restarts.contains(&number) {
            recount.stage = recount.stage.restarted();
        }
        // Eight times the operator finds charged events invalid.
        if number % (dues.len() / 8) == dues.len() / 16 {
            recount.find_invalid(&mut Luck::new(number as u64));
        }
        // Nothing else may be journaled in the last millisecond that is known.
        if number % (dues.len() / 12) == 5 && due.at_ms > recount.stage.now.0 + 1 {
            let moment = recount.stage.now.plus_ms(1);
            recount.snapshots.push((moment, recount.expected.clone()));
        }
        recount.take(due);
    }
    recount.check();
}

impl Recount {
    fn new() -> Self {
        let mut stage = Stage::new();
        let first = stage.shop_of_spec(None, SPECS[0]);
        let second = stage.shop_of_spec(Some(first.account), SPECS[1]);
        let third = stage.shop_of_spec(None, SPECS[2]);
        Self {
            stage,
            shops: vec![first, second, third],
            viewers: vec![Vec::new(); HISTORIES],
            chats: BTreeMap::new(),
            expected: BTreeMap::new(),
            theirs: vec![Vec::new(); HISTORIES],
            late: [0; 2],
            snapshots: Vec::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// Draws a viewer's history.
    fn plan(&mut self, viewer: usize, luck: &mut Luck, dues: &mut Vec<Due>) {
        let start = self.stage.now.0 + HOUR_MS;
        let mut due = |at_ms, deed| dues.push(Due { at_ms, viewer, deed });
        // Half of them live within two days, so that views count.
        let span_ms = if luck.chance(2) { 2 * DAY_MS } else { SPAN_MS };
        for index in 0..1 + luck.below(7) as usize {
            let shop = luck.below(3) as usize;
            let seen_ms = start + luck.below(span_ms as u64) as i64;
            let tap_ms = seen_ms + 200 + luck.below(30 * SECOND_MS as u64) as i64;
            let issued = Moment(seen_ms).seconds() - 1 - luck.below(200) as u32;
            let token = ViewToken {
                view: ((viewer as u64) << 16) + index as u64 + 1,
                ad: self.shops[shop].ad,
                viewer: self.stage.viewer(&format!("viewer {viewer}")),
                feed: FEED,
                issued,
                show_by: 900,
                placement: 1,
                // An impression, a tap or a conversation.
                billing: 1 + (index % 3) as u8,
                price_micros: 1_000,
                country: *b"MX",
                ..ViewToken::default()
            };
            // Often a device is offline for hours, and some told outcomes are older than what it tells then.
            let mut late =
                || if luck.chance(3) { luck.below(12 * HOUR_MS as u64) as i64 } else { 500 };
            let (late_ms, later_ms) = (late(), late());
            due(seen_ms + late_ms, Deed::See(index, luck.chance(10)));
            if luck.chance(4) {
                due(seen_ms + late_ms + later_ms + MINUTE_MS, Deed::Engage(index));
            }
            if luck.chance(2) {
                due(tap_ms + late_ms + later_ms + 2 * MINUTE_MS, Deed::Tap(index, luck.chance(8)));
            }
            let showing = Showing { shop, token, seen_ms, tap_ms, ..Showing::default() };
            self.viewers[viewer].push(showing);
        }
        self.plan_outcomes(viewer, (start, span_ms), luck, dues);
    }

    /// Draws what a viewer came to.
    fn plan_outcomes(
        &self,
        viewer: usize,
        (start, span_ms): (i64, i64),
        luck: &mut Luck,
        dues: &mut Vec<Due>,
    ) {
        let mut due = |at_ms, deed| dues.push(Due { at_ms, viewer, deed });
        for number in 0..1 + luck.below(4) as u32 {
            let number = viewer as u32 * 8 + number;
            let by = luck.below(self.viewers[viewer].len() as u64) as usize;
            let showing = &self.viewers[viewer][by];
            let day = [DAY_MS, 7 * DAY_MS, 28 * DAY_MS][luck.below(3) as usize];
            let edge = if luck.chance(2) { showing.tap_ms } else { showing.seen_ms };
            let at_ms = match luck.below(4) {
                0 => edge + day,
                1 => edge + day + 1,
                2 => edge + luck.below(20 * HOUR_MS as u64) as i64,
                _ => start + luck.below(span_ms as u64) as i64,
            };
            let by_token = luck.chance(3) && at_ms >= i64::from(showing.token.issued) * SECOND_MS;
            let shop = if by_token { showing.shop } else { luck.below(3) as usize };
            let by = by_token.then_some(by);
            let (opens, micros) = (luck.chance(2), luck.below(1 << 30) as i64);
            let told = Told { number, shop, by, opens, at_ms, micros };
            let reported_ms = at_ms + MINUTE_MS + luck.below(25 * MINUTE_MS as u64) as i64;
            due(reported_ms, Deed::Outcome(told));
            let mut adjusted_ms = reported_ms;
            for adjustment in 0..luck.below(3) as u32 {
                adjusted_ms += MINUTE_MS + luck.below(20 * HOUR_MS as u64) as i64;
                let micros = (!luck.chance(3)).then(|| luck.below(1 << 30) as i64);
                if !opens {
                    due(adjusted_ms, Deed::Adjust { number, adjustment, micros });
                }
            }
            let mut said_ms = reported_ms;
            for _ in 0..luck.below(4) {
                let inbound = luck.chance(2);
                let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
                said_ms += MINUTE_MS;
                if opens {
                    due(said_ms, Deed::Message { shop, contact: number, direction });
                }
            }
        }
    }

    fn take(&mut self, due: &Due) {
        self.stage.now = Moment(due.at_ms);
        let viewer = due.viewer;
        match due.deed {
            Deed::See(index, _) | Deed::Engage(index) | Deed::Tap(index, _)
                if self.drops(viewer, index) => {}
            Deed::See(index, suspect) => {
                let at_ms = self.viewers[viewer][index].seen_ms;
                let valid = self.happen(viewer, index, EventKind::Impression, at_ms, suspect);
                self.viewers[viewer][index].seen = Some(valid.expect("once"));
                self.tell_late(viewer, index, at_ms);
            }
            Deed::Engage(index) => {
                let at_ms = self.viewers[viewer][index].seen_ms + SECOND_MS;
                self.happen(viewer, index, EventKind::Video50, at_ms, false).expect("once");
                self.viewers[viewer][index].engaged_ms = Some(at_ms);
                self.tell_late(viewer, index, at_ms);
            }
            Deed::Tap(index, suspect) => {
                let at_ms = self.viewers[viewer][index].tap_ms;
                // A token may have implied it before.
                if let Some(valid) = self.happen(viewer, index, EventKind::Tap, at_ms, suspect) {
                    self.viewers[viewer][index].tapped = Some((at_ms, valid));
                    self.tell_late(viewer, index, at_ms);
                }
            }
            Deed::Adjust { number, adjustment, micros } => {
                self.adjust(viewer, number, adjustment, micros);
            }
            Deed::Outcome(told) => self.outcome(viewer, told),
            Deed::Message { shop, contact, direction } => {
                self.message(shop, contact, direction, due.at_ms);
            }
        }
    }

    /// Reports an event; returns whether it was valid, `None`: it was known.
    fn happen(
        &mut self,
        viewer: usize,
        index: usize,
        kind: EventKind,
        at_ms: i64,
        suspect: bool,
    ) -> Option<bool> {
        let suspect = suspect.then_some(InvalidReason::Network);
        let (token, at) = (self.viewers[viewer][index].token, Some(Moment(at_ms)));
        match self.stage.record(Incoming::Ad { token, kind, at, suspect, network: 0 }) {
            Verdict::Recorded { invalid, .. } => Some(invalid.is_none()),
            Verdict::Already => None,
            Verdict::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    /// Reports an outcome, and notes what it must come to.
    fn outcome(&mut self, viewer: usize, told: Told) {
        let implies = |by: usize| self.viewers[viewer][by].tapped.is_none();
        let is_known = |by: &usize| !self.is_forgotten(&self.viewers[viewer][*by]);
        let by = told.by.filter(is_known);
        let by = by.filter(|by| !implies(*by) || !self.is_unknowable(viewer, *by));
        let told = Told { by, ..told };
        let shop = self.shops[told.shop];
        let number = self.stage.viewer(&format!("viewer {viewer}"));
        let click = told.by.map(|by| {
            let token = self.viewers[viewer][by].token;
            let (view, ad, viewer, issued) = (token.view, token.ad, token.viewer, token.issued);
            ClickToken { entry_point: 1, view, ad, viewer, issued, ..ClickToken::default() }
        });
        let kind = if told.opens { Outcome::Conversation } else { Outcome::Conversion };
        let was_tapped = told.by.is_some_and(|by| self.viewers[viewer][by].tapped.is_some());
        let expected = self.expect(viewer, told, kind);
        let at = Some(Moment(told.at_ms));
        let of_viewer = viewer;
        let viewer = if click.is_none() { number } else { 0 };
        let (name, incoming) = if told.opens {
            let contact = format!("contact {}", told.number);
            let chat = munadi::types::request::Chat { at, ..self.stage.chat(&shop, &contact) };
            let claim = click.map(Claim::Click);
            let opening = Opening { viewer, ..Opening::by_message(EntryPoint::Ad, claim) };
            (chat.id.to_string(), Incoming::Opened { chat, opening })
        } else {
            let name = format!("order {}", told.number);
            let origin = match click {
                Some(click) => Origin::Click(click),
                None => Origin::Viewer { account: shop.account },
            };
            let sold = sale(&shop, &name, told.micros, origin);
            (name, Incoming::Converted(Box::new(Conversion { at, viewer, ..sold })))
        };
        let verdict = self.stage.record(incoming);
        assert!(matches!(verdict, Verdict::Recorded { .. }), "{told:?}: {verdict:?}");
        *self.reasons.entry(format!("{kind:?} {:?}", expected.declined)).or_default() += 1;
        if told.opens {
            let touched = expected.credited.is_some();
            let said = Chat { inbound: 1, outbound: 0, reply_ms: 0, touched, qualified: false };
            self.chats.insert(name.clone(), said);
        }
        // An opening's token tells of a tap that may lie before other outcomes.
        if let Some(by) = told.by.filter(|by| !was_tapped && self.is_tapped(of_viewer, *by)) {
            let issued_ms = i64::from(self.viewers[of_viewer][by].token.issued) * SECOND_MS;
            self.tell_late(of_viewer, by, issued_ms);
        }
        self.theirs[of_viewer].push((name.clone(), kind.into()));
        self.expected.insert((name, kind.into()), expected);
    }

    fn is_tapped(&self, viewer: usize, index: usize) -> bool {
        self.viewers[viewer][index].tapped.is_some()
    }

    /// Tells whether a node may no longer know that a view was invalid whose tap nobody has reported.
    fn is_forgotten(&self, showing: &Showing) -> bool {
        let is_old = self.stage.now.0 - showing.seen_ms > DAY_MS;
        is_old && showing.seen == Some(false) && showing.tapped.is_none()
    }

    /// Says what an outcome must come to, by what was reported up to now.
    fn expect(&mut self, viewer: usize, told: Told, kind: Outcome) -> Expected {
        let showings = self.viewers[viewer].clone();
        let of_account = |shop: usize| self.shops[shop].account == self.shops[told.shop].account;
        let declined = |declined, path: Vec<Touch>| Expected {
            viewer,
            shop: told.shop,
            revision: 1,
            cause: RevisionCause::Unspecified,
            proof: None,
            fixed: told.by.is_some(),
            lost: false,
            withdrawn: false,
            kind,
            credited: None,
            declined,
            unsure: false,
            path,
            event_ms: told.at_ms,
            judged_ms: told.at_ms,
            micros: if told.opens { 0 } else { told.micros },
        };
        let Some(by) = told.by else {
            let path = path_of(&showings, of_account, told.at_ms, None);
            let last = naive::last(&path, |touch| touch.inside);
            let Some(credited) = last else {
                let reason = reason(&showings, of_account, told.at_ms, !path.is_empty());
                let unsure = naive::is_unsure(&showings, of_account, told.at_ms);
                return Expected { unsure, ..declined(reason, Vec::new()) };
            };
            if told.opens
                && let Some(tap) = self.viewers[viewer]
                    .iter_mut()
                    .find(|showing| showing.token.view == credited.view)
                && tap.tapped.is_some_and(|(ms, _)| ms == credited.ms)
            {
                tap.used.get_or_insert(told.number);
            }
            let none = DeclineReason::Unspecified;
            return Expected { credited: Some(credited), ..declined(none, path) };
        };
        let showing = &mut self.viewers[viewer][by];
        if told.opens && showing.used.is_some() {
            return declined(DeclineReason::Duplicated, Vec::new());
        }
        let issued_ms = i64::from(showing.token.issued) * SECOND_MS;
        let (ms, valid) = showing.tapped.unwrap_or((issued_ms, showing.seen.unwrap_or(true)));
        if told.at_ms - ms > SPECS[told.shop][0] * DAY_MS {
            return declined(DeclineReason::OutOfLookbackWindow, Vec::new());
        }
        if told.opens {
            showing.used = Some(told.number);
            showing.tapped = Some((ms, valid));
        }
        let (view, kind) = (showing.token.view, TouchKind::Tap);
        let proven = Touch { ms, view, kind, shop: told.shop, inside: true, proven: true };
        if !valid {
            return declined(DeclineReason::FraudDetected, Vec::new());
        }
        let path = path_of(&showings, of_account, told.at_ms, Some(proven));
        let none = DeclineReason::Unspecified;
        let (credited, proof) = (Some(proven), Some(proven));
        Expected { credited, proof, fixed: false, ..declined(none, path) }
    }

    fn message(&mut self, shop: usize, contact: u32, direction: Direction, at_ms: i64) {
        let name = format!("contact {contact}");
        let shop = self.shops[shop];
        let receipt = self.stage.receipt(&shop, &name, &format!("message {at_ms}"), direction);
        let verdict = self.stage.record(receipt);
        assert!(matches!(verdict, Verdict::Recorded { .. }), "{verdict:?}");
        let id = self.stage.chat(&shop, &name).id.to_string();
        let Some(chat) = self.chats.get_mut(&id) else { return };
        match direction {
            Direction::Inbound => chat.inbound += 1,
            _ => chat.outbound += 1,
        }
        let replies = direction == Direction::Outbound && chat.outbound == 1;
        if replies {
            chat.reply_ms = at_ms;
        }
        let opening = self.expected[&(id.clone(), Outcome::Conversation.into())].clone();
        if opening.credited.is_none() {
            return;
        }
        let qualifies = !chat.qualified && chat.is_qualified();
        chat.qualified |= qualifies;
        let steps = [(replies, Outcome::FirstReply), (qualifies, Outcome::Qualified)];
        for (_, kind) in steps.into_iter().filter(|(taken, _)| *taken) {
            self.step(&id, &opening, kind, at_ms);
        }
    }
}

impl Stage {
    /// Creates an advertiser, or a further shop of one, with these windows.
    fn shop_of_spec(&mut self, account: Option<u64>, [click, view, engaged]: [i64; 3]) -> Shop {
        let account = account.unwrap_or_else(|| self.shop(&Offer::default()).account);
        self.shop_of(account, &Offer::default(), |row| {
            row.attribution_spec = Some(AttributionSpec {
                click_window_days: click as u32,
                view_window_days: view as u32,
                engaged_view_window_days: engaged as u32,
            });
        })
    }
}
