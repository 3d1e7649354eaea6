//! Selection the slow, obvious way: every ad is looked at, one after the other. The oracle of the index.

use std::cmp::Ordering::{Greater, Less};

use crate::decide::groups::Member;
use crate::decide::index::Draft;
use crate::decide::select::Asked;
use crate::decide::skip::Skip;
use crate::decide::target::Told;

/// Returns what becomes of each ad before the auction: a bid, or why there is none. Reads the drafts and
/// the board, never the index.
pub fn judge<'a>(
    drafts: &'a [Draft],
    asked: &'a Asked<'a>,
) -> impl Iterator<Item = (u32, Result<Member, Skip>)> + 'a {
    let mut told = Told::default();
    told.take(&asked.request.profile, asked.request.placement, asked.now);
    drafts.iter().map(move |draft| (draft.ad(), judge_one(draft, asked, &told)))
}

fn judge_one(draft: &Draft, asked: &Asked<'_>, told: &Told) -> Result<Member, Skip> {
    let entry = draft.entry();
    if !draft.targets().iter().any(|target| target.matches(told)) {
        return Err(Skip::NotTargeted);
    }
    let (worth, rates) = asked.worth(entry);
    match asked.obstacle(entry, draft.extra(), worth) {
        Some(skip) => Err(skip),
        None => Ok(Member::of(entry, worth, rates, asked.lot(entry.ad))),
    }
}

/// Returns the bids in the order of the auction, the best first.
pub fn bids(drafts: &[Draft], asked: &Asked<'_>) -> Vec<Member> {
    let mut bids: Vec<Member> = judge(drafts, asked).filter_map(|(_, bid)| bid.ok()).collect();
    bids.sort_by(|one, other| if one.beats(other) { Less } else { Greater });
    bids
}
