//! Where and to whom an ad was shown: what a viewer's showings and taps keep for breakdowns.

use crate::types::proto::journal::v1::{ImpressionSeen, ViewContext};
pub use crate::types::shown::Context;

impl Context {
    pub(in crate::state) fn of(wire: &ViewContext) -> Self {
        Self {
            country: wire.country as u16,
            region: wire.region as u16,
            age_gender: wire.age_gender as u8,
            os_device: wire.os_device as u8,
            placement: wire.placement as u8,
            position: u8::try_from(wire.position).unwrap_or(u8::MAX),
        }
    }

    pub(in crate::state) fn wire(self) -> ViewContext {
        ViewContext {
            placement: u32::from(self.placement),
            position: u32::from(self.position),
            country: u32::from(self.country),
            region: u32::from(self.region),
            age_gender: u32::from(self.age_gender),
            os_device: u32::from(self.os_device),
        }
    }
}

/// Returns where and to whom an impression was.
pub(in crate::state) fn context_of_view(fact: &ImpressionSeen) -> ViewContext {
    ViewContext {
        placement: fact.placement,
        position: fact.position + 1,
        country: fact.country,
        region: fact.region,
        age_gender: fact.age_gender,
        os_device: fact.os_device,
    }
}
