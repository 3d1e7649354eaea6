//! A person goes on under another name: a new number, or a user id in a number's place.
//!
//! The new name is made an alias of the earlier conversation. An alias never leads to an alias, since what it
//! leads to is looked up first, and a name with a conversation of its own is never made one: so one look-up is
//! enough, and there are no circles.

use crate::decide::Decided;
use crate::decide::chats::{finish, not_found, owner, young};
use crate::decide::record::event_time;
use crate::state::bucket::Alias;
use crate::state::catalog::Catalog;
use crate::state::chats::{CHAT_MEMORY_MS, MESSAGE_MEMORY_MS};
use crate::types::proto::journal::v1::ContactMoved;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Chat;
use crate::types::time::{DAY_MS, Moment};

/// Other names in one of 65,536 buckets of conversations. A further one is refused until some are forgotten.
pub const ALIASES_MAX: usize = 1_024;

/// An alias in use is told again when it is as old as this, so that it lives as long as its conversation.
pub const ALIAS_RENEWAL_MS: i64 = 30 * DAY_MS;

// A person who writes once within the memory of a conversation must not lose it.
const _: () = assert!(ALIAS_RENEWAL_MS < CHAT_MEMORY_MS);

/// What is known of both names.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The conversation that goes on under the earlier name.
    pub earlier: u64,
    /// Whether there is one.
    pub earlier_exists: bool,
    /// What the new name is an alias of.
    pub alias: Option<Alias>,
    /// Whether the new name has a conversation of its own.
    pub has_its_own: bool,
    /// Aliases in the new name's bucket.
    pub aliases: usize,
}

/// Judges that a person is called otherwise from now on.
pub fn moved(catalog: &Catalog, chat: &Chat, names: &Names, now: Moment) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        owner(catalog, chat)?;
        let event_ms = young(event_time(chat.at, now)?, MESSAGE_MEMORY_MS, now)?;
        let same_as = names.earlier;
        if same_as == chat.id || names.alias.is_some_and(|alias| alias.same_as == same_as) {
            return Ok(None);
        }
        if names.has_its_own || names.alias.is_some() {
            let message = "the new contact has a conversation already, which goes on by itself; \
                nothing was joined";
            return Err(Refusal::new(Reason::ContactTaken, "conversation.contact", message));
        }
        if !names.earlier_exists {
            let message =
                "no conversation with the earlier contact is known; nothing to go on with";
            return Err(not_found("contact_changed.previous_contact", message));
        }
        if names.aliases >= ALIASES_MAX {
            let message = "too many other names are remembered here; go on under the earlier one";
            return Err(Refusal::new(Reason::TooLarge, "contact_changed", message));
        }
        let conversation = chat.id;
        Ok(Some(vec![Kind::ContactMoved(ContactMoved { conversation, same_as, event_ms })]))
    };
    finish(judged())
}

/// Returns the fact that tells an alias again, once it is old.
pub fn renewed(conversation: u64, alias: Alias, now: Moment) -> Option<Kind> {
    let old = alias.at_ms < now.0 - ALIAS_RENEWAL_MS;
    let (same_as, event_ms) = (alias.same_as, now.0);
    old.then_some(Kind::ContactMoved(ContactMoved { conversation, same_as, event_ms }))
}
