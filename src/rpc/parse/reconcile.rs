//! What an analyst asks of a CRM's own list, and the lines of one.

use std::collections::BTreeMap;
use std::str::FromStr;

use prost_types::Timestamp;
use serde_json::{Map, Value};

use crate::report::reconcile::{Asked, Line, Named, Told};
use crate::rpc::limits::{
    CONVERSION_NAME_CHARS_MAX, EVENT_ID_CHARS_MAX, RECONCILE_LINE_BYTES_MAX, RECONCILE_LINES_MAX,
    RECONCILE_PERIOD_DAYS_MAX,
};
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::field::{
    Path, currency, id, moment, optional_variant, period, required, text as checked,
};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::proto::v1;
use crate::types::proto::v1::Outcome;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// What some programs put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns the question that the first message asks.
pub(in crate::rpc) fn reconciled(
    wire: &v1::ReconcileRequest,
    now: Moment,
) -> Result<Asked, Refusal> {
    let account = id(wire.account_id, Path::root("account_id"))?;
    let outcome_path = Path::root("outcome");
    let outcome = match optional_variant(wire.outcome, outcome_path)? {
        Outcome::Unspecified | Outcome::Conversion => Outcome::Conversion,
        Outcome::Conversation => Outcome::Conversation,
        Outcome::FirstReply | Outcome::Qualified => {
            let message = "is a step of a conversation: send CONVERSION or CONVERSATION";
            return Err(outcome_path.refuse(Reason::FieldInvalid, message));
        }
    };
    let (start_path, end_path) = (Path::root("start_time"), Path::root("end_time"));
    let start = required(moment(wire.start_time, start_path)?, start_path)?;
    let end = moment(wire.end_time, end_path)?.unwrap_or(now);
    period([start, end], RECONCILE_PERIOD_DAYS_MAX, end_path)?;
    Ok(Asked { account, outcome, start, end })
}

/// Checks a later message: it goes on with the list and asks nothing else.
pub(in crate::rpc) fn further(wire: &v1::ReconcileRequest) -> Result<(), Refusal> {
    let told = [
        ("account_id", wire.account_id != 0),
        ("start_time", wire.start_time.is_some()),
        ("end_time", wire.end_time.is_some()),
        ("outcome", wire.outcome != 0),
    ];
    let Some((field, _)) = told.into_iter().find(|(_, is_told)| *is_told) else { return Ok(()) };
    let message = "was told by the first message: send only the list in those after it";
    Err(Refusal::new(Reason::FieldInvalid, field, message))
}

/// Reads the lines of a list.
pub(in crate::rpc) struct Reader<'a, F> {
    desk: &'a Desk<'a>,
    outcome: Outcome,
    /// Tells whose an endpoint is, for the caller.
    business_of: F,
    /// What it told.
    businesses: BTreeMap<u64, Result<u64, Refusal>>,
}

impl<'a, F: Fn(u64) -> Result<u64, Refusal>> Reader<'a, F> {
    /// Returns a reader of lists of this kind.
    pub(in crate::rpc) const fn new(desk: &'a Desk<'a>, outcome: Outcome, business_of: F) -> Self {
        Self { desk, outcome, business_of, businesses: BTreeMap::new() }
    }

    /// Reads a whole list. A line that can't be read says why, and nothing of what stands in it.
    ///
    /// # Errors
    /// For more than [`RECONCILE_LINES_MAX`] lines.
    pub(in crate::rpc) fn lines(&mut self, list: &[u8]) -> Result<Vec<Line>, Refusal> {
        let list = list.strip_prefix(BYTE_ORDER_MARK).unwrap_or(list);
        let lines = (1..).zip(list.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
        let mut read = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            if read.len() == RECONCILE_LINES_MAX {
                let message = format!(
                    "has more than {RECONCILE_LINES_MAX} lines: send the list of a shorter period"
                );
                return Err(Path::root("ndjson").refuse(Reason::TooLarge, message));
            }
            read.push((number, self.line(line)));
        }
        Ok(read)
    }

