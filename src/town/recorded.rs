//! Recorded requests and campaigns: one JSON object a line, in protobuf's own JSON form.

use std::io::BufRead;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::town::lines::{Kind, Line};
use crate::types::proto::{DESCRIPTORS, v1};
use crate::types::request::Resource;

/// The longest line that is read: far above any request, far below what would hurt.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A line that can't be read.
#[derive(Debug, Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// A line of a campaigns file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    /// Absent: nobody refers to it by name.
    #[serde(default, rename = "ref", skip_serializing_if = "String::is_empty")]
    reference: String,
    /// Absent: the last one before it of the parent's kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    parent: String,
    /// The same for an ad's endpoint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    endpoint: String,
    resource: serde_json::Value,
}

/// Knows the JSON form of the interface's messages.
pub struct JsonForm {
    pool: DescriptorPool,
}

impl Default for JsonForm {
    fn default() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("the build checked the descriptors");
        Self { pool }
    }
}

impl JsonForm {
    fn message(&self, name: &str) -> MessageDescriptor {
        self.pool.get_message_by_name(name).expect("the interface has this message")
    }

    /// Reads one message.
    fn read<T: Message + Default>(&self, name: &str, json: serde_json::Value) -> Result<T, String> {
        let dynamic = DynamicMessage::deserialize(self.message(name), json);
        let dynamic = dynamic.map_err(|error| error.to_string())?;
        dynamic.transcode_to().map_err(|error| error.to_string())
    }

    /// Returns the JSON form of one message.
    fn write<T: Message>(&self, name: &str, message: &T) -> serde_json::Value {
        let mut dynamic = DynamicMessage::new(self.message(name));
        dynamic.transcode_from(message).expect("a message is of its own type");
        debug_assert_eq!(dynamic.descriptor().full_name(), name);
        serde_json::to_value(&dynamic).expect("every field has a JSON form")
    }

    /// Returns the line of a recorded request.
    #[must_use]
    pub fn request_line(&self, request: &v1::AdRequest) -> String {
        self.write(REQUEST, request).to_string()
    }

    /// Reads a recorded request.
    ///
    /// # Errors
    /// When it isn't the JSON form of an `AdRequest`, or has no time.
    pub fn read_request(&self, text: &str) -> Result<v1::AdRequest, String> {
        let json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let request: v1::AdRequest = self.read(REQUEST, json)?;
        if request.time.is_none() {
            return Err("it has no time: a dry run needs to know when it was made".to_owned());
        }
        Ok(request)
    }

    /// Returns the line of a campaigns file.
    #[must_use]
    pub fn campaign_line(&self, line: &Line) -> String {
        let name = Kind::of(&line.resource).message();
        let resource = match &line.resource {
            Resource::Account(it) => self.write(name, it),
            Resource::Business(it) => self.write(name, it),
            Resource::Endpoint(it) => self.write(name, it),
            Resource::Campaign(it) => self.write(name, it),
            Resource::AdSet(it) => self.write(name, it),
            Resource::Ad(it) => self.write(name, it),
            Resource::Source(it) => self.write(name, it),
            Resource::Experiment(it) => self.write(name, it),
        };
        let written = Written {
            kind: Kind::of(&line.resource).name().to_owned(),
            reference: line.reference.clone(),
            parent: line.parent.clone(),
            endpoint: line.endpoint.clone(),
            resource,
        };
        serde_json::to_string(&written).expect("texts and JSON have a JSON form")
    }

    /// Reads a campaigns file. Lines that are empty are left out.
    ///
    /// # Errors
    /// When a line can't be read, or has no parent before it. Names are looked up when the list is
    /// founded.
    pub fn read_campaigns(&self, lines: impl BufRead) -> Result<Vec<Line>, BadLine> {
        let mut read: Vec<Line> = Vec::new();
        for_each_line(lines, |line, text| {
            let bad = |what| BadLine { line, what };
            let made = self.read_campaign(text, line, &read).map_err(bad)?;
            read.push(made);
            Ok(())
        })?;
        Ok(read)
    }

    fn read_campaign(&self, text: &str, number: usize, before: &[Line]) -> Result<Line, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == written.kind);
        let names = Kind::ALL.map(Kind::name).join(", ");
        let kind = kind.ok_or_else(|| format!("kind {:?} is none of {names}", written.kind))?;
        let resource = self.read_resource(kind, written.resource)?;
        let latest = |wanted: Kind, named: String| {
            if !named.is_empty() {
                return Ok(named);
            }
            let line = before.iter().rev().find(|line| Kind::of(&line.resource) == wanted);
            line.map(|line| line.reference.clone())
                .ok_or_else(|| format!("there is no {} before it", wanted.name()))
        };
        let parent = match kind.parent() {
            Some(wanted) => latest(wanted, written.parent)?,
            None => String::new(),
        };
        let endpoint = match kind {
            Kind::Ad => latest(Kind::Endpoint, written.endpoint)?,
            _ => String::new(),
        };
        let reference = match written.reference {
            named if !named.is_empty() => named,
            _ => format!("line {number}"),
        };
        Ok(Line { reference, tenant: 0, parent, endpoint, resource })
    }

    fn read_resource(&self, kind: Kind, json: serde_json::Value) -> Result<Resource, String> {
        let name = kind.message();
        Ok(match kind {
            Kind::Account => Resource::Account(self.read(name, json)?),
            Kind::Business => Resource::Business(self.read(name, json)?),
            Kind::Endpoint => Resource::Endpoint(self.read(name, json)?),
            Kind::Campaign => Resource::Campaign(self.read(name, json)?),
            Kind::AdSet => Resource::AdSet(self.read(name, json)?),
            Kind::Ad => Resource::Ad(self.read(name, json)?),
            Kind::Source => Resource::Source(self.read(name, json)?),
            Kind::Experiment => Resource::Experiment(self.read(name, json)?),
        })
    }
}

