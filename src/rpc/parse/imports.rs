//! Events of another system: names hashed at the door, each type's fields checked.

use crate::decide::imports::conversion_outcome;
use crate::rpc::limits::{CONVERSION_NAME_CHARS_MAX, EVENT_ID_CHARS_MAX, PSEUDONYM_CHARS_MAX};
use crate::rpc::parse::field::{Path, id, moment, money, optional_text, required, text, variant};
use crate::tokens::{Sealer, account_viewer, imported_conversation, imported_view, viewer_number};
use crate::types::proto::v1;
use crate::types::proto::v1::ImportedEventType;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Imported, ImportedEvent};

/// What the events of one message are parsed with.
pub(in crate::rpc) struct Importer<'a> {
    /// Hashes names.
    sealer: &'a Sealer,
    /// The caller's tenant; 0: an operator.
    tenant: u32,
    /// Whose pseudonyms the viewers have; 0: their account's own.
    feed: u32,
}

impl<'a> Importer<'a> {
    /// Returns what parses the events of one message.
    ///
    /// # Errors
    /// When an advertiser names a feed, or there is no such feed.
    pub(in crate::rpc) fn new(sealer: &'a Sealer, tenant: u32, feed: u32) -> Result<Self, Refusal> {
        let path = Path::root("feed_id");
        if feed != 0 && tenant != 0 {
            let message = "only an operator may say that viewers are a feed's: leave it empty";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
        if feed != 0 && sealer.ring().link(feed).is_none() {
            let message = "no such feed: send the id under which the feed asks for ads";
            return Err(path.refuse(Reason::NotFound, message));
        }
        Ok(Self { sealer, tenant, feed })
    }

    /// Returns one event.
    pub(in crate::rpc) fn event(&self, wire: v1::ImportedEvent) -> Result<Imported, Refusal> {
        let kind: ImportedEventType = variant(wire.r#type, Path::root("type"))?;
        text(&wire.event_id, EVENT_ID_CHARS_MAX, Path::root("event_id"))?;
        let path = Path::root("event_time");
        let at = required(moment(wire.event_time, path)?, path)?;
        text(&wire.viewer, PSEUDONYM_CHARS_MAX, Path::root("viewer"))?;
        let account = id(wire.account_id, Path::root("account_id"))?;
        only_its_own(kind, &wire)?;
        let ring = self.sealer.ring();
        let viewer = match ring.link(self.feed).filter(|_| self.feed != 0) {
            Some(link) => viewer_number(link, &wire.viewer),
            None => account_viewer(&ring.contact, account, &wire.viewer),
        };
        let event = match kind {
            ImportedEventType::Conversation | ImportedEventType::Conversion => {
                outcome(kind, wire, account, viewer)?
            }
            _ => touch(kind, &wire, account, viewer)?,
        };
        Ok(Imported { tenant: self.tenant, account, viewer, at, event })
    }
}

/// Refuses fields that an event of its type does not have.
fn only_its_own(kind: ImportedEventType, wire: &v1::ImportedEvent) -> Result<(), Refusal> {
    use ImportedEventType as Type;
    let outcome = matches!(kind, Type::Conversation | Type::Conversion);
    let sold = kind == Type::Conversion;
    let impression = matches!(kind, Type::Viewable | Type::Video50 | Type::Tap);
    let told = [
        ("ad_id", wire.ad_id != 0, !outcome),
        ("impression_event_id", !wire.impression_event_id.is_empty(), impression),
        ("tap_event_id", !wire.tap_event_id.is_empty(), outcome),
        ("name", !wire.name.is_empty(), sold),
        ("value_micros", wire.value_micros.is_some(), sold),
        ("currency", !wire.currency.is_empty(), sold),
    ];
    let Some((field, ..)) = told.into_iter().find(|(_, is_told, may_be)| *is_told && !*may_be)
    else {
        return Ok(());
    };
    let message = "is nothing that an event of this type has: leave it empty";
    Err(Path::root(field).refuse(Reason::FieldInvalid, message))
}

fn touch(
    kind: ImportedEventType,
    wire: &v1::ImportedEvent,
    account: u64,
    viewer: u64,
) -> Result<ImportedEvent, Refusal> {
    let ad = id(wire.ad_id, Path::root("ad_id"))?;
    let named = |is_tap, event_id: &str| imported_view(account, viewer, is_tap, event_id);
    let (path, impression) = (Path::root("impression_event_id"), &*wire.impression_event_id);
    let watched = |kind| -> Result<ImportedEvent, Refusal> {
        text(impression, EVENT_ID_CHARS_MAX, path)?;
        Ok(ImportedEvent::Watched { view: named(false, impression), ad, kind })
    };
    match kind {
        ImportedEventType::Viewable => watched(v1::EventKind::Viewable),
        ImportedEventType::Video50 => watched(v1::EventKind::Video50),
        ImportedEventType::Tap => {
            optional_text(impression, EVENT_ID_CHARS_MAX, path)?;
            let tapped_view = if impression.is_empty() { 0 } else { named(false, impression) };
            Ok(ImportedEvent::Tap { view: named(true, &wire.event_id), ad, tapped_view })
        }
        _ => Ok(ImportedEvent::Impression { view: named(false, &wire.event_id), ad }),
    }
}

fn outcome(
    kind: ImportedEventType,
    wire: v1::ImportedEvent,
    account: u64,
    viewer: u64,
) -> Result<ImportedEvent, Refusal> {
    let tap = &*wire.tap_event_id;
    optional_text(tap, EVENT_ID_CHARS_MAX, Path::root("tap_event_id"))?;
    let tap = if tap.is_empty() { 0 } else { imported_view(account, viewer, true, tap) };
    if kind == ImportedEventType::Conversation {
        let outcome = imported_conversation(account, &wire.event_id);
        return Ok(ImportedEvent::Conversation { outcome, tap });
    }
    text(&wire.name, CONVERSION_NAME_CHARS_MAX, Path::root("name"))?;
    let value = value(wire.value_micros, wire.currency)?;
    let outcome = conversion_outcome(account, &wire.event_id);
    let (event_id, name) = (wire.event_id, wire.name);
    Ok(ImportedEvent::Conversion { outcome, tap, event_id, name, value })
}

fn value(micros: Option<i64>, currency: String) -> Result<Option<v1::Money>, Refusal> {
    let Some(micros) = micros else {
        let nothing = currency.is_empty().then_some(None);
        return required(nothing, Path::root("value_micros"));
    };
    let told = v1::Money { micros, currency };
    money(&told, Path::root("value")).map_err(|refusal| {
        let field = if refusal.field == "value.micros" { "value_micros" } else { "currency" };
        Refusal { field: field.into(), ..refusal }
    })?;
    Ok(Some(told))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};
    use crate::types::time::Moment;

    const ACCOUNT: u64 = 7;

    fn event(kind: ImportedEventType) -> v1::ImportedEvent {
        let outcomes = [ImportedEventType::Conversation, ImportedEventType::Conversion];
        v1::ImportedEvent {
            r#type: kind.into(),
            event_id: "e-1".into(),
            event_time: Some(Timestamp { seconds: i64::from(NOW.seconds()), nanos: 0 }),
            viewer: "ana".into(),
            account_id: ACCOUNT,
            ad_id: if outcomes.contains(&kind) { 0 } else { 9 },
            ..v1::ImportedEvent::default()
        }
    }

    fn sold() -> v1::ImportedEvent {
        v1::ImportedEvent {
            name: "Purchase".into(),
            value_micros: Some(5),
            currency: "MXN".into(),
            ..event(ImportedEventType::Conversion)
        }
    }

    fn parsed(feed: u32, wire: v1::ImportedEvent) -> Result<Imported, (String, Reason)> {
        let sealer = sealer();
        let read = Importer::new(&sealer, 0, feed).and_then(|importer| importer.event(wire));
        read.map_err(|refusal| (refusal.field.into_owned(), refusal.reason))
    }

    #[test]
    fn viewers_are_their_accounts_or_their_feeds() {
        let sealer = sealer();
        let own = parsed(0, event(ImportedEventType::Tap)).unwrap();
        assert_eq!(own.viewer, account_viewer(&sealer.ring().contact, ACCOUNT, "ana"));
        assert_eq!(own.at, Moment::from_seconds(NOW.seconds()));
        let feeds = parsed(FEED, event(ImportedEventType::Tap)).unwrap();
        assert_eq!(feeds.viewer, viewer_number(sealer.ring().link(FEED).unwrap(), "ana"));
        let unknown = parsed(FEED + 1, event(ImportedEventType::Tap)).unwrap_err();
        assert_eq!(unknown, ("feed_id".to_owned(), Reason::NotFound));
        let foreign = Importer::new(&sealer, 4, FEED).map(|_| ()).unwrap_err();
        assert_eq!((&*foreign.field, foreign.reason), ("feed_id", Reason::FieldInvalid));
        assert!(Importer::new(&sealer, 4, 0).is_ok());
    }

    #[test]
    fn touches_that_belong_together_name_each_other() {
        let impression = parsed(0, event(ImportedEventType::Impression)).unwrap().event;
        let ImportedEvent::Impression { view, ad } = impression else { panic!("an impression") };
        let of = |kind, event_id: &str| v1::ImportedEvent {
            event_id: event_id.into(),
            impression_event_id: "e-1".into(),
            ..event(kind)
        };
        let tap = parsed(0, of(ImportedEventType::Tap, "t-1")).unwrap().event;
        let ImportedEvent::Tap { view: tapped, tapped_view, .. } = tap else { panic!("a tap") };
        assert_eq!((tapped_view, ad), (view, 9));
        let watched = parsed(0, of(ImportedEventType::Video50, "v-1")).unwrap().event;
        let kind = v1::EventKind::Video50;
        assert_eq!(watched, ImportedEvent::Watched { view, ad, kind });
        let proven = v1::ImportedEvent { tap_event_id: "t-1".into(), ..sold() };
        let proven = parsed(0, proven).unwrap().event;
        let ImportedEvent::Conversion { tap, value, outcome, .. } = proven else {
            panic!("a conversion")
        };
        assert_eq!((tap, value.unwrap().micros), (tapped, 5));
        assert_eq!(outcome, conversion_outcome(ACCOUNT, "e-1"));
    }

    #[test]
    fn each_bad_field_is_refused_by_its_name() {
        use ImportedEventType as Type;
        let refused = |wire: v1::ImportedEvent, field: &str, reason| {
            assert_eq!(parsed(0, wire).unwrap_err(), (field.to_owned(), reason));
        };
        let (tap, missing, invalid) =
            (event(Type::Tap), Reason::FieldMissing, Reason::FieldInvalid);
        refused(event(Type::Unspecified), "type", missing);
        refused(v1::ImportedEvent { r#type: 99, ..tap.clone() }, "type", invalid);
        refused(v1::ImportedEvent { event_id: String::new(), ..tap.clone() }, "event_id", missing);
        refused(v1::ImportedEvent { event_time: None, ..tap.clone() }, "event_time", missing);
        refused(v1::ImportedEvent { viewer: String::new(), ..tap.clone() }, "viewer", missing);
        let long = "x".repeat(PSEUDONYM_CHARS_MAX + 1);
        refused(v1::ImportedEvent { viewer: long, ..tap.clone() }, "viewer", Reason::TooLarge);
        refused(v1::ImportedEvent { account_id: 0, ..tap.clone() }, "account_id", missing);
        refused(v1::ImportedEvent { ad_id: 0, ..tap.clone() }, "ad_id", missing);
        refused(v1::ImportedEvent { name: "x".into(), ..tap }, "name", invalid);
        refused(event(Type::Viewable), "impression_event_id", missing);
        refused(v1::ImportedEvent { ad_id: 9, ..sold() }, "ad_id", invalid);
        refused(v1::ImportedEvent { name: String::new(), ..sold() }, "name", missing);
        refused(v1::ImportedEvent { value_micros: None, ..sold() }, "value_micros", missing);
        let (money, currency) = (Reason::MoneyInvalid, Reason::CurrencyInvalid);
        refused(v1::ImportedEvent { value_micros: Some(-1), ..sold() }, "value_micros", money);
        refused(v1::ImportedEvent { currency: "pesos".into(), ..sold() }, "currency", currency);
        refused(v1::ImportedEvent { currency: String::new(), ..sold() }, "currency", missing);
        let free = v1::ImportedEvent { value_micros: None, currency: String::new(), ..sold() };
        assert!(parsed(0, free).is_ok());
        let chat = v1::ImportedEvent { currency: "MXN".into(), ..event(Type::Conversation) };
        refused(chat, "currency", invalid);
    }
}
