//! One row of a history: from JSON or columns to an event, or why it is none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::types::proto::v1::{ImportedEvent, ImportedEventType};
use crate::types::refusal::{Reason, Refusal};

/// The keys of a row, and the columns of Parquet.
pub(super) const KEYS: [&str; 11] = [
    "type",
    "event_id",
    "event_time",
    "viewer",
    "account_id",
    "ad_id",
    "impression_event_id",
    "tap_event_id",
    "name",
    "value_micros",
    "currency",
];

/// What the side file says of a row under this key is not read again.
pub(super) const REJECTED: &str = "rejected";

/// The types by their names.
const TYPES: [(&str, ImportedEventType); 6] = [
    ("impression", ImportedEventType::Impression),
    ("viewable", ImportedEventType::Viewable),
    ("video_50", ImportedEventType::Video50),
    ("tap", ImportedEventType::Tap),
    ("conversation", ImportedEventType::Conversation),
    ("conversion", ImportedEventType::Conversion),
];

/// Returns the name of a type.
pub(super) fn type_name(kind: ImportedEventType) -> &'static str {
    TYPES.into_iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}

/// One value. `null` is as good as nothing.
#[derive(Debug, Default)]
pub(super) enum Field<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Unsigned(u64),
    Signed(i64),
    /// A moment of Parquet; JSON writes it as text.
    #[cfg(feature = "columns")]
    Time(prost_types::Timestamp),
    /// Neither text nor a whole number.
    Other,
}

/// The values of one row, in the order of [`KEYS`].
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    fields: [Field<'a>; KEYS.len()],
    /// Whether there is a key that none of ours is.
    unknown: bool,
}

impl<'a> Row<'a> {
    /// Reads a line of JSON.
    pub(super) fn of_line(line: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(line).map_err(|_| {
            let message = "is no JSON object: write one object a line, in UTF-8";
            Refusal::new(Reason::FieldInvalid, "", message)
        })
    }

    /// Returns the row of one value for each of [`KEYS`].
    #[cfg(feature = "columns")]
    pub(super) const fn of_fields(fields: [Field<'a>; KEYS.len()]) -> Self {
        Self { fields, unknown: false }
    }

    /// Returns the type, to pass over a row whose turn it is not.
    pub(super) fn kind(&self) -> Result<ImportedEventType, Refusal> {
        let name = match &self.fields[0] {
            Field::Nothing => return Err(missing("type")),
            Field::Text(name) => name,
            _ => return Err(wrong("type", "is no text: put it in quotes")),
        };
        let found = TYPES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let message = "is no type: write impression, viewable, video_50, tap, conversation or \
                       conversion";
        found.map(|(_, kind)| kind).ok_or_else(|| wrong("type", message))
    }

    /// Returns the event; `account` is whose it is where the row does not say.
    pub(super) fn event(self, account: u64) -> Result<ImportedEvent, Refusal> {
        let kind = self.kind()?;
        if self.unknown {
            // What no key of ours has is not repeated: it could be anything.
            let message = "has another key: see `munadi import --help` for those that there are";
            return Err(Refusal::new(Reason::FieldInvalid, "", message));
        }
        let [_, event_id, time, viewer, owner, ad, impression, tap, name, micros, currency] =
            self.fields;
        let value_micros: Option<i64> = number(micros, "value_micros")?;
        Ok(ImportedEvent {
            r#type: kind.into(),
            event_id: text(event_id, "event_id")?,
            event_time: moment(time)?,
            viewer: text(viewer, "viewer")?,
            account_id: number(owner, "account_id")?.unwrap_or(account),
            ad_id: number(ad, "ad_id")?.unwrap_or_default(),
            impression_event_id: text(impression, "impression_event_id")?,
            tap_event_id: text(tap, "tap_event_id")?,
            name: text(name, "name")?,
            value_micros,
            currency: text(currency, "currency")?,
        })
    }
}

fn missing(field: &'static str) -> Refusal {
    Refusal::new(Reason::FieldMissing, field, "is empty: send it")
}

fn wrong(field: &'static str, message: &'static str) -> Refusal {
    Refusal::new(Reason::FieldInvalid, field, message)
}

fn text(field: Field<'_>, name: &'static str) -> Result<String, Refusal> {
    match field {
        Field::Nothing => Ok(String::new()),
        Field::Text(text) => Ok(text.into_owned()),
        _ => Err(wrong(name, "is no text: put it in quotes")),
    }
}

fn number<T>(field: Field<'_>, name: &'static str) -> Result<Option<T>, Refusal>
where
    T: FromStr + TryFrom<u64> + TryFrom<i64>,
{
    let number = match field {
        Field::Nothing => return Ok(None),
        Field::Text(text) => text.parse().ok(),
        Field::Unsigned(number) => T::try_from(number).ok(),
        Field::Signed(number) => T::try_from(number).ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| wrong(name, "is no whole number in range: write its digits"))
}

fn moment(field: Field<'_>) -> Result<Option<prost_types::Timestamp>, Refusal> {
    let at = match field {
        Field::Nothing => return Ok(None),
        #[cfg(feature = "columns")]
        Field::Time(at) => return Ok(Some(at)),
        Field::Text(text) => jiff::Timestamp::from_str(&text).ok(),
        _ => None,
    };
    let message = "is no moment of RFC 3339: write one such as 2026-11-23T12:00:00Z";
    let at = at.ok_or_else(|| wrong("event_time", message))?;
    Ok(Some(prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }))
}

