//! Whether a conversation has room for more. What finds none is refused: to forget what is told apart would let it be
//! counted and priced twice.

use crate::decide::Decided;
use crate::state::chats::{MESSAGES_MAX, OPENINGS_MAX};
use crate::types::refusal::{Reason, Refusal};

/// Refuses a new opening while as many of its conversation are on their way to their viewers as are told apart: each
/// waits for those before it. `waiting` counts these.
pub fn in_turn(decided: Decided, waiting: usize) -> Decided {
    match decided {
        Decided::Facts(_) if waiting >= OPENINGS_MAX => {
            let message = "as many openings of this conversation are on their way as can be; \
                send it again in moments";
            Decided::Refused(Refusal::new(Reason::Busy, "conversation", message))
        }
        decided => decided,
    }
}

/// Returns what a message is refused with that can't be told apart from those that are remembered.
pub(in crate::decide::chats) fn full() -> Refusal {
    let message = format!(
        "{MESSAGES_MAX} messages of this conversation are told apart, as many as can be: drop the \
         receipt, for it takes days until there is room (the person's are forgotten after 6 days, \
         the business's after 31)"
    );
    Refusal::new(Reason::ConversationFull, "conversation", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_waits_only_while_all_that_are_told_apart_are_on_their_way() {
        let facts = || Decided::Facts(Vec::new());
        assert_eq!(in_turn(facts(), OPENINGS_MAX - 1), facts());
        assert_eq!(in_turn(Decided::Already, OPENINGS_MAX), Decided::Already);
        let Decided::Refused(refusal) = in_turn(facts(), OPENINGS_MAX) else {
            panic!("it would be the next that is forgotten on its way");
        };
        assert_eq!(refusal.reason, Reason::Busy);
    }
}
