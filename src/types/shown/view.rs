//! One showing, unpacked.

use serde::{Deserialize, Serialize};

use crate::types::proto::v1::EventKind;

/// What happened to one showing: one bit for each kind of event.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Flags(pub u16);

impl Flags {
    /// Tells whether this kind of event has been counted.
    pub const fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

/// Where and to whom an ad was shown, as breakdowns cut it; 0: not known.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Context {
    /// The viewer's country, two letters as a big-endian number.
    pub country: u16,
    /// The viewer's region.
    pub region: u16,
    /// The viewer's age band and gender.
    pub age_gender: u8,
    /// The viewer's system and device class.
    pub os_device: u8,
    /// A placement, by the interface's number.
    pub placement: u8,
    /// Place in the tray, from 1.
    pub position: u8,
}

/// One showing of an ad to the viewer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct View {
    /// Its id.
    pub view: u64,
    /// The ad shown.
    pub ad: u64,
    /// The business it is of.
    pub business: u64,
    /// Hash of the business's category; 0: none.
    pub category: u64,
    /// When it was handed out, seconds.
    pub issued_s: u32,
    /// The feed it was shown in.
    pub feed: u32,
    /// What happened to it.
    pub flags: Flags,
    /// Whether the device said when it was seen.
    pub timed: bool,
    /// An `InvalidReason`; 0: valid.
    pub invalid: u8,
    /// How long after it was seen half of its video had been played, milliseconds; 0 until then.
    pub engaged_after_ms: u32,
    /// When it was seen, milliseconds.
    pub seen_ms: i64,
    /// Where, and to whom.
    pub context: Context,
}