    fn line(&mut self, line: &[u8]) -> Result<(Named, Told), Refusal> {
        if line.len() > RECONCILE_LINE_BYTES_MAX {
            let message =
                format!("has more than {RECONCILE_LINE_BYTES_MAX} bytes: send a line of ids");
            return Err(Refusal::new(Reason::TooLarge, "", message));
        }
        let object: Map<String, Value> = serde_json::from_slice(line).map_err(|_| {
            let message = "is no JSON object: send one object a line, in UTF-8";
            Refusal::new(Reason::FieldInvalid, "", message)
        })?;
        let mut keys = Keys(object);
        let read = match self.outcome {
            Outcome::Conversation => (self.chat(&mut keys)?, Told::default()),
            _ => sale(&mut keys)?,
        };
        // What no key of ours has is not repeated: it could be anything, a message's text too.
        if !keys.0.is_empty() {
            let message = match self.outcome {
                Outcome::Conversation => "has another key: send conversation or conversation_id",
                _ => "has another key: send event_id, name, value_micros, currency, event_time",
            };
            return Err(Refusal::new(Reason::FieldInvalid, "", message));
        }
        Ok(read)
    }

    fn chat(&mut self, keys: &mut Keys) -> Result<Named, Refusal> {
        let path = Path::root("conversation_id");
        let told = keys.number::<u64>(path)?;
        let above = Path::root("conversation");
        let key = match (keys.take("conversation"), told) {
            (None, told) => return Ok(Named::Chat(id(told.unwrap_or_default(), path)?)),
            (Some(_), Some(_)) => {
                let message = "is told by conversation_id already: send one of them";
                return Err(above.refuse(Reason::FieldInvalid, message));
            }
            (Some(Value::Object(key)), None) => key,
            (Some(_), None) => {
                let message = "is no object: send {\"endpoint_id\": \"1\", \"contact\": \"...\"}";
                return Err(above.refuse(Reason::FieldInvalid, message));
            }
        };
        let mut key = Keys(key);
        let endpoint_id = key.number::<u64>(above.field("endpoint_id"))?.unwrap_or_default();
        let endpoint_id = id(endpoint_id, above.field("endpoint_id"))?;
        let contact = key.text(above.field("contact"))?.unwrap_or_default();
        if !key.0.is_empty() {
            let message = "has another key: send endpoint_id and contact";
            return Err(above.refuse(Reason::FieldInvalid, message));
        }
        let ask = || (self.business_of)(endpoint_id);
        let business = self.businesses.entry(endpoint_id).or_insert_with(ask).clone()?;
        let key = v1::ConversationKey { endpoint_id, contact };
        Ok(Named::Chat(self.desk.conversation(business, Some(&key))?.1))
    }
}

fn sale(keys: &mut Keys) -> Result<(Named, Told), Refusal> {
    let path = Path::root("event_id");
    let event_id = keys.text(path)?.unwrap_or_default();
    checked(&event_id, EVENT_ID_CHARS_MAX, path)?;
    let path = Path::root("name");
    let name = keys.text(path)?;
    name.iter().try_for_each(|name| checked(name, CONVERSION_NAME_CHARS_MAX, path))?;
    let path = Path::root("value_micros");
    let micros = keys.number::<i64>(path)?;
    if micros.is_some_and(|micros| !(0..=AMOUNT_MICROS_MAX).contains(&micros)) {
        let message = format!("is out of range: send 0 to {AMOUNT_MICROS_MAX} micros");
        return Err(path.refuse(Reason::MoneyInvalid, message));
    }
    let path = Path::root("currency");
    let money = keys.text(path)?;
    money.iter().try_for_each(|money| currency(money, path))?;
    let path = Path::root("event_time");
    let at = keys.text(path)?.map(|at| written(&at, path)).transpose()?;
    Ok((Named::Sale(event_id), Told { name, micros, currency: money, at }))
}

fn written(text: &str, path: Path) -> Result<Moment, Refusal> {
    let message = "is no moment of RFC 3339: send one such as 2026-11-23T12:00:00Z";
    let at = jiff::Timestamp::from_str(text);
    let at = at.map_err(|_| path.refuse(Reason::FieldInvalid, message))?;
    let at = Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() };
    required(moment(Some(at), path)?, path)
}

/// What stands in an object and has not been read. `null` is as good as nothing.
struct Keys(Map<String, Value>);

