//! What a Flight ticket asks for: a JSON object, told in a command, or made from a path that names a table.
//!
//! ```json
//! {"table": "attributions", "account_id": "7", "start_time": "2026-11-01T00:00:00Z"}
//! {"table": "reports", "report": {"dimensions": ["DIMENSION_CAMPAIGN"]}}
//! ```

use std::sync::LazyLock;

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::{Deserialize, Serialize};

use crate::report::columnar::Table;
use crate::rpc::limits::REPORT_PAGE_MAX;
use crate::rpc::parse::field::{Path, ends_after};
use crate::types::proto::DESCRIPTORS;
use crate::types::proto::v1::QueryReportRequest;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

static REPORT: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the build wrote them");
    let found = pool.get_message_by_name("munadi.v1.QueryReportRequest");
    found.expect("the interface has reports")
});

/// Which rows of which table.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// The table.
    pub table: Table,
    /// Of this account only; 0: of all that the caller may see.
    pub account: u64,
    /// What was journaled from this moment on.
    pub start: Moment,
    /// And before this one; `None`: up to the last closed minute.
    pub end: Option<Moment>,
    /// The question of a report.
    pub report: QueryReportRequest,
}

/// The same as JSON has it.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_id: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<serde_json::Value>,
}

/// An id, as a number or as text.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

impl Ticket {
    /// Returns a ticket for all rows of a table.
    pub fn of(table: Table) -> Self {
        let (start, report) = (Moment::default(), QueryReportRequest::default());
        Self { table, account: 0, start, end: None, report }
    }

    /// Returns what a ticket of the node's own says.
    ///
    /// # Errors
    /// `FieldInvalid` where it is none.
    pub fn read(ticket: &[u8]) -> Result<Self, Refusal> {
        Self::of_json("ticket", ticket)
    }

    /// Returns what a descriptor asks for: a path with the name of a table, or a command.
    pub(in crate::rpc) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<Self, Refusal> {
        match descriptor.r#type() {
            DescriptorType::Cmd => Self::of_json("cmd", &descriptor.cmd),
            DescriptorType::Path => match &*descriptor.path {
                [name] => Ok(Self::of(table(name, Path::root("path"))?)),
                _ => {
                    let message = format!("is not one name of a table: send {}", names());
                    Err(Path::root("path").refuse(Reason::FieldInvalid, message))
                }
            },
            DescriptorType::Unknown => {
                let message = "is neither PATH nor CMD: send one of them";
                Err(Path::root("type").refuse(Reason::FieldInvalid, message))
            }
        }
    }

    /// Returns what a ticket or command says; `field` is where it stands.
    pub(in crate::rpc) fn of_json(field: &'static str, json: &[u8]) -> Result<Self, Refusal> {
        let written: Written = serde_json::from_slice(json).map_err(|error| {
            let message = format!(
                r#"is no JSON object like {{"table": "attributions", "start_time": "2026-11-01T00:00:00Z"}}: {error}"#
            );
            Path::root(field).refuse(Reason::FieldInvalid, message)
        })?;
        let table = table(&written.table, Path::root("table"))?;
        let ticket = Self {
            table,
            account: account(written.account_id)?,
            start: moment(written.start_time.as_deref(), "start_time")?.unwrap_or_default(),
            end: moment(written.end_time.as_deref(), "end_time")?,
            report: QueryReportRequest::default(),
        };
        ends_after(ticket.start, ticket.end, Path::root("end_time"))?;
        match (table, written.report) {
            (_, None) => ticket.checked(),
            (Table::Reports, Some(report)) => Self { report: asked(report)?, ..ticket }.checked(),
            (_, Some(_)) => {
                let message = "goes only with the table reports: leave it out";
                Err(Path::root("report").refuse(Reason::FieldInvalid, message))
            }
        }
    }

    /// Refuses what says nothing of a report.
    fn checked(self) -> Result<Self, Refusal> {
        if self.table != Table::Reports {
            return Ok(self);
        }
        let told = [
            ("account_id", self.account != 0),
            ("start_time", self.start != Moment::default()),
            ("end_time", self.end.is_some()),
        ];
        if let Some((field, _)) = told.into_iter().find(|(_, told)| *told) {
            let message = "belongs inside `report` here: send it there";
            return Err(Path::root(field).refuse(Reason::FieldInvalid, message));
        }
        let paged = [
            ("page_token", !self.report.page_token.is_empty()),
            ("page_size", self.report.page_size != 0),
        ];
        if let Some((field, _)) = paged.into_iter().find(|(_, told)| *told) {
            let (path, message) = (Path::root("report"), "all rows are sent: leave it out");
            return Err(path.field(field).refuse(Reason::FieldInvalid, message));
        }
        let page_size = REPORT_PAGE_MAX as u32;
        Ok(Self { report: QueryReportRequest { page_size, ..self.report }, ..self })
    }

    /// Returns the ticket as JSON has it: equal ones are equal text.
    pub fn json(&self) -> String {
        let time = |moment: Moment| {
            let time = jiff::Timestamp::from_millisecond(moment.0).unwrap_or_default();
            Some(time.to_string())
        };
        let written = Written {
            table: self.table.name().to_owned(),
            account_id: (self.account != 0).then(|| Id::Text(self.account.to_string())),
            start_time: Some(self.start).filter(|it| *it != Moment::default()).and_then(time),
            end_time: self.end.and_then(time),
            report: (self.table == Table::Reports).then(|| written_report(&self.report)),
        };
        serde_json::to_string(&written).expect("it has nothing that JSON has not")
    }
}

