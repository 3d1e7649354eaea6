//! Chat platforms and CRMs: openings, messages and sales, right and wrong.

use munadi::channels::{Channel, FoundClick, find_click};
use munadi::tokens::{contact_number, conversation_id};
use munadi::types::proto::v1::{Direction, EntryPoint, MessageCategory, Money};
use munadi::types::request::{Chat, Claim, Conversion, Incoming, Opening, Origin, Receipt};
use munadi::types::time::Moment;
use munadi::types::token::PrefillCode;

use crate::audit::{Finding, Key};
use crate::traffic::{DAY, HOUR, Task, reason_of};
use crate::world::{Sent, World};

impl World {
    pub(crate) fn open_chat(&mut self, view: u64, contact: u64, at_ms: Option<i64>) -> Finding {
        let kept = self.town.kept[&view].clone();
        let endpoint = self.ledger.rows.ads.get(&kept.ad).and_then(|ad| ad.destination.clone());
        let Some(mut endpoint) = endpoint.map(|chat| chat.endpoint_id) else { return Ok(()) };
        if self.luck.chance(30) {
            let all: Vec<_> = self.ledger.rows.endpoints.keys().copied().collect();
            endpoint = *self.luck.pick(&all);
        }
        let row = self.ledger.rows.endpoints[&endpoint].clone();
        let account = self.ledger.rows.account_of_endpoint(endpoint).unwrap_or_default();
        let proof = match self.claim(view, row.channel, &kept.link) {
            Ok(proof) => proof,
            Err(None) => return Ok(()),
            Err(Some(what)) => return Err(what.to_owned()),
        };
        let owner = self.ledger.rows.tenants.get(&account).copied().unwrap_or_default();
        let tenant = match self.luck.below(40) {
            0 => owner + 1,
            1..20 => 0,
            _ => owner,
        };
        let hashed = contact_number(&self.ring.contact, endpoint, &format!("contact {contact}"));
        let id = conversation_id(row.business_id, endpoint, hashed);
        let business = row.business_id;
        let chat = Chat {
            tenant,
            business,
            endpoint,
            id,
            at: at_ms.map(Moment),
            country: u16::from_be_bytes(self.ledger.handed[&view].token.country),
            independent: !id.is_multiple_of(4),
        };
        let (view_claim, code) = match proof {
            Some(Claim::Click(token)) => (token.view, 0),
            Some(Claim::Code(code)) => (0, code.number()),
            Some(Claim::Ad(id) | Claim::Source(id)) => (0, id),
            None => (0, 0),
        };
        let entry_point = match proof {
            Some(Claim::Source(_)) => EntryPoint::QrCode,
            Some(_) => EntryPoint::Ad,
            None => EntryPoint::Organic,
        };
        let mut opening = Opening::by_message(entry_point, proof);
        if matches!(proof, Some(Claim::Ad(_) | Claim::Source(_))) {
            // One click of each, whenever it is told.
            opening.channel_click_id = "ctwa".to_owned();
            opening.free_entry = true;
        }
        let item = Incoming::Opened { chat, opening };
        self.send(Sent::Items(vec![(Key::Opened(id, view_claim, code), item)]));
        self.town.chats.push(chat);
        let chat = Chat { at: None, tenant: 0, ..chat };
        let chat = if self.luck.chance(80) { self.rename(chat, contact) } else { chat };
        self.plan_talk(chat, proof);
        Ok(())
    }

    /// Lets the person go on under another name, told before or after the opening is durable.
    fn rename(&mut self, chat: Chat, contact: u64) -> Chat {
        let name = format!("contact {contact}, moved");
        let hashed = contact_number(&self.ring.contact, chat.endpoint, &name);
        let moved = Chat { id: conversation_id(chat.business, chat.endpoint, hashed), ..chat };
        self.town.names.insert(moved.id, chat.id);
        let item = Incoming::Moved { chat: moved, from: chat.id };
        self.send(Sent::Items(vec![(Key::Moved(moved.id), item)]));
        moved
    }

