//! Whether a viewer's record has room for one more tap or outcome. Nothing is forgotten to make room, for what is
//! forgotten could be counted and charged again: a tap is refused, and an outcome is declined where it happened.

use crate::state::catalog::Catalog;
use crate::state::viewers::{
    CREDITED_MAX, CREDITED_OF_ACCOUNT_MAX, Credited, MISSED_MAX, TOUCHES_MAX, Viewer,
};
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::Showing;
use crate::types::proto::v1::DeclineReason;
use crate::types::refusal::{Reason, Refusal};

fn credited(viewer: Option<&Viewer>) -> &[Credited] {
    viewer.map_or(&[], Viewer::credited)
}

/// Finds room for a tap.
///
/// # Errors
/// `ViewerFull` where as many are remembered as can be.
pub fn for_tap(viewer: Option<&Viewer>) -> Result<(), Refusal> {
    if viewer.is_some_and(|viewer| viewer.touches().len() >= TOUCHES_MAX) {
        let message =
            "the viewer has tapped as many ads in 29 days as are remembered: drop the tap";
        return Err(Refusal::new(Reason::ViewerFull, "view_token", message));
    }
    Ok(())
}

/// Finds room for an outcome that is credited to a showing.
///
/// # Errors
/// `FraudDetected` where there is none, in all or for the showing's account: people do not open and buy so much.
pub fn for_credited(
    catalog: &Catalog,
    viewer: Option<&Viewer>,
    showing: &Showing,
) -> Result<(), DeclineReason> {
    let known = credited(viewer);
    // Most viewers have one or none.
    if known.len() < CREDITED_OF_ACCOUNT_MAX {
        return Ok(());
    }
    let account = |campaign| catalog.account_of(IdKind::Campaign, campaign);
    let theirs = known.iter().filter(|credited| {
        let of_touch = credited.touch.as_ref().map(|touch| touch.0.campaign);
        let campaign = of_touch.unwrap_or(credited.campaign);
        campaign != 0 && account(campaign) == Some(showing.account)
    });
    if known.len() >= CREDITED_MAX || theirs.count() >= CREDITED_OF_ACCOUNT_MAX {
        return Err(DeclineReason::FraudDetected);
    }
    Ok(())
}

/// Tells whether there is room for an outcome that nobody has earned.
pub fn for_missed(viewer: Option<&Viewer>) -> bool {
    let known = credited(viewer);
    let is_full = || known.iter().filter(|credited| credited.void).count() >= MISSED_MAX;
    known.len() < MISSED_MAX || known.len() < CREDITED_MAX && !is_full()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::state::viewers::{Touch, Unpacked};
    use crate::types::ids::{Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{AccountPut, CampaignPut};
    use crate::types::proto::v1::{Account, Campaign};
    use crate::types::time::Moment;

    /// Returns a catalog with two accounts and a campaign of each.
    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let mut facts = Vec::new();
        for number in 1..=2 {
            let account = Account { id: mint(IdKind::Account, number), ..Account::default() };
            let campaign = Campaign {
                id: mint(IdKind::Campaign, number),
                account_id: account.id,
                ..Campaign::default()
            };
            let account = AccountPut { tenant: 1, account: Some(account) };
            facts.push(Kind::AccountPut(Box::new(account)));
            facts.push(Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })));
        }
        for (seq, fact) in (1..).zip(&facts) {
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) };
            catalog.apply(stamp, fact);
        }
        catalog
    }

    fn outcome(outcome: u64, campaign: u64) -> Credited {
        Credited {
            outcome,
            campaign: if campaign == 0 { 0 } else { mint(IdKind::Campaign, campaign) },
            void: campaign == 0,
            at_ms: 0,
            event_ms: 0,
            imported: false,
            touch: None,
        }
    }

    /// Returns a viewer with so many outcomes of each: of nobody, of the first account, of the second.
    fn viewer(counts: [usize; 3]) -> Viewer {
        let each = (0..3_u64).zip(counts);
        let credited = each.flat_map(|(campaign, count)| {
            (0..count as u64).map(move |it| outcome(1 + campaign * 10_000 + it, campaign))
        });
        Unpacked { credited: credited.collect(), ..Unpacked::default() }.pack()
    }

    #[test]
    fn a_tap_beyond_those_that_are_remembered_is_refused() {
        let with = |taps| {
            let touches = vec![Touch::default(); taps];
            Unpacked { touches, ..Unpacked::default() }.pack()
        };
        assert_eq!(for_tap(None), Ok(()));
        assert_eq!(for_tap(Some(&with(TOUCHES_MAX - 1))), Ok(()));
        let refusal = for_tap(Some(&with(TOUCHES_MAX))).unwrap_err();
        assert_eq!(refusal.reason, Reason::ViewerFull);
    }

    #[test]
    fn no_account_takes_the_room_of_another() {
        let catalog = catalog();
        let credited = |counts, account| {
            let showing = Showing { account: mint(IdKind::Account, account), ..Showing::default() };
            for_credited(&catalog, Some(&viewer(counts)), &showing)
        };
        let full = Err(DeclineReason::FraudDetected);
        assert_eq!(credited([0, CREDITED_OF_ACCOUNT_MAX - 1, 9], 1), Ok(()));
        assert_eq!(credited([0, CREDITED_OF_ACCOUNT_MAX, 9], 1), full);
        assert_eq!(credited([0, CREDITED_OF_ACCOUNT_MAX, 9], 2), Ok(()));
        assert_eq!(credited([MISSED_MAX, CREDITED_OF_ACCOUNT_MAX, 9], 2), Ok(()));
        assert_eq!(credited([CREDITED_MAX - 9, 0, 9], 1), full, "there is no room for anybody");
    }

    #[test]
    fn what_nobody_has_earned_takes_a_part_of_the_room_only() {
        assert!(for_missed(None));
        assert!(for_missed(Some(&viewer([MISSED_MAX - 1, 100, 0]))));
        assert!(!for_missed(Some(&viewer([MISSED_MAX, 0, 0]))));
        assert!(for_missed(Some(&viewer([0, MISSED_MAX, MISSED_MAX]))));
        assert!(!for_missed(Some(&viewer([0, CREDITED_MAX, 0]))));
    }
}