fn names() -> String {
    Table::ALL.map(Table::name).join(", ")
}

fn table(name: &str, path: Path) -> Result<Table, Refusal> {
    Table::of_name(name).ok_or_else(|| {
        let message = format!("{name:?} is no table: take one of {}", names());
        path.refuse(Reason::FieldInvalid, message)
    })
}

fn account(written: Option<Id>) -> Result<u64, Refusal> {
    let id = match written {
        None => Some(0),
        Some(Id::Number(id)) => Some(id),
        Some(Id::Text(text)) => text.parse().ok(),
    };
    let message = "is no id: send its digits";
    id.ok_or_else(|| Path::root("account_id").refuse(Reason::FieldInvalid, message))
}

fn moment(written: Option<&str>, field: &str) -> Result<Option<Moment>, Refusal> {
    let Some(text) = written else { return Ok(None) };
    let time = text.parse::<jiff::Timestamp>().ok().map(|time| Moment(time.as_millisecond()));
    let time = time.filter(|time| time.0 >= 0);
    let message = "is no time like 2026-11-01T00:00:00Z since 1970: send RFC 3339";
    let refuse = || Path::root(field).refuse(Reason::FieldInvalid, message);
    time.map(Some).ok_or_else(refuse)
}

fn asked(report: serde_json::Value) -> Result<QueryReportRequest, Refusal> {
    let message = DynamicMessage::deserialize(REPORT.clone(), report).map_err(|error| {
        let message = format!("is no QueryReportRequest as protobuf's JSON has it: {error}");
        Path::root("report").refuse(Reason::FieldInvalid, message)
    })?;
    Ok(message.transcode_to().expect("both are of one descriptor"))
}

fn written_report(report: &QueryReportRequest) -> serde_json::Value {
    let mut message = DynamicMessage::new(REPORT.clone());
    let report = QueryReportRequest { page_size: 0, ..report.clone() };
    message.transcode_from(&report).expect("both are of one descriptor");
    serde_json::to_value(&message).expect("a message has nothing that JSON has not")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::Dimension;

    fn parse(json: &str) -> Result<Ticket, Refusal> {
        Ticket::of_json("ticket", json.as_bytes())
    }

    #[test]
    fn a_ticket_reads_as_it_is_written() {
        let tickets = [
            r#"{"table":"attributions"}"#,
            r#"{"table":"touches","account_id":"7","start_time":"2026-11-01T00:00:00Z"}"#,
            r#"{"table":"transfers","end_time":"2026-11-01T00:00:00.5Z"}"#,
            r#"{"table":"reports","report":{"dimensions":["DIMENSION_CAMPAIGN"]}}"#,
        ];
        for text in tickets {
            let ticket = parse(text).unwrap();
            assert_eq!(parse(&ticket.json()).unwrap(), ticket, "{text}");
        }
        let ticket = parse(tickets[1]).unwrap();
        assert_eq!((ticket.account, ticket.start), (7, Moment(1_793_491_200_000)));
        assert_eq!(parse(tickets[2]).unwrap().end, Some(Moment(1_793_491_200_500)));
        let report = parse(tickets[3]).unwrap().report;
        assert_eq!(report.dimensions, [i32::from(Dimension::Campaign)]);
        assert_eq!(parse(r#"{"table":"touches","account_id":7}"#).unwrap().account, 7);
    }

    #[test]
    fn an_unknown_table_is_answered_with_those_that_there_are() {
        let refusal = parse(r#"{"table":"viewers"}"#).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldInvalid, "table"));
        for table in Table::ALL {
            assert!(refusal.message.contains(table.name()), "{}", refusal.message);
        }
    }

    #[test]
    fn each_field_is_refused_by_its_name() {
        let check = |field: &str, json: &str| {
            assert_eq!(parse(json).unwrap_err().field, field, "{json}");
        };
        check("ticket", "");
        check("ticket", "[1]");
        check("ticket", r#"{"table":"touches","viewer":1}"#);
        check("table", r#"{"table":""}"#);
        check("account_id", r#"{"table":"touches","account_id":"-1"}"#);
        check("start_time", r#"{"table":"touches","start_time":"yesterday"}"#);
        check("start_time", r#"{"table":"touches","start_time":"1969-12-31T00:00:00Z"}"#);
        let twice = "2026-11-01T00:00:00Z";
        check(
            "end_time",
            &format!(r#"{{"table":"touches","start_time":"{twice}","end_time":"{twice}"}}"#),
        );
        check("report", r#"{"table":"touches","report":{}}"#);
        check("report", r#"{"table":"reports","report":{"dimension":1}}"#);
        check("account_id", r#"{"table":"reports","account_id":7}"#);
        check("report.page_size", r#"{"table":"reports","report":{"pageSize":5}}"#);
    }

    #[test]
    fn a_path_names_one_table() {
        let path = |names: &[&str]| {
            FlightDescriptor::new_path(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let ticket = Ticket::of_descriptor(&path(&["touches"])).unwrap();
        assert_eq!(ticket, Ticket::of(Table::Touches));
        for names in [&[][..], &["viewers"], &["touches", "7"]] {
            let refusal = Ticket::of_descriptor(&path(names)).unwrap_err();
            assert_eq!(refusal.field, "path");
            assert!(refusal.message.contains("attributions"), "{}", refusal.message);
        }
        let untyped = FlightDescriptor::default();
        assert_eq!(Ticket::of_descriptor(&untyped).unwrap_err().field, "type");
    }
}
