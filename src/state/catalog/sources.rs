//! Entry sources in small numbers: whose they are, and which code names which.

use std::collections::BTreeMap;

use crate::types::proto::v1::{EntryPoint, EntrySource};
use crate::types::token::PrefillCode;

/// An entry source with what stands above it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceRef {
    /// Its id.
    pub id: u64,
    /// The endpoint that it opens a chat with.
    pub endpoint: u64,
    /// The business of that endpoint.
    pub business: u64,
    /// What it is: a web button, a printed code, a profile.
    pub entry_point: EntryPoint,
}

/// What is derived of all sources.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sources {
    /// By source: its endpoint, and what it is.
    rows: BTreeMap<u32, (u32, EntryPoint)>,
    /// By code: its source.
    codes: BTreeMap<u64, u32>,
}

impl Sources {
    pub(super) fn put(&mut self, number: u32, endpoint: u32, row: &EntrySource) {
        self.rows.insert(number, (endpoint, row.entry_point()));
        if let Ok(code) = row.code.parse::<PrefillCode>() {
            self.codes.insert(code.number(), number);
        }
    }

    /// Returns the number of a source's endpoint; 0: there is no such source.
    pub(super) fn endpoint(&self, number: u32) -> u32 {
        self.rows.get(&number).map_or(0, |(endpoint, _)| *endpoint)
    }

    pub(super) fn entry_point(&self, number: u32) -> EntryPoint {
        self.rows.get(&number).map_or(EntryPoint::Unspecified, |(_, entry_point)| *entry_point)
    }

    pub(super) fn by_code(&self, code: u64) -> Option<u32> {
        self.codes.get(&code).copied()
    }
}
