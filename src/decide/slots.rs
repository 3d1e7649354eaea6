//! Which places of a tray the feed's policy gives to ads.

use crate::types::request::{AdRequest, Policy};

/// One place in a tray.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The ad stands before this post.
    pub position: u16,
    /// Whether the policy allows an ad here.
    pub allowed: bool,
}

/// Returns the places of a tray, ascending: the ones asked for, each judged by the policy, or all that
/// the policy gives.
pub fn places(policy: &Policy, request: &AdRequest) -> Vec<Place> {
    if request.positions.is_empty() {
        let gap = usize::from(policy.min_gap.max(1));
        let positions = (policy.first_position..request.posts).step_by(gap);
        let most = usize::from(policy.most_per_tray);
        return positions.take(most).map(|position| Place { position, allowed: true }).collect();
    }
    let (mut last, mut given) = (None, 0);
    let judge = |position: &u16| {
        let far = last.is_none_or(|last: u16| *position >= last.saturating_add(policy.min_gap));
        let room = given < policy.most_per_tray && *position < request.posts;
        let allowed = *position >= policy.first_position && far && room;
        if allowed {
            last = Some(*position);
            given += 1;
        }
        Place { position: *position, allowed }
    };
    request.positions.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::Placement;
    use crate::types::request::Profile;

    fn check(posts: u16, asked: &[u16], expected: &str) {
        let request = AdRequest {
            placement: Placement::Status,
            viewer: None,
            profile: Profile::default(),
            posts,
            positions: asked.to_vec(),
            named: true,
            ads_in_session: 0,
        };
        let mark =
            |place: &Place| format!("{}{}", place.position, if place.allowed { "" } else { "!" });
        let given: Vec<_> = places(&Policy::default(), &request).iter().map(mark).collect();
        assert_eq!(given.join(" "), expected);
    }

    #[test]
    fn the_policy_starts_keeps_the_gap_and_ends() {
        check(0, &[], "");
        check(2, &[], "");
        check(3, &[], "2");
        check(7, &[], "2 6");
        check(100, &[], "2 6 10");
    }

    #[test]
    fn asked_positions_are_judged_one_by_one() {
        check(100, &[1, 2, 5, 6, 20, 40], "1! 2 5! 6 20 40!");
        check(10, &[4, 10], "4 10!");
    }
}
