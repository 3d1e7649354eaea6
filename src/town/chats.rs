//! What comes of a chat: the first message, answers or silence, a lead, a sale. Only that a message
//! went over it is ever told, never what it says.

use crate::town::agenda::{Agenda, Deed};
use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::habits::Habits;
use crate::town::wire::timestamp;
use crate::types::proto::v1::conversation_event::Event;
use crate::types::proto::v1::opened::Proof;
use crate::types::proto::v1::{self, Direction, MessageCategory};
use crate::types::time::{HOUR_MS, MINUTE_MS, Moment, SECOND_MS};

/// What a usual sale is worth, by currency: whole units.
const BASKETS: [(&str, i64); 4] = [("MXN", 350), ("INR", 900), ("BRL", 90), ("USD", 25)];

/// Somebody who may write to a business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shopper<'a> {
    /// The town's seed.
    pub(crate) seed: u64,
    /// The viewer's pseudonym; only a hash of it and the endpoint leaves the town.
    pub(crate) name: &'a str,
    /// Where from.
    pub(crate) country: &'a str,
    /// What the business counts in.
    pub(crate) currency: &'a str,
}

/// One chat between a person and an endpoint.
pub(crate) struct Chat<'a> {
    shopper: &'a Shopper<'a>,
    business: u64,
    key: v1::ConversationKey,
    /// Makes the ids of this chat's messages and sales its own.
    thread: u64,
    diligence: Diligence,
}

/// How a business answers.
struct Diligence {
    /// Chance in millionths that it answers at all.
    answers: u32,
    median_ms: i64,
}

impl<'a> Chat<'a> {
    /// Returns the chat of this person and endpoint, and how its business answers: a business is as
    /// quick with one person as with the next.
    pub(crate) fn new(
        shopper: &'a Shopper<'a>,
        business: u64,
        endpoint: u64,
        dice: &mut Dice,
    ) -> Self {
        let letters: Vec<u64> = shopper.name.bytes().map(u64::from).collect();
        let place = [letters.as_slice(), &[endpoint]].concat();
        let name = Dice::new(shopper.seed, Concern::Names, &place).number();
        let mut habit = Dice::new(shopper.seed, Concern::Businesses, &[business]);
        Self {
            shopper,
            business,
            key: v1::ConversationKey { endpoint_id: endpoint, contact: format!("c{name:016x}") },
            thread: dice.number(),
            diligence: Diligence {
                answers: habit.between(450_000..=980_000) as u32,
                median_ms: habit.between(2 * MINUTE_MS..=45 * MINUTE_MS),
            },
        }
    }

    /// Returns the same chat held by somebody who got the link from this person.
    pub(crate) fn of_a_friend(mut self) -> Self {
        self.key.contact.push('f');
        self
    }

    /// Draws all that will come of the chat and writes it into the agenda.
    pub(crate) fn plan(
        &self,
        habits: &Habits,
        opens: Moment,
        entry_point: v1::EntryPoint,
        proof: Option<Proof>,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        let opened = v1::Opened {
            entry_point: entry_point.into(),
            proof: proof.clone(),
            wrote: true,
            ..v1::Opened::default()
        };
        for again in 0..1 + i64::from(dice.chance(habits.twice)) {
            self.tell(Event::Opened(opened.clone()), opens.plus_ms(again * SECOND_MS), agenda);
        }
        let mut said = 0;
        self.say(Direction::Inbound, opens, &mut said, agenda);
        if !dice.chance(self.diligence.answers) {
            return;
        }
        let answered = opens.plus_ms(SECOND_MS + dice.skewed(self.diligence.median_ms));
        self.say(Direction::Outbound, answered, &mut said, agenda);
        let mut last = answered;
        while dice.chance(CERTAIN / 2) {
            last = last.plus_ms(dice.skewed(3 * MINUTE_MS));
            self.say(Direction::Inbound, last, &mut said, agenda);
            last = last.plus_ms(dice.skewed(self.diligence.median_ms));
            self.say(Direction::Outbound, last, &mut said, agenda);
        }
        if dice.chance(habits.lead) {
            let at = answered.plus_ms(dice.skewed(30 * MINUTE_MS));
            self.convert("LeadSubmitted", None, at, proof.as_ref(), dice, agenda);
        }
        if dice.chance(habits.bought) {
            let at = answered.plus_ms(dice.skewed(3 * HOUR_MS));
            let value = self.basket(dice);
            self.convert("Purchase", Some(value), at, proof.as_ref(), dice, agenda);
        }
    }

    fn say(&self, direction: Direction, at: Moment, said: &mut u32, agenda: &mut Agenda) {
        *said += 1;
        let receipt = v1::MessageReceipt {
            message_id: format!("m{:016x}-{said}", self.thread),
            direction: direction.into(),
            category: MessageCategory::Service.into(),
            ..v1::MessageReceipt::default()
        };
        // The first message comes just after its chat has opened.
        self.tell(Event::Message(receipt), at.plus_ms(10), agenda);
    }

    fn tell(&self, event: Event, at: Moment, agenda: &mut Agenda) {
        let event = v1::ConversationEvent {
            business_id: self.business,
            conversation: Some(self.key.clone()),
            time: Some(timestamp(at)),
            country: self.shopper.country.to_owned(),
            event: Some(event),
        };
        agenda.plan(at, Deed::Chat(event));
    }

    /// Most sales are known by their conversation; a shop that kept the click sends that.
    fn convert(
        &self,
        name: &str,
        value: Option<v1::Money>,
        at: Moment,
        proof: Option<&Proof>,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        use v1::conversion::Origin;
        let origin = match proof {
            Some(Proof::ClickToken(token)) if dice.chance(CERTAIN / 3) => {
                Origin::ClickToken(token.clone())
            }
            _ => Origin::Conversation(self.key.clone()),
        };
        let sale = v1::Conversion {
            event_id: format!("s{:016x}-{name}", self.thread),
            name: name.to_owned(),
            value,
            time: Some(timestamp(at)),
            origin: Some(origin),
        };
        agenda.plan(at, Deed::Sale(sale.clone()));
        if dice.chance(CERTAIN / 20) {
            agenda.plan(at.plus_ms(MINUTE_MS), Deed::Sale(sale));
        }
    }

    fn basket(&self, dice: &mut Dice) -> v1::Money {
        let usual = BASKETS
            .iter()
            .find_map(|(currency, units)| (*currency == self.shopper.currency).then_some(*units));
        let micros = usual.unwrap_or(25) * dice.between(200_000..=4_000_000);
        v1::Money { micros, currency: self.shopper.currency.to_owned() }
    }
}
