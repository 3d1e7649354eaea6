//! A viewer as tests write it down.

use crate::state::viewers::{CapCount, Credited, Hidden, Rest, Touch, View, Viewer, Views};

/// All that may be known of one viewer, each in a list of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) views: Vec<View>,
    pub(crate) touches: Vec<Touch>,
    pub(crate) caps: Vec<CapCount>,
    pub(crate) hidden: Vec<Hidden>,
    pub(crate) credited: Vec<Credited>,
}

impl Unpacked {
    pub(crate) fn pack(self) -> Viewer {
        let Self { views, touches, caps, hidden, credited } = self;
        let rest = Some(Box::new(Rest { touches, caps, hidden, credited }));
        let oldest_s = views.iter().map(|view| view.issued_s).min().unwrap_or_default();
        Viewer { version: 0, oldest_s, views: Views::of(&views), rest }
    }
}
