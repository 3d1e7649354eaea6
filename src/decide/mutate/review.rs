//! An operator's review of an ad.

use super::{Desk, merge};
use crate::state::credit::timestamp;
use crate::types::proto::v1::{Ad, Review, ReviewState};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Resource;

impl Desk<'_> {
    /// Returns an ad with what the operator found written in.
    pub(super) fn review(&self, ad: u64, etag: &str, found: &Review) -> Result<Resource, Refusal> {
        let wanted = Resource::Ad(Ad { id: ad, etag: etag.to_owned(), ..Ad::default() });
        let (current, revision) = self.changeable(&wanted, "ad_id")?;
        match found.state() {
            ReviewState::Approved => {}
            ReviewState::Rejected if !found.reasons.is_empty() => {}
            ReviewState::Rejected => {
                let message = "tell the advertiser why: at least one reason";
                return Err(Refusal::new(Reason::FieldMissing, "review.reasons", message));
            }
            ReviewState::Unspecified | ReviewState::Pending => {
                let message = "a review ends in APPROVED or REJECTED";
                return Err(Refusal::new(Reason::FieldInvalid, "review.state", message));
            }
        }
        let Resource::Ad(mut row) = current else {
            return Err(Refusal::new(Reason::NotFound, "ad_id", "no such id"));
        };
        row.review = Some(Review { time: Some(timestamp(self.now.0)), ..found.clone() });
        Ok(merge::stamp(Resource::Ad(row), revision + 1, self.now))
    }

    /// Writes in how a new ad, or one whose creative or destination has changed, stands with the
    /// operator.
    pub(super) fn await_review(&self, row: &mut Ad) {
        let state =
            if self.mutation.approve { ReviewState::Approved } else { ReviewState::Pending };
        row.review = Some(Review { state: state.into(), ..Review::default() });
    }
}