/// Returns an event as a row has it, for the side file.
pub(super) fn as_row(event: &ImportedEvent) -> Map<String, Value> {
    let time = event.event_time.as_ref();
    let time = time.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
    let id = |id: u64| if id == 0 { String::new() } else { id.to_string() };
    let texts = [
        type_name(event.r#type()).to_owned(),
        event.event_id.clone(),
        time.map_or_else(String::new, |at| at.to_string()),
        event.viewer.clone(),
        id(event.account_id),
        id(event.ad_id),
        event.impression_event_id.clone(),
        event.tap_event_id.clone(),
        event.name.clone(),
        event.value_micros.map_or_else(String::new, |micros| micros.to_string()),
        event.currency.clone(),
    ];
    let told = KEYS.into_iter().zip(texts).filter(|(_, text)| !text.is_empty());
    told.map(|(key, text)| (key.to_owned(), Value::String(text))).collect()
}

impl<'de> Deserialize<'de> for Row<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Row<'de>, M::Error> {
        let mut row = Row::default();
        while let Some(Field::Text(key)) = map.next_key()? {
            match KEYS.iter().position(|known| *known == key) {
                Some(at) => row.fields[at] = map.next_value()?,
                None => {
                    let ours = key == REJECTED;
                    let value: Option<IgnoredAny> = map.next_value()?;
                    row.unknown |= !ours && value.is_some();
                }
            }
        }
        Ok(row)
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<'de>, E> {
        Ok(Field::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<'de>, E> {
        Ok(Field::Signed(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Nothing)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Field<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Field<'de>, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAP: &str = r#"{"type": "tap", "event_id": "t-1", "viewer": "ana", "ad_id": 9,
        "event_time": "2026-11-23T12:00:00.25Z", "impression_event_id": null}"#;

    fn event(line: &str) -> Result<ImportedEvent, (String, Reason)> {
        let read = Row::of_line(line.as_bytes()).and_then(|row| row.event(7));
        read.map_err(|refusal| (refusal.field.into_owned(), refusal.reason))
    }

    #[test]
    fn a_row_is_an_event_and_an_event_a_row() {
        let tap = event(TAP).unwrap();
        let time = Some(prost_types::Timestamp { seconds: 1_795_435_200, nanos: 250_000_000 });
        assert_eq!((tap.r#type(), tap.event_time), (ImportedEventType::Tap, time));
        assert_eq!((tap.ad_id, tap.account_id, &*tap.impression_event_id), (9, 7, ""));
        let row = serde_json::to_string(&as_row(&tap)).unwrap();
        assert_eq!(event(&row).unwrap(), tap);
        let sold = r#"{"type": "CONVERSION", "event_id": "\u0061", "viewer": "ana", "account_id": "3",
            "name": "Purchase", "value_micros": -5, "currency": "MXN", "rejected": {"line": 4}}"#;
        let sold = event(sold).unwrap();
        assert_eq!((&*sold.event_id, sold.account_id, sold.value_micros), ("a", 3, Some(-5)));
        let row = serde_json::to_string(&as_row(&sold)).unwrap();
        assert_eq!(event(&row).unwrap(), sold);
    }

    #[test]
    fn each_bad_row_says_which_key_and_why() {
        let (missing, invalid) = (Reason::FieldMissing, Reason::FieldInvalid);
        let bad = |line: &str, field: &str, reason| {
            assert_eq!(event(line).unwrap_err(), (field.to_owned(), reason), "{line}");
        };
        bad("", "", invalid);
        bad("[]", "", invalid);
        bad(r#"{"type": "tap"} x"#, "", invalid);
        bad("{}", "type", missing);
        bad(r#"{"type": 4}"#, "type", invalid);
        bad(r#"{"type": "click"}"#, "type", invalid);
        bad(r#"{"type": "tap", "text": "hello"}"#, "", invalid);
        bad(r#"{"type": "tap", "event_id": 5}"#, "event_id", invalid);
        bad(r#"{"type": "tap", "viewer": ["ana"]}"#, "viewer", invalid);
        bad(r#"{"type": "tap", "event_time": 1764331200}"#, "event_time", invalid);
        bad(r#"{"type": "tap", "event_time": "yesterday"}"#, "event_time", invalid);
        bad(r#"{"type": "tap", "ad_id": 1.5}"#, "ad_id", invalid);
        bad(r#"{"type": "tap", "ad_id": -1}"#, "ad_id", invalid);
        bad(r#"{"type": "tap", "account_id": {"id": 1}}"#, "account_id", invalid);
        bad(r#"{"type": "conversion", "value_micros": "much"}"#, "value_micros", invalid);
        // The node says what else is missing.
        assert!(event(r#"{"type": "tap", "text": null}"#).is_ok());
    }

    #[test]
    fn every_type_has_its_name() {
        for (name, kind) in TYPES {
            assert_eq!(type_name(kind), name);
            assert_eq!(kind.as_str_name(), format!("IMPORTED_EVENT_TYPE_{}", name.to_uppercase()));
        }
    }
}
