//! Conversions on their way back to the channels: which go out, and as what event (FACTS, "Conversions back").

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::types::ids::SeqVector;
use crate::types::proto::v1::{AttributionRow, Channel, ConversionSkip, InvalidReason, Money};
use crate::types::time::{DAY_MS, Moment, SECOND_MS};

/// A channel takes a conversion within this time of the click.
pub const OUTBOUND_WINDOW_MS: i64 = 7 * DAY_MS;

/// A channel takes one conversion of a click and name within this time.
pub const REPORTED_ONCE_MS: i64 = 28 * DAY_MS;

/// How long it is known what went out: as long as the rows themselves are.
const REPORTED_MEMORY_MS: i64 = 95 * DAY_MS;

/// The names of events that channels accept.
const EVENT_NAMES: [&str; 5] =
    ["LeadSubmitted", "Purchase", "AddToCart", "InitiateCheckout", "ViewContent"];

/// Returns the channels' name of a conversion: the same word in any spelling of case, spaces, underscores and
/// hyphens, or "lead". `None`: no channel accepts it.
pub fn event_name(name: &str) -> Option<&'static str> {
    let letters = |text: &str| -> String {
        let kept = text.chars().filter(|letter| !matches!(letter, ' ' | '_' | '-'));
        kept.flat_map(char::to_lowercase).collect()
    };
    let told = letters(name);
    if told == "lead" {
        return Some("LeadSubmitted");
    }
    EVENT_NAMES.into_iter().find(|known| letters(known) == told)
}

/// A click that a channel or we know, with its moment.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ClickKey {
    /// The channel's own id of it.
    Channel(String),
    /// Ours: the view's.
    Ours(u64),
}

/// All that a payload is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Source<'a> {
    /// The outcome, credited or declined.
    pub row: &'a AttributionRow,
    /// The app that the conversation is in; `None`: the endpoint is not known.
    pub channel: Option<Channel>,
    /// The channel's number of the business account; empty: not known.
    pub channel_business_id: &'a str,
    /// The channel's click id and when its referral came.
    pub channel_click: Option<(&'a str, Moment)>,
    /// Our click id; 0: there is none.
    pub click: u64,
}

/// Where a row stands in the stream: shard and sequence.
pub type Place = (usize, u64);

impl Source<'_> {
    /// Returns the click that the conversion came from: the channel's where it told one. A test click is always
    /// ours: whoever tries the way again and again has one channel click at most to do it with.
    pub fn click_key(&self) -> Option<(ClickKey, Moment)> {
        let is_test = self.row.invalid() == InvalidReason::Sandbox;
        if let Some((id, at)) = self.channel_click.filter(|_| !is_test) {
            return Some((ClickKey::Channel(id.to_owned()), at));
        }
        let touch = self.row.touch_time.as_ref().filter(|_| self.click != 0)?;
        let at = touch.seconds * SECOND_MS + i64::from(touch.nanos) / 1_000_000;
        Some((ClickKey::Ours(self.click), Moment(at)))
    }

    /// Returns click and name if the row counts as the one conversion of both, but for those before it. Says
    /// nothing that may change later: whether an account is set up, or a test is wanted.
    pub fn counted(&self) -> Result<(ClickKey, &'static str, Moment), ConversionSkip> {
        if self.row.imported {
            return Err(ConversionSkip::Imported);
        }
        let name = event_name(&self.row.name).ok_or(ConversionSkip::NameUnsupported)?;
        let (click, clicked) = self.click_key().ok_or(ConversionSkip::NoClick)?;
        match self.row.invalid() {
            InvalidReason::Unspecified | InvalidReason::Sandbox => {}
            _ => return Err(ConversionSkip::InvalidClick),
        }
        let at = event_moment(self.row);
        if at < clicked || at.0 - clicked.0 > OUTBOUND_WINDOW_MS {
            return Err(ConversionSkip::OutOfWindow);
        }
        Ok((click, name, at))
    }

    /// Returns the event, or why it does not go out. `repeated`: its click had one of its name before.
    ///
    /// # Errors
    /// With the reason; the first that holds, in the order of their numbers but for what was imported and what can
    /// be mended.
    pub fn event(&self, repeated: bool, tests: bool) -> Result<Event, ConversionSkip> {
        let (_, event_name, at) = self.counted()?;
        if repeated {
            return Err(ConversionSkip::AlreadyReported);
        }
        if self.row.invalid() == InvalidReason::Sandbox && !tests {
            return Err(ConversionSkip::Sandbox);
        }
        let (messaging_channel, whatsapp) = match self.channel {
            Some(Channel::Whatsapp) => ("whatsapp", true),
            Some(Channel::Messenger) => ("messenger", false),
            Some(Channel::InstagramDirect) => ("instagram", false),
            _ => return Err(ConversionSkip::ChannelUnsupported),
        };
        let ctwa_clid = self.channel_click.map(|(id, _)| id.to_owned());
        if whatsapp && ctwa_clid.is_none() {
            return Err(ConversionSkip::NoChannelClick);
        }
        if self.channel_business_id.is_empty() {
            return Err(ConversionSkip::NoChannelBusiness);
        }
        let business = self.channel_business_id.to_owned();
        let (whatsapp, page) =
            if whatsapp { (business, String::new()) } else { (String::new(), business) };
        Ok(Event {
            event_name,
            event_time: at.0.div_euclid(SECOND_MS),
            event_id: self.row.event_id.clone(),
            action_source: "business_messaging",
            messaging_channel,
            user_data: UserData {
                whatsapp_business_account_id: whatsapp,
                page_id: page,
                ctwa_clid,
            },
            custom_data: self.row.value.as_ref().map(CustomData::of),
        })
    }
}

