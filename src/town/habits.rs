//! How often people do what: the town's numbers, and those of a dry run on one's own requests.

use crate::town::dice::CERTAIN;

/// Chances in millionths. Each is of the step before it: a tap of an ad that is seen, an opening of a
/// tap, a sale of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Habits {
    /// An ad that was handed out is seen at all.
    pub seen: u32,
    /// It is seen only after the time that the engine asked for.
    pub late: u32,
    /// It stays in view long enough.
    pub viewable: u32,
    /// It is tapped.
    pub tapped: u32,
    /// It is hidden, its business is hidden, or it is reported.
    pub disliked: u32,
    /// Somebody who disliked it thinks better of it.
    pub undone: u32,
    /// The feed sends an event twice.
    pub twice: u32,
    /// The feed reports a tap of an ad that nobody saw.
    pub ghostly: u32,
    /// Somebody sends a token with a letter changed.
    pub forged: u32,
    /// A tap leads to a message.
    pub opened: u32,
    /// Somebody who writes deletes the code from the first message.
    pub deleted: u32,
    /// The channel knows the ad for its own, where it can.
    pub referred: u32,
    /// A chat that a link alone has opened stays silent.
    pub silent: u32,
    /// Somebody else opens a chat with the same link, from a shared screenshot.
    pub shared: u32,
    /// A viewer writes to a business without any ad, in one tray.
    pub organic: u32,
    /// A customer of the business whose ads an experiment holds back writes to it or buys there, as of old, in one
    /// tray.
    pub loyal: u32,
    /// A business sends a template to a viewer on its own, in one tray.
    pub mailed: u32,
    /// A message of a business doesn't come through.
    pub lost: u32,
    /// One that came through is read.
    pub read: u32,
    /// Somebody in a chat changes the number.
    pub moved: u32,
    /// A sale is followed by templates.
    pub informed: u32,
    /// An answered person leaves a lead.
    pub lead: u32,
    /// An answered person buys.
    pub bought: u32,
}

impl Habits {
    /// Returns the demo's habits, with a few of every nasty kind.
    #[must_use]
    pub const fn town() -> Self {
        Self {
            seen: CERTAIN / 100 * 92,
            late: CERTAIN / 100,
            viewable: CERTAIN / 100 * 60,
            tapped: 16_000,
            disliked: 4_000,
            undone: CERTAIN / 5,
            twice: CERTAIN / 50,
            ghostly: CERTAIN / 100,
            forged: 300,
            opened: CERTAIN / 3 * 2,
            deleted: CERTAIN / 8,
            referred: CERTAIN / 2,
            silent: CERTAIN / 6,
            shared: CERTAIN / 100,
            organic: 2_000,
            loyal: 10_000,
            mailed: 1_500,
            lost: CERTAIN / 200,
            read: CERTAIN / 100 * 70,
            moved: CERTAIN / 100,
            informed: CERTAIN / 5 * 4,
            lead: CERTAIN / 4,
            bought: CERTAIN / 8,
        }
    }

    /// Returns the habits of a dry run: every ad is seen at once and in view, as often tapped and
    /// followed by a message as said, and nothing goes wrong.
    #[must_use]
    pub const fn dry_run(tapped: u32, opened: u32) -> Self {
        Self {
            seen: CERTAIN,
            late: 0,
            viewable: CERTAIN,
            tapped,
            disliked: 0,
            undone: 0,
            twice: 0,
            ghostly: 0,
            forged: 0,
            opened,
            deleted: 0,
            referred: 0,
            silent: 0,
            shared: 0,
            organic: 0,
            loyal: 0,
            mailed: 0,
            lost: 0,
            read: 0,
            moved: 0,
            informed: 0,
            lead: CERTAIN / 4,
            bought: CERTAIN / 8,
        }
    }
}
