//! The dated rules of WhatsApp's message prices. A message is priced by the rule of the moment at which it was
//! delivered; a rule ends where the next begins.

use crate::types::time::Moment;

/// Service messages of one phone number that are free in a month, while service messages are charged (FACTS,
/// section 0, finding 1).
pub const FREE_SERVICE_MESSAGES: u64 = 1_000;

/// What is charged.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Regime {
    /// Messages later than 24 hours after the person's last.
    LateMessages,
    /// Conversations of 24 hours, by category.
    Conversations,
    /// Delivered messages.
    Messages,
    /// Delivered messages, service messages and templates inside the customer-service window among them.
    Replies,
}

impl Regime {
    /// All four in order of time.
    pub const ALL: [Self; 4] =
        [Self::LateMessages, Self::Conversations, Self::Messages, Self::Replies];

    /// Returns its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LateMessages => "late_messages",
            Self::Conversations => "conversations",
            Self::Messages => "messages",
            Self::Replies => "replies",
        }
    }
}

/// A rule from its first moment on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Midnight of UTC. Channels roll at midnight of the business account's zone, which no webhook tells.
    pub from: Moment,
    /// What is charged.
    pub regime: Regime,
    /// Whether service messages are free of charge.
    pub free_service: bool,
    /// What it says, for people.
    pub text: &'static str,
}

/// Start of the prices per conversation. FACTS names no day: it is the field's own announcement (for instance
/// `https://support.wati.io/l/en/article/1ytkxyyie9-what-is-conversation-based-pricing`).
pub const CONVERSATIONS_FROM: Moment = Moment::of_date(2022, 2, 1);

/// Service conversations are free from here on (FACTS, section 0: "from Nov 2024").
pub const FREE_SERVICE_FROM: Moment = Moment::of_date(2024, 11, 1);

/// Start of the prices per delivered message (FACTS, section 0).
pub const MESSAGES_FROM: Moment = Moment::of_date(2025, 7, 1);

/// Replies are charged from here on (FACTS, section 0; section "Low confidence": sources differ, so both rules
/// are kept, and the channel's own word on a message goes first).
pub const REPLIES_FROM: Moment = Moment::of_date(2026, 10, 1);

/// All rules, ascending. What is before the first is priced by it.
///
/// The 1,000 free conversations that a business account had in a month are left out: receipts don't say
/// which account of the channel they count on. The channel's own word knows them.
pub const RULES: [Rule; 5] = [
    Rule {
        // The year of the report; no day is told.
        from: Moment::of_date(2018, 1, 1),
        regime: Regime::LateMessages,
        free_service: false,
        text: "Replies within 24 hours of the person's message are free; later messages cost a price \
               each, by country.",
    },
    Rule {
        from: CONVERSATIONS_FROM,
        regime: Regime::Conversations,
        free_service: false,
        text: "The first message of a category outside an open conversation of that category pays for 24 \
               hours of it; the others are free. Free inside the 72-hour free entry point.",
    },
    Rule {
        from: FREE_SERVICE_FROM,
        regime: Regime::Conversations,
        free_service: true,
        text: "As before, and service conversations are free.",
    },
    Rule {
        from: MESSAGES_FROM,
        regime: Regime::Messages,
        free_service: true,
        text: "Each delivered marketing or authentication message is charged, and utility outside the \
               customer-service window. Service messages are free. All are free inside the 72-hour free \
               entry point.",
    },
    Rule {
        from: REPLIES_FROM,
        regime: Regime::Replies,
        free_service: false,
        text: "As before, and service messages cost the market's utility rate after the first 1,000 of a \
               phone number in a month; utility inside the customer-service window is charged, too.",
    },
];

/// Returns the rule of a moment.
pub fn rule_at(now: Moment) -> &'static Rule {
    let next = RULES.partition_point(|rule| rule.from <= now);
    &RULES[next.saturating_sub(1)]
}

/// Returns the rule that a channel names by what it bills: at that moment, or the nearest of its kind.
pub(super) fn rule_of(conversation: bool, now: Moment) -> &'static Rule {
    let conversations = |rule: &Rule| rule.regime == Regime::Conversations;
    let fits = |rule: &Rule| match conversation {
        true => conversations(rule),
        false => matches!(rule.regime, Regime::Messages | Regime::Replies),
    };
    let here = rule_at(now);
    if fits(here) {
        return here;
    }
    // Before their time the first of its kind, after it the last.
    let mut of_kind = RULES.iter().filter(|rule| fits(rule));
    let first = of_kind.next().unwrap_or(here);
    let last = of_kind.next_back().unwrap_or(first);
    if now < first.from { first } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_to_the_last_millisecond_before_the_next() {
        assert!(RULES.is_sorted_by(|one, next| one.from < next.from));
        for pair in RULES.windows(2) {
            assert_eq!(*rule_at(pair[1].from.plus_ms(-1)), pair[0]);
            assert_eq!(*rule_at(pair[1].from), pair[1]);
        }
        assert_eq!(*rule_at(Moment(0)), RULES[0]);
        assert_eq!(*rule_at(Moment(i64::MAX)), RULES[4]);
        // 2025-07-01 and 2026-10-01, in milliseconds.
        assert_eq!((MESSAGES_FROM.0, REPLIES_FROM.0), (1_751_328_000_000, 1_790_812_800_000));
        assert!(Regime::ALL.iter().all(|one| RULES.iter().any(|rule| rule.regime == *one)));
    }

    #[test]
    fn a_channel_that_names_another_kind_gets_the_nearest_of_it() {
        let from = |conversation, now| rule_of(conversation, now).from;
        assert_eq!(from(true, REPLIES_FROM), FREE_SERVICE_FROM);
        assert_eq!(from(true, Moment(0)), CONVERSATIONS_FROM);
        assert_eq!(from(false, CONVERSATIONS_FROM), MESSAGES_FROM);
        assert_eq!(from(false, REPLIES_FROM), REPLIES_FROM);
        assert_eq!(from(true, FREE_SERVICE_FROM.plus_ms(-1)), CONVERSATIONS_FROM);
    }
}