fn event_moment(row: &AttributionRow) -> Moment {
    let at = row.event_time.unwrap_or_default();
    Moment(at.seconds * SECOND_MS + i64::from(at.nanos) / 1_000_000)
}

/// One event of the Conversions API for business messaging.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    event_name: &'static str,
    /// Seconds since the epoch.
    event_time: i64,
    event_id: String,
    action_source: &'static str,
    messaging_channel: &'static str,
    user_data: UserData,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_data: Option<CustomData>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct UserData {
    #[serde(skip_serializing_if = "String::is_empty")]
    whatsapp_business_account_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    page_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctwa_clid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct CustomData {
    /// In units of the currency. A number of JSON: amounts have at most 15 digits, so it is written exactly.
    value: f64,
    currency: String,
}

impl CustomData {
    fn of(value: &Money) -> Self {
        Self { value: value.micros as f64 / 1_000_000.0, currency: value.currency.clone() }
    }
}

impl Event {
    /// Returns the event as JSON.
    pub fn json(&self) -> String {
        // A struct of texts and finite numbers always has a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Returns what is posted: all events in their order, and the code of a test if they are of one.
pub fn body(events: &[String], test_event_code: &str) -> String {
    let test = match test_event_code {
        "" => String::new(),
        // Letters, digits, hyphens and underscores need no escape.
        code => format!(",\"test_event_code\":\"{code}\""),
    };
    format!("{{\"data\":[{}]{test}}}", events.join(","))
}

/// What counts once: account, click and name.
type Once = (u64, ClickKey, &'static str);

/// When a conversion that counted happened, and the journal's time of it.
type Counted = (Moment, Moment);

/// Which conversions repeat an earlier one of their click and name. Told of every conversion once, in the
/// order of the stream; nothing of it is on disk, as the rows are.
#[derive(Debug, Default)]
pub struct Reported {
    /// Up to here rows were told of.
    pub scanned: SeqVector,
    counted: BTreeMap<Once, Vec<Counted>>,
    repeated: BTreeSet<Place>,
    swept_hour: u32,
}

impl Reported {
    /// Takes the next conversion of the stream.
    pub fn note(&mut self, source: &Source<'_>, place: Place, journaled: Moment) {
        let Ok((click, name, at)) = source.counted() else { return };
        let counted = self.counted.entry((source.row.account_id, click, name)).or_default();
        let near = |(other, _): &Counted| (at.0 - other.0).abs() < REPORTED_ONCE_MS;
        if counted.iter().any(near) {
            self.repeated.insert(place);
        } else {
            counted.push((at, journaled));
        }
        self.sweep(journaled);
    }

    /// Tells whether a conversion repeats an earlier one.
    pub fn is_repeated(&self, place: Place) -> bool {
        self.repeated.contains(&place)
    }

    fn sweep(&mut self, now: Moment) {
        if now.hour() == self.swept_hour {
            return;
        }
        self.swept_hour = now.hour();
        self.counted.retain(|_, counted| {
            counted.retain(|(_, journaled)| now.0 - journaled.0 < REPORTED_MEMORY_MS);
            !counted.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::timestamp;

    /// 2026-11-23T12:00:00Z.
    const NOON: i64 = 1_795_435_200_000;

    fn row(name: &str, at_ms: i64) -> AttributionRow {
        AttributionRow {
            account_id: 1,
            event_id: "order-1".into(),
            name: name.into(),
            value: Some(Money { micros: 129_900_000, currency: "MXN".into() }),
            event_time: Some(timestamp(at_ms)),
            touch_time: Some(timestamp(NOON)),
            ..AttributionRow::default()
        }
    }

    fn source(row: &AttributionRow, channel: Channel) -> Source<'_> {
        Source {
            row,
            channel: Some(channel),
            channel_business_id: "1029384756",
            channel_click: Some(("ARAkLkA8rmlFeiCktEJQ", Moment(NOON))),
            click: 77,
        }
    }

    fn json(source: &Source<'_>) -> String {
        source.event(false, false).map(|event| event.json()).unwrap()
    }

    #[test]
    fn a_sale_in_whatsapp_is_exactly_this_event() {
        let row = row("purchase", NOON + 90_500);
        assert_eq!(
            json(&source(&row, Channel::Whatsapp)),
            r#"{"event_name":"Purchase","event_time":1795435290,"event_id":"order-1","action_source":"business_messaging","messaging_channel":"whatsapp","user_data":{"whatsapp_business_account_id":"1029384756","ctwa_clid":"ARAkLkA8rmlFeiCktEJQ"},"custom_data":{"value":129.9,"currency":"MXN"}}"#
        );
    }

    #[test]
    fn a_lead_in_messenger_by_our_own_click_is_exactly_this_event() {
        let row = AttributionRow { value: None, ..row("Lead", NOON) };
        let source = Source { channel_click: None, ..source(&row, Channel::Messenger) };
        assert_eq!(
            json(&source),
            r#"{"event_name":"LeadSubmitted","event_time":1795435200,"event_id":"order-1","action_source":"business_messaging","messaging_channel":"messenger","user_data":{"page_id":"1029384756"}}"#
        );
        let instagram = Source { channel: Some(Channel::InstagramDirect), ..source };
        assert!(json(&instagram).contains(r#""messaging_channel":"instagram""#));
    }

    #[test]
    fn amounts_are_written_exactly() {
        for (micros, written) in [
            (0, "0.0"),
            (10_000, "0.01"),
            (9_000_000, "9.0"),
            (999_999_999_999_999, "999999999.999999"),
            (1_000_000_000_000_000, "1000000000.0"),
        ] {
            let data = CustomData::of(&Money { micros, currency: "MXN".into() });
            let json = serde_json::to_string(&data).unwrap();
            assert_eq!(json, format!(r#"{{"value":{written},"currency":"MXN"}}"#));
        }
    }

    #[test]
    fn names_are_mapped_at_the_edge_and_others_are_refused() {
        for (told, name) in [
            ("Purchase", Some("Purchase")),
            ("lead_submitted", Some("LeadSubmitted")),
            ("LEAD", Some("LeadSubmitted")),
            ("add to cart", Some("AddToCart")),
            ("initiate-checkout", Some("InitiateCheckout")),
            ("viewContent", Some("ViewContent")),
            ("Purchases", None),
            ("subscribe", None),
            ("", None),
        ] {
            assert_eq!(event_name(told), name, "{told}");
        }
    }

    #[test]
    fn each_reason_not_to_go_out_has_its_name() {
        let good = row("Purchase", NOON);
        let skip = |source: Source<'_>| source.event(false, false).unwrap_err();
        let whatsapp = || source(&good, Channel::Whatsapp);
        let other = row("Refund", NOON);
        assert_eq!(skip(source(&other, Channel::Whatsapp)), ConversionSkip::NameUnsupported);
        let strange = Source { channel_click: None, click: 0, ..whatsapp() };
        assert_eq!(skip(strange), ConversionSkip::NoClick);
        let ours = Source { channel_click: None, ..whatsapp() };
        assert_eq!(skip(ours), ConversionSkip::NoChannelClick);
        let telegram = source(&good, Channel::Telegram);
        assert_eq!(skip(telegram), ConversionSkip::ChannelUnsupported);
        let unset = Source { channel_business_id: "", ..whatsapp() };
        assert_eq!(skip(unset), ConversionSkip::NoChannelBusiness);
        let repeated = whatsapp().event(true, false).unwrap_err();
        assert_eq!(repeated, ConversionSkip::AlreadyReported);
        let invalid =
            |reason: InvalidReason| AttributionRow { invalid: reason.into(), ..good.clone() };
        let bot = invalid(InvalidReason::TapRate);
        assert_eq!(skip(source(&bot, Channel::Whatsapp)), ConversionSkip::InvalidClick);
        let imported = AttributionRow { imported: true, ..good.clone() };
        assert_eq!(skip(source(&imported, Channel::Whatsapp)), ConversionSkip::Imported);
        let test = invalid(InvalidReason::Sandbox);
        assert_eq!(skip(source(&test, Channel::Whatsapp)), ConversionSkip::Sandbox);
        let tested = source(&test, Channel::Whatsapp);
        assert!(tested.event(false, true).is_ok());
        assert_eq!(tested.click_key(), Some((ClickKey::Ours(77), Moment(NOON))));
    }

    #[test]
    fn the_window_of_a_click_has_its_edges() {
        let goes = |at_ms| {
            let row = row("Purchase", at_ms);
            source(&row, Channel::Whatsapp).event(false, false).map(|_| ())
        };
        assert_eq!(goes(NOON), Ok(()));
        assert_eq!(goes(NOON - 1), Err(ConversionSkip::OutOfWindow));
        assert_eq!(goes(NOON + OUTBOUND_WINDOW_MS), Ok(()));
        assert_eq!(goes(NOON + OUTBOUND_WINDOW_MS + 1), Err(ConversionSkip::OutOfWindow));
    }

    #[test]
    fn a_click_and_name_count_once_within_28_days() {
        let mut reported = Reported::default();
        let mut repeats = |seq, name: &str, days: i64, click: &str| {
            // The click is moved along, so that only the 28 days are asked for.
            let at = NOON + days * DAY_MS;
            let row = row(name, at);
            let clicked = Some((click, Moment(at)));
            let source = Source { channel_click: clicked, ..source(&row, Channel::Whatsapp) };
            reported.note(&source, (3, seq), Moment(at));
            reported.is_repeated((3, seq))
        };
        assert!(!repeats(1, "Purchase", 0, "a"));
        assert!(repeats(2, "purchase", 1, "a"), "the same name in another spelling");
        assert!(!repeats(3, "Lead", 1, "a"));
        assert!(!repeats(4, "Purchase", 1, "b"));
        assert!(!repeats(5, "Purchase", 28, "a"), "28 days after the one that counted");
        assert!(repeats(6, "Purchase", 29, "a"));
        assert!(!repeats(7, "Refund", 29, "a"), "it never goes out, so it repeats nothing");
    }

    #[test]
    fn a_body_holds_its_events_and_the_code_of_a_test() {
        let events = ["{}".to_owned(), "{}".to_owned()];
        assert_eq!(body(&events, ""), r#"{"data":[{},{}]}"#);
        assert_eq!(body(&events[..1], "TEST1"), r#"{"data":[{}],"test_event_code":"TEST1"}"#);
    }
}