    /// Returns what a chat platform hears of the click; an error without a text: it is refused at the door.
    fn claim(
        &mut self,
        view: u64,
        channel: i32,
        link: &str,
    ) -> Result<Option<Claim>, Option<&'static str>> {
        let now_s = self.clock().seconds();
        let channel = Channel::from_number(channel as u8).ok_or(Some("a channel"))?;
        let found = find_click(channel, link);
        Ok(match (self.luck.below(40), found) {
            (0, _) => PrefillCode::from_number(self.luck.below(1 << 50)).map(Claim::Code),
            (1 | 4 | 5, _) => None,
            (6..9, _) => Some(Claim::Ad(self.ledger.handed[&view].token.ad)),
            (9, _) => Some(Claim::Source(77)),
            (2, _) => {
                // Another ad's link, altered.
                let refused = self.front().sealer().open_click_text(&"A".repeat(64), now_s);
                let refusal = refused.err().ok_or(Some("a made-up click token opens"))?;
                self.coverage.note("refusal", reason_of(refusal).name());
                return Err(None);
            }
            (3, _) => Some(Claim::Code(munadi::tokens::prefill_code(
                &self.ring.code,
                view,
                self.ledger.handed[&view].token.viewer,
            ))),
            (_, Some(FoundClick::Code(code))) => Some(Claim::Code(code)),
            (_, Some(FoundClick::Token(text))) => {
                match self.front().sealer().open_click_text(text, now_s) {
                    Ok(token) => Some(Claim::Click(token)),
                    Err(refusal) => {
                        self.coverage.note("refusal", reason_of(refusal).name());
                        return Err(None);
                    }
                }
            }
            (_, None) => None,
        })
    }

    fn plan_talk(&mut self, chat: Chat, proof: Option<Claim>) {
        for _ in 0..self.luck.below(4) {
            let (message, after_ms) = (self.luck.roll(), self.luck.between(500, 3 * HOUR));
            let sides = [Direction::Inbound, Direction::Outbound];
            let direction = *self.luck.pick(&sides);
            let chat = if self.luck.chance(20) { Chat { id: chat.id ^ 1, ..chat } } else { chat };
            self.schedule(after_ms, Task::Message { chat, message, direction });
            if self.luck.chance(100) {
                self.schedule(after_ms + 9_000, Task::Message { chat, message, direction });
            }
        }
        if !self.luck.chance(400) {
            return;
        }
        let by_chat = Origin::Conversation { endpoint: chat.endpoint, id: chat.id };
        let origin = match proof {
            Some(Claim::Click(token)) if self.luck.chance(500) => Origin::Click(token),
            _ => by_chat,
        };
        self.town.sales += 1;
        let (id, worth) = (self.town.sales, self.luck.between(0, 9_000_000));
        let after_ms = match self.luck.below(20) {
            0 => 9 * DAY,
            _ => self.luck.between(1_000, 20 * HOUR),
        };
        let at_ms = match self.luck.below(40) {
            0 => Some(self.now_ms - 70 * DAY),
            1..8 => Some(self.now_ms - self.luck.between(0, 3 * DAY)),
            8..20 => Some(self.now_ms - self.behind_ms + after_ms),
            _ => None,
        };
        let tenant = if self.luck.chance(20) { 99 } else { 0 };
        self.schedule(after_ms, Task::Convert { origin, tenant, id, worth, at_ms });
        if self.luck.chance(150) {
            let again = Task::Convert { origin: by_chat, tenant: 0, id, worth, at_ms: None };
            self.schedule(after_ms + HOUR, again);
        }
        if self.luck.chance(80) {
            let other = Task::Convert { origin, tenant: 0, id, worth: worth + 1, at_ms: None };
            self.schedule(after_ms + HOUR, other);
        }
    }

    pub(crate) fn message(&mut self, chat: Chat, message: u64, direction: Direction) {
        let category = MessageCategory::Service;
        let item =
            Incoming::Message { chat, receipt: Receipt::delivered(message, direction, category) };
        let id = self.town.names.get(&chat.id).copied().unwrap_or(chat.id);
        self.send(Sent::Items(vec![(Key::Message(id, message), item)]));
    }

    pub(crate) fn convert(
        &mut self,
        origin: Origin,
        tenant: u32,
        id: u64,
        worth: i64,
        at_ms: Option<i64>,
    ) {
        let rows = &self.ledger.rows;
        let account = match origin {
            Origin::Click(token) => {
                let ad = rows.ads.get(&token.ad);
                ad.and_then(|ad| rows.above(ad.ad_set_id)).map(|(_, _, account)| account.id)
            }
            Origin::Conversation { endpoint, .. } => rows.account_of_endpoint(endpoint),
            Origin::Viewer { account } => Some(account),
        };
        let account = account.unwrap_or_default();
        let currency = if id.is_multiple_of(7) {
            "EUR".to_owned()
        } else {
            rows.accounts.get(&account).map(|row| row.currency.clone()).unwrap_or_default()
        };
        let event_id = format!("sale {id}");
        let value = (worth > 0).then_some(Money { micros: worth, currency });
        let key = Key::Converted(account, event_id.clone());
        let (name, at) = ("Purchase".to_owned(), at_ms.map(Moment));
        let viewer = 0;
        let conversion = Conversion { tenant, event_id, name, value, at, origin, viewer };
        self.send(Sent::Items(vec![(key, Incoming::Converted(Box::new(conversion)))]));
    }
}
