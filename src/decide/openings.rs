//! Whether conversations may be what an ad set pays for: only if somebody else than the payer tells of them, or
//! its word has a history; and only as long as as many are told as elsewhere (DESIGN 8).

use crate::decide::rates::Rates;
use crate::state::desks::Told;
use crate::types::proto::v1::AdSetIssue;

/// Valid taps after which an endpoint's own word counts, and of a week after which its share says anything: at a
/// usual share of 40 %, chance alone puts a quarter of it below a fifth of these taps less often than once in
/// 10^12 weeks.
pub const HISTORY_TAPS_MIN: u64 = 200;

/// Days that are looked back, beside today.
pub const NORM_DAYS: u32 = 7;

/// A share of conversations under one part in so many of the usual one is too small to be chance or taste: ads of
/// one channel differ by a factor of two or three.
pub const NORM_PART: u64 = 4;

/// Endpoints of a channel that must have a share before their median says what is usual. Below it is the rate that
/// new ads are predicted.
pub const NORM_ENDPOINTS_MIN: usize = 3;

/// Valid taps of an endpoint of which nobody has told any opening yet, before its silence counts against it. Up to
/// here nothing is known, and a new endpoint of an honest advertiser is silent as well.
pub const SILENT_TAPS_MAX: u64 = 20;

/// Conversations per tap, in 1/65,535.
pub type Share = u64;

/// Returns an endpoint's share of a week; `None`: too few taps say anything.
pub fn share_of(week: &Told) -> Option<Share> {
    let known = week.taps >= HISTORY_TAPS_MIN;
    known.then(|| week.matched * u64::from(u16::MAX) / week.taps)
}

/// Returns a channel's usual share: the median (of an even number the lower one) of its endpoints' shares.
pub fn usual(mut shares: Vec<Share>) -> Share {
    if shares.len() < NORM_ENDPOINTS_MIN {
        return Rates::NEW.chat.into();
    }
    shares.sort_unstable();
    shares[(shares.len() - 1) / 2]
}

/// Returns what stands against an endpoint's conversations being paid for; unspecified: nothing.
pub fn issue_of(ever: &Told, week: &Told, usual: Share) -> AdSetIssue {
    // After a quiet week counts who told of it before.
    let heard = if week.own + week.independent > 0 { week } else { ever };
    let alone = heard.own > 0 || ever.taps > SILENT_TAPS_MAX;
    if heard.independent == 0 && alone && ever.taps < HISTORY_TAPS_MIN {
        return AdSetIssue::OpeningsSelfReported;
    }
    // The part of the usual share, without a division that would round it.
    let told = week.matched * u64::from(u16::MAX) * NORM_PART;
    if week.taps >= HISTORY_TAPS_MIN && told < usual * week.taps {
        return AdSetIssue::OpeningsUnderReported;
    }
    AdSetIssue::Unspecified
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Share = 26_214;
    const NONE: AdSetIssue = AdSetIssue::Unspecified;
    const SELF: AdSetIssue = AdSetIssue::OpeningsSelfReported;
    const UNDER: AdSetIssue = AdSetIssue::OpeningsUnderReported;

    fn told(taps: u64, matched: u64, own: u64, independent: u64) -> Told {
        Told { taps, matched, own, independent }
    }

    #[test]
    fn ones_own_word_counts_after_200_taps() {
        let issue = |ever: Told| issue_of(&ever, &ever, USUAL);
        assert_eq!(issue(told(0, 0, 0, 0)), NONE, "nothing is known");
        assert_eq!(issue(told(20, 0, 0, 0)), NONE);
        assert_eq!(issue(told(21, 0, 0, 0)), SELF, "silence");
        assert_eq!(issue(told(1, 1, 1, 0)), SELF);
        assert_eq!(issue(told(1, 1, 1, 1)), NONE);
        assert_eq!(issue(told(199, 80, 80, 0)), SELF);
        assert_eq!(issue(told(200, 80, 80, 0)), NONE);
    }

    #[test]
    fn a_share_under_a_quarter_of_the_usual_one_is_too_small() {
        let issue = |taps, matched| {
            let week = told(taps, matched, 0, matched);
            issue_of(&week, &week, USUAL)
        };
        assert_eq!(issue(1_000, 100), NONE, "exactly a quarter of 400");
        assert_eq!(issue(1_000, 99), UNDER);
        assert_eq!(issue(199, 1), NONE, "too few taps say anything");
        let ever = told(5_000, 2_000, 2_000, 0);
        assert_eq!(issue_of(&ever, &told(200, 0, 0, 0), USUAL), UNDER);
        assert_eq!(issue_of(&ever, &told(199, 0, 0, 0), USUAL), NONE);
        assert_eq!(issue_of(&ever, &told(400, 160, 160, 0), USUAL), NONE, "it tells again");
    }

    #[test]
    fn after_a_quiet_week_counts_who_told_before() {
        let quiet = told(30, 0, 0, 0);
        assert_eq!(issue_of(&told(90, 30, 0, 30), &quiet, USUAL), NONE);
        assert_eq!(issue_of(&told(90, 30, 30, 0), &quiet, USUAL), SELF);
        let now_alone = told(30, 10, 10, 0);
        assert_eq!(issue_of(&told(90, 40, 10, 30), &now_alone, USUAL), SELF);
    }

    #[test]
    fn the_usual_share_is_the_median_of_at_least_three() {
        assert_eq!(usual(vec![9, 1, 5]), 5);
        assert_eq!(usual(vec![9, 1, 5, 7]), 5);
        assert_eq!(usual(vec![1, 1]), u64::from(Rates::NEW.chat));
        assert_eq!(share_of(&told(200, 50, 0, 0)), Some(16_383));
        assert_eq!(share_of(&told(199, 50, 0, 0)), None);
    }
}
