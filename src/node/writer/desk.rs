//! What comes in of conversations: looked up under the name that each goes on by, then judged.

use crate::decide::chats::moved::{self, Names};
use crate::decide::chats::{FoundTap, may_come_from_ad};
use crate::decide::{Decided, chats, sources};
use crate::node::live::Live;
use crate::node::writer::Writer;
use crate::state::catalog::Catalog;
use crate::types::request::{Chat, Claim, Opening, Receipt};
use crate::types::time::Moment;

impl Writer {
    /// Judges an opening.
    pub(super) fn opened(
        &self,
        catalog: &Catalog,
        named: Chat,
        opening: Opening,
        now: Moment,
    ) -> Decided {
        let chat = Chat { id: self.live.conversation_named(named.id), ..named };
        let opening = sources::resolved(catalog, chat.endpoint, opening);
        let found = self.found(&chat, &opening, now);
        let decided = {
            let cell = self.live.cell(chat.id);
            let known = cell.facts.chats.get(&chat.id);
            let decided = chats::opened(catalog, known, &chat, &opening, found, now);
            chats::in_turn(decided, known.map_or(0, |known| cell.facts.waiting(known)))
        };
        self.renew(named.id, chat.id, decided, now)
    }

    /// Judges a message's receipt.
    pub(super) fn message(
        &self,
        catalog: &Catalog,
        named: Chat,
        receipt: &Receipt,
        now: Moment,
    ) -> Decided {
        let chat = Chat { id: self.live.conversation_named(named.id), ..named };
        let decided = {
            let cell = self.live.cell(chat.id);
            let known = cell.facts.chats.get(&chat.id);
            let desks = self.live.desks(chat.endpoint);
            let desk = desks.desks.get(&chat.endpoint);
            chats::message(catalog, known, desk, &chat, receipt, now)
        };
        self.renew(named.id, chat.id, decided, now)
    }

    /// Judges that a person goes on under another name.
    pub(super) fn moved(&self, catalog: &Catalog, chat: &Chat, from: u64, now: Moment) -> Decided {
        let earlier = self.live.conversation_named(from);
        let earlier_exists = self.live.cell(earlier).facts.chats.contains_key(&earlier);
        let names = {
            let cell = self.live.cell(chat.id);
            Names {
                earlier,
                earlier_exists,
                alias: cell.facts.aliases.get(&chat.id).copied(),
                has_its_own: cell.facts.chats.contains_key(&chat.id),
                aliases: cell.facts.aliases.len(),
            }
        };
        moved::moved(catalog, chat, &names, now)
    }

    /// Tells again, beside what is counted under another name, that it is one, before it would be forgotten.
    fn renew(&self, named: u64, chat: u64, decided: Decided, now: Moment) -> Decided {
        match decided {
            Decided::Facts(mut facts) if named != chat => {
                let alias = self.live.cell(named).facts.aliases.get(&named).copied();
                facts.extend(alias.and_then(|alias| moved::renewed(named, alias, now)));
                Decided::Facts(facts)
            }
            decided => decided,
        }
    }

    /// Returns the tap that an opening is taken to come from, where it names no click.
    fn found(&self, chat: &Chat, opening: &Opening, now: Moment) -> Option<FoundTap> {
        let event_ms = chat.at.unwrap_or(now).0;
        match opening.claim {
            Some(Claim::Ad(ad)) => self.taps.newest(chat.endpoint, ad, event_ms),
            // Who it was says more than what lies near.
            None if opening.viewer == 0 && may_come_from_ad(opening) => {
                self.taps.only(chat.endpoint, chat.country, event_ms)
            }
            Some(Claim::Click(_) | Claim::Code(_) | Claim::Source(_)) | None => None,
        }
    }
}

impl Live {
    /// Returns the conversation that goes on under a name: mostly the one that the name makes.
    pub(in crate::node) fn conversation_named(&self, id: u64) -> u64 {
        self.cell(id).facts.aliases.get(&id).map_or(id, |alias| alias.same_as)
    }
}
