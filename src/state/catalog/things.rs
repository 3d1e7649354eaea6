//! How many things of each kind a tenant has. Derived from the rows by the same fold, so it is not kept on disk.

use std::collections::BTreeMap;

use crate::types::ids::IdKind;

/// Kinds of things.
const KINDS: usize = IdKind::Experiment as usize;

/// Things by tenant and kind, archived ones too.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Things(BTreeMap<u32, [u64; KINDS]>);

impl Things {
    pub(super) fn of(&self, tenant: u32, kind: IdKind) -> u64 {
        self.0.get(&tenant).map_or(0, |counts| counts[kind as usize - 1])
    }

    pub(super) fn add(&mut self, tenant: u32, kind: IdKind, more: u64) {
        self.0.entry(tenant).or_default()[kind as usize - 1] += more;
    }
}