impl Keys {
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, path: Path) -> Result<Option<String>, Refusal> {
        match self.take(path.name()) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(path.refuse(Reason::FieldInvalid, "is no text: put it in quotes")),
        }
    }

    fn number<T: FromStr>(&mut self, path: Path) -> Result<Option<T>, Refusal> {
        let number = match self.take(path.name()) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number.to_string().parse().ok(),
            Some(_) => None,
        };
        let bad = || path.refuse(Reason::FieldInvalid, "is no whole number: send its digits");
        number.map(Some).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{NOW, sealer};

    const BUSINESS: u64 = 3 << 58;

    fn asked(change: impl Fn(&mut v1::ReconcileRequest)) -> Result<Asked, Refusal> {
        let start_time = Some(Timestamp { seconds: i64::from(NOW.seconds()) - 60, nanos: 0 });
        let mut wire = v1::ReconcileRequest { account_id: 7, start_time, ..Default::default() };
        change(&mut wire);
        reconciled(&wire, NOW)
    }

    /// Reads a list; only endpoint 9 is the caller's.
    fn read(outcome: Outcome, list: &[u8]) -> Result<Vec<Line>, Refusal> {
        let business_of = |endpoint| match endpoint {
            9 => Ok(BUSINESS),
            _ => Err(Refusal::new(Reason::NotFound, "conversation.endpoint_id", "unknown")),
        };
        let sealer = sealer();
        let desk = Desk { sealer: &sealer, tenant: 4, now: NOW };
        Reader::new(&desk, outcome, business_of).lines(list)
    }

    fn line(outcome: Outcome, line: &str) -> Result<(Named, Told), Refusal> {
        read(outcome, line.as_bytes()).unwrap().remove(0).1
    }

    fn chat(text: &str) -> Result<u64, String> {
        let read = line(Outcome::Conversation, text);
        let read = read.map_err(|refusal| format!("{} {}", refusal.reason.name(), refusal.field));
        read.map(|(named, _)| match named {
            Named::Chat(id) => id,
            Named::Sale(_) => panic!("a sale"),
        })
    }

    #[test]
    fn each_bad_field_of_a_question_is_refused_by_its_name() {
        let sales = asked(|_| ()).unwrap();
        assert_eq!((sales.account, sales.outcome, sales.end), (7, Outcome::Conversion, NOW));
        let field = |change: fn(&mut v1::ReconcileRequest)| asked(change).unwrap_err().field;
        assert_eq!(field(|wire| wire.account_id = 0), "account_id");
        assert_eq!(field(|wire| wire.outcome = 99), "outcome");
        assert_eq!(field(|wire| wire.outcome = Outcome::Qualified.into()), "outcome");
        assert_eq!(field(|wire| wire.start_time = None), "start_time");
        assert_eq!(field(|wire| wire.end_time = wire.start_time), "end_time");
        assert_eq!(field(|wire| wire.start_time = Some(Timestamp::default())), "end_time");
    }

    #[test]
    fn later_messages_carry_only_the_list() {
        let list = v1::ReconcileRequest { ndjson: b"{}".to_vec(), ..Default::default() };
        assert_eq!(further(&list), Ok(()));
        let again = v1::ReconcileRequest { account_id: 7, ..list };
        assert_eq!(further(&again).unwrap_err().field, "account_id");
    }

    #[test]
    fn a_sale_is_read_with_numbers_as_digits_or_text() {
        let told = Told {
            name: Some("Purchase".into()),
            micros: Some(900_000_000_000_001),
            currency: Some("MXN".into()),
            at: Some(Moment(1_795_435_200_500)),
        };
        let whole = Ok((Named::Sale("order-1".into()), told));
        for micros in ["900000000000001", "\"900000000000001\""] {
            let text = format!(
                "{{\"event_id\":\"order-1\",\"name\":\"Purchase\",\"value_micros\":{micros},\
                 \"currency\":\"MXN\",\"event_time\":\"2026-11-23T06:00:00.5-06:00\"}}"
            );
            assert_eq!(line(Outcome::Conversion, &text), whole);
        }
        let bare = Ok((Named::Sale("order-1".into()), Told::default()));
        assert_eq!(line(Outcome::Conversion, "{\"event_id\":\"order-1\"}"), bare);
        let nulls = "{\"event_id\":\"order-1\",\"name\":null,\"event_time\":null}";
        assert_eq!(line(Outcome::Conversion, nulls), bare);
    }

    #[test]
    fn a_bad_line_names_its_field_and_repeats_nothing_of_itself() {
        let long = format!("{{\"event_id\":\"{}\"}}", "x".repeat(129));
        let longer = format!("{{\"event_id\":\"{}\"}}", "x".repeat(RECONCILE_LINE_BYTES_MAX));
        for (text, reason, field) in [
            ("secret", Reason::FieldInvalid, ""),
            ("[\"secret\"]", Reason::FieldInvalid, ""),
            ("{\"event_id\":\"a\"}{}", Reason::FieldInvalid, ""),
            ("{}", Reason::FieldMissing, "event_id"),
            ("{\"event_id\":7}", Reason::FieldInvalid, "event_id"),
            (&long, Reason::TooLarge, "event_id"),
            (&longer, Reason::TooLarge, ""),
            ("{\"event_id\":\"a\",\"name\":\"\"}", Reason::FieldMissing, "name"),
            ("{\"event_id\":\"a\",\"value_micros\":1.5}", Reason::FieldInvalid, "value_micros"),
            ("{\"event_id\":\"a\",\"value_micros\":-1}", Reason::MoneyInvalid, "value_micros"),
            ("{\"event_id\":\"a\",\"currency\":\"secret\"}", Reason::CurrencyInvalid, "currency"),
            ("{\"event_id\":\"a\",\"event_time\":\"secret\"}", Reason::FieldInvalid, "event_time"),
            (
                "{\"event_id\":\"a\",\"event_time\":\"1969-01-01T00:00:00Z\"}",
                Reason::FieldInvalid,
                "event_time.seconds",
            ),
            ("{\"event_id\":\"a\",\"secret\":\"secret\"}", Reason::FieldInvalid, ""),
            ("{\"event_id\":\"a\",\"conversation_id\":1}", Reason::FieldInvalid, ""),
        ] {
            let refusal = line(Outcome::Conversion, text).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (reason, field), "{text}");
            assert!(!refusal.message.contains("secret"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_conversation_is_told_by_its_id_or_by_who_writes_where() {
        assert_eq!(chat("{\"conversation_id\":18446744073709551615}"), Ok(u64::MAX));
        assert_eq!(chat("{\"conversation_id\":\"12\"}"), Ok(12));
        let sealer = sealer();
        let desk = Desk { sealer: &sealer, tenant: 4, now: NOW };
        let key = v1::ConversationKey { endpoint_id: 9, contact: "a".into() };
        let id = desk.conversation(BUSINESS, Some(&key)).unwrap().1;
        for endpoint in ["9", "\"9\""] {
            let text =
                format!("{{\"conversation\":{{\"endpoint_id\":{endpoint},\"contact\":\"a\"}}}}");
            assert_eq!(chat(&text), Ok(id));
        }
        for (text, fault) in [
            ("{}", "FIELD_MISSING conversation_id"),
            ("{\"conversation_id\":0}", "FIELD_MISSING conversation_id"),
            ("{\"conversation_id\":-1}", "FIELD_INVALID conversation_id"),
            ("{\"conversation_id\":1,\"text\":\"hi\"}", "FIELD_INVALID "),
            ("{\"conversation\":\"a\"}", "FIELD_INVALID conversation"),
            ("{\"conversation\":{},\"conversation_id\":1}", "FIELD_INVALID conversation"),
            ("{\"conversation\":{\"contact\":\"a\"}}", "FIELD_MISSING conversation.endpoint_id"),
            ("{\"conversation\":{\"endpoint_id\":9}}", "FIELD_MISSING conversation.contact"),
            (
                "{\"conversation\":{\"endpoint_id\":8,\"contact\":\"a\"}}",
                "NOT_FOUND conversation.endpoint_id",
            ),
            (
                "{\"conversation\":{\"endpoint_id\":9,\"contact\":\"a\",\"text\":\"hi\"}}",
                "FIELD_INVALID conversation",
            ),
        ] {
            assert_eq!(chat(text), Err(fault.into()), "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers_and_empty_ones_are_passed_over() {
        let list = b"\xEF\xBB\xBF{\"conversation_id\":1}\r\n\r\n  {\"conversation_id\":2}\n?\n";
        let read = read(Outcome::Conversation, list).unwrap();
        let numbers: Vec<_> = read.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4]);
        assert_eq!(read[1].1, Ok((Named::Chat(2), Told::default())));
        assert!(read[2].1.is_err());
    }

    #[test]
    fn a_list_has_at_most_so_many_lines() {
        let list = "7\n".repeat(RECONCILE_LINES_MAX);
        assert_eq!(read(Outcome::Conversion, list.as_bytes()).unwrap().len(), RECONCILE_LINES_MAX);
        let refusal = read(Outcome::Conversion, (list + "7").as_bytes()).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::TooLarge, "ndjson"));
    }
}