const REQUEST: &str = "munadi.v1.AdRequest";

/// Calls `each` with the number and text of every line that isn't empty.
///
/// # Errors
/// When a line can't be read, is too long, or `each` refuses it.
pub(crate) fn for_each_line<E: From<BadLine>>(
    mut lines: impl BufRead,
    mut each: impl FnMut(usize, &str) -> Result<(), E>,
) -> Result<(), E> {
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let bad = |what| BadLine { line, what };
        let limited = std::io::Read::take(&mut lines, LINE_BYTES_MAX as u64 + 1);
        let read = { limited }.read_line(&mut text).map_err(|error| bad(error.to_string()))?;
        if read == 0 {
            break;
        }
        if read > LINE_BYTES_MAX {
            return Err(bad(format!("it is longer than {LINE_BYTES_MAX} bytes")).into());
        }
        if !text.trim().is_empty() {
            each(line, text.trim())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::businesses::plan;
    use crate::types::time::Moment;

    #[test]
    fn a_request_survives_its_line() {
        let form = JsonForm::default();
        let line = r#"{"placement":"PLACEMENT_FEED","posts":10,"time":"2026-06-01T08:00:00.250Z",
            "viewer":{"pseudonym":"v1","country":"CN","os":"OS_IOS","interests":[7,9]}}"#;
        let request = form.read_request(line).unwrap();
        assert_eq!(request.posts, 10);
        assert_eq!(request.viewer.as_ref().unwrap().interests, [7, 9]);
        assert_eq!(form.read_request(&form.request_line(&request)).unwrap(), request);
    }

    #[test]
    fn a_bad_request_says_what_is_wrong() {
        let form = JsonForm::default();
        for (text, what) in [
            ("{", "EOF"),
            (r#"{"posts":10}"#, "no time"),
            (r#"{"post":10,"time":"2026-06-01T08:00:00Z"}"#, "post"),
            (r#"{"placement":"PLACEMENT_MOON","time":"2026-06-01T08:00:00Z"}"#, "PLACEMENT_MOON"),
        ] {
            let error = form.read_request(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn a_whole_town_survives_its_file() {
        let form = JsonForm::default();
        let lines: Vec<Line> =
            plan(7, 20_000, Moment(0)).into_iter().map(|line| Line { tenant: 0, ..line }).collect();
        let text: Vec<String> = lines.iter().map(|line| form.campaign_line(line)).collect();
        assert_eq!(form.read_campaigns(text.join("\n").as_bytes()).unwrap(), lines);
    }

    #[test]
    fn parents_follow_the_order_where_they_are_not_named() {
        let form = JsonForm::default();
        let text = r#"
            {"kind":"account","resource":{"name":"a","currency":"MXN","timeZone":"UTC"}}

            {"kind":"business","resource":{"name":"b"}}
            {"kind":"endpoint","ref":"chat","resource":{"channel":"CHANNEL_LINE"}}
            {"kind":"campaign","ref":"first","resource":{"name":"c"}}
            {"kind":"campaign","resource":{"name":"d"}}
            {"kind":"ad_set","parent":"first","resource":{"bid":{"micros":"5","currency":"MXN"}}}
            {"kind":"ad","resource":{"name":"e"}}"#;
        let lines = form.read_campaigns(text.as_bytes()).unwrap();
        let parents: Vec<&str> = lines.iter().map(|line| &*line.parent).collect();
        assert_eq!(parents, ["", "line 2", "line 4", "line 2", "line 2", "first", "line 8"]);
        assert_eq!(lines[6].endpoint, "chat");
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let form = JsonForm::default();
        let account = r#"{"kind":"account","resource":{"name":"a"}}"#;
        for (line, what) in [
            (r#"{"kind":"moon","resource":{}}"#, "none of account, business"),
            (r#"{"kind":"ad","resource":{}}"#, "no ad_set before it"),
            (r#"{"kind":"account","resource":{"nom":"a"}}"#, "nom"),
            (r#"{"kind":"account","color":1,"resource":{}}"#, "color"),
        ] {
            let text = format!("{account}\n{line}\n");
            let error = form.read_campaigns(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, 2);
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
