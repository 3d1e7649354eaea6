//! What platforms tell of the messages of businesses: statuses in any order, twice or never, with the channel's
//! word on their price or without; and what operators load to price them by.

use munadi::types::proto::journal::v1::VolumeTierPut;
use munadi::types::proto::v1::{
    ChannelPricing, Direction, MessageCategory, MessageStatus, PriceReason, PricingModel, RateCard,
};
use munadi::types::request::{Author, Chat, Incoming, ListChange, ListMutation, Receipt};
use munadi::types::time::Moment;

use crate::audit::Key;
use crate::costs::{Word, month_of};
use crate::shop::money;
use crate::traffic::{DAY, HOUR, Task};
use crate::world::{Sent, World};

/// Markets of which cards are loaded: as those built in are called.
const MARKETS: [(&str, &str); 4] =
    [("Mexico", "MX"), ("India", "IN"), ("Brazil", "BR"), ("North America", "US")];

const CATEGORIES: [MessageCategory; 4] = [
    MessageCategory::Marketing,
    MessageCategory::Utility,
    MessageCategory::Authentication,
    MessageCategory::Service,
];

impl World {
    /// Lets a business send a message, and plans what its platform tells of it.
    pub(crate) fn plan_statuses(&mut self, chat: Chat, message: u64, after_ms: i64) {
        let category = match self.talk.below(3) {
            0 => MessageCategory::Service,
            _ => *self.talk.pick(&CATEGORIES),
        };
        // Conversations that the channel still bills as such: one that is paid for has free messages behind it.
        let by_conversation = self.talk.chance(120);
        let category = if by_conversation { MessageCategory::Marketing } else { category };
        let said = by_conversation || self.talk.chance(300);
        let pricing = said.then(|| self.random_pricing(by_conversation));
        // Few people of a country without a card, and some of which the receipt says nothing.
        let country = match self.talk.below(20) {
            0 => u16::from_be_bytes(*b"GB"),
            1..5 => 0,
            _ => chat.country,
        };
        let chat = Chat { country, ..chat };
        let word = Word { category, pricing, country };
        // A template would begin a conversation under the new name where the old one is not known yet.
        let renamed = self.town.names.contains_key(&chat.id);
        let template = category != MessageCategory::Service && !renamed;
        let receipt = Receipt {
            template,
            pricing,
            ..Receipt::delivered(message, Direction::Outbound, category)
        };
        self.ledger.costs.words.insert(message, word);
        for (status, per_mille) in [
            (MessageStatus::Sent, 600),
            (MessageStatus::Delivered, 850),
            (MessageStatus::Read, 500),
            (MessageStatus::Failed, 60),
        ] {
            if !self.talk.chance(per_mille) {
                continue;
            }
            // They overtake each other, and some come a day late.
            let late = *self.talk.pick(&[0, 0, 0, 0, 2 * HOUR, DAY, 2 * DAY]);
            let happens_ms = after_ms + self.talk.between(0, 20_000);
            let at = Moment(self.now_ms - self.behind_ms + happens_ms);
            let chat = Chat { at: self.talk.chance(500).then_some(at), ..chat };
            let (after_ms, receipt) = (happens_ms + late, Receipt { status, ..receipt });
            for _ in 0..1 + u64::from(self.talk.chance(100)) {
                let receipt = Box::new(receipt);
                self.schedule(after_ms, Task::Status { chat, receipt });
            }
        }
    }

    /// Returns a channel's word: that a conversation is billed, or anything.
    fn random_pricing(&mut self, by_conversation: bool) -> ChannelPricing {
        if by_conversation {
            let model = PricingModel::Conversation.into();
            return ChannelPricing { billable: true, model, ..ChannelPricing::default() };
        }
        let reasons = [
            PriceReason::Unspecified,
            PriceReason::Unspecified,
            PriceReason::Regular,
            PriceReason::FreeCustomerService,
            PriceReason::FreeEntryPoint,
        ];
        let models = [
            PricingModel::Unspecified,
            PricingModel::Message,
            PricingModel::Conversation,
            PricingModel::Conversation,
        ];
        let other = *self.talk.pick(&CATEGORIES);
        ChannelPricing {
            billable: self.talk.chance(600),
            model: (*self.talk.pick(&models)).into(),
            reason: (*self.talk.pick(&reasons)).into(),
            category: if self.talk.chance(200) { other.into() } else { 0 },
        }
    }

    pub(crate) fn tell_status(&mut self, chat: Chat, receipt: Receipt) {
        self.coverage.note("receipt", receipt.status.as_str_name());
        let id = self.town.names.get(&chat.id).copied().unwrap_or(chat.id);
        let key = Key::Message(id, receipt.message);
        self.send(Sent::Items(vec![(key, Incoming::Message { chat, receipt })]));
    }

    /// Loads other rate cards, dated around now and some with steps, or takes all away.
    pub(crate) fn change_cards(&mut self) {
        let after_ms = self.gap(4 * HOUR, DAY);
        self.schedule(after_ms, Task::Cards);
        let currency = *self.talk.pick(&["USD", "MXN", "INR", "BRL"]);
        let mut cards = Vec::new();
        for (market, country) in MARKETS {
            for category in CATEGORIES {
                if !self.talk.chance(700) {
                    continue;
                }
                for begins in 0..1 + i64::from(self.talk.chance(500)) {
                    // Cards begin at whole seconds, some in the middle of the run.
                    let ms = self.now_ms - 3 * DAY + begins * self.talk.between(2 * DAY, 5 * DAY);
                    let card = |micros, from_messages, to_messages| RateCard {
                        channel: 1,
                        market: market.into(),
                        countries: vec![country.into()],
                        category: category.into(),
                        price: money(micros, currency),
                        valid_from: Some(prost_types::Timestamp { seconds: ms / 1_000, nanos: 0 }),
                        from_messages,
                        to_messages,
                        ..RateCard::default()
                    };
                    let micros = self.talk.between(1_000, 900_000);
                    if self.talk.chance(500) {
                        let last = 50 + self.talk.below(100);
                        cards.push(card(micros, 1, last));
                        cards.push(card(micros / 2, last + 1, 0));
                    } else {
                        cards.push(card(micros, 0, 0));
                    }
                }
            }
        }
        if self.talk.chance(150) {
            cards.clear();
        }
        self.list("cards", ListChange::RateCards(cards));
    }

    /// Tells of a volume step that a business has reached; they rise, and may come late.
    pub(crate) fn reach_step(&mut self) {
        let after_ms = self.gap(2 * HOUR, 5 * HOUR);
        self.schedule(after_ms, Task::Step);
        let businesses: Vec<_> = self.ledger.rows.businesses.keys().copied().collect();
        let tier = VolumeTierPut {
            business: *self.talk.pick(&businesses),
            category: (*self.talk.pick(&CATEGORIES)).into(),
            market: self.talk.pick(&MARKETS).0.to_uppercase(),
            month: month_of(self.now_ms),
            from: 51 + self.talk.below(200),
            to: 0,
        };
        self.list("tier", ListChange::VolumeTier(tier));
    }

    fn list(&mut self, what: &str, change: ListChange) {
        self.town.writes += 1;
        let request_id = format!("{what} {}", self.town.writes);
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&blake3::hash(request_id.as_bytes()).as_bytes()[..16]);
        let mutation =
            ListMutation { tenant: 1, request_id, body_hash, by: Author::default(), change };
        self.send(Sent::Lists(Box::new(mutation)));
    }
}
