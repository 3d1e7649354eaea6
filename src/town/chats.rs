//! What comes of a chat: the first message, answers or silence, templates, a lead, a sale. Only that a
//! message went over it is ever told, never what it says.

use crate::town::agenda::{Agenda, Deed};
use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::doors::FEED;
use crate::town::founding::Shop;
use crate::town::habits::Habits;
use crate::town::talk::{Saying, Thread, What};
use crate::town::wire::timestamp;
use crate::types::proto::v1::opened::Proof;
use crate::types::proto::v1::{self, Channel, MessageCategory, MessageStatus};
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
    /// Whether the feed knows who it is.
    pub(crate) known: bool,
}

/// How somebody comes into a chat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    pub(crate) entry_point: v1::EntryPoint,
    /// What the link that was followed gives back.
    pub(crate) proof: Option<Proof>,
    /// The channel says that its own ad led here.
    pub(crate) referred: bool,
}

/// One chat between a person and an endpoint.
pub(crate) struct Chat<'a> {
    shopper: &'a Shopper<'a>,
    thread: Thread,
    /// Makes the ids of this chat's messages and sales its own.
    number: u64,
    diligence: Diligence,
}

/// How a business answers.
struct Diligence {
    /// Chance in millionths that it answers at all.
    answers: u32,
    median_ms: i64,
}

impl<'a> Chat<'a> {
    /// Returns the chat of this person and shop, and how its business answers: a business is as quick with
    /// one person as with the next.
    pub(crate) fn new(shopper: &'a Shopper<'a>, shop: &Shop, dice: &mut Dice) -> Self {
        let letters: Vec<u64> = shopper.name.bytes().map(u64::from).collect();
        let place = [letters.as_slice(), &[shop.endpoint]].concat();
        let name = Dice::new(shopper.seed, Concern::Names, &place).number();
        let mut habit = Dice::new(shopper.seed, Concern::Businesses, &[shop.business]);
        let mut thread = Thread {
            business: shop.business,
            endpoint: shop.endpoint,
            channel: shop.channel,
            contact: format!("{}.{name:016x}", shopper.country),
            country: shopper.country.to_owned(),
            viewer: None,
        };
        if shopper.known && !thread.is_posted() {
            let (feed_id, viewer_id) = (FEED, shopper.name.to_owned());
            thread.viewer = Some(v1::ViewerRef { feed_id, viewer_id });
        }
        Self {
            shopper,
            thread,
            number: dice.number(),
            diligence: Diligence {
                answers: habit.between(450_000..=980_000) as u32,
                median_ms: habit.between(2 * MINUTE_MS..=45 * MINUTE_MS),
            },
        }
    }

    /// Returns the same chat held by somebody who got the link from this person.
    pub(crate) fn of_a_friend(mut self) -> Self {
        self.thread.contact.push('f');
        self.thread.viewer = None;
        self
    }

    /// Draws all that will come of the chat and writes it into the agenda.
    pub(crate) fn plan(
        &self,
        habits: &Habits,
        opens: Moment,
        way: &Way,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        let silently = self.thread.opens_silently() && way.proof.is_some();
        let again = dice.chance(habits.twice);
        let mut talk = Talk { chat: self, habits, said: 0, dice, agenda };
        let opened = What::Opens {
            entry_point: way.entry_point,
            proof: way.proof.clone(),
            id: (!silently).then(|| talk.id()),
            referred: way.referred,
        };
        for _ in 0..1 + u8::from(again) {
            self.tell(opened.clone(), opens, talk.agenda);
        }
        let mut wrote = opens;
        if silently {
            if talk.dice.chance(habits.silent) {
                return;
            }
            wrote = opens.plus_ms(SECOND_MS + talk.dice.skewed(15 * SECOND_MS));
            talk.write(wrote);
        }
        if talk.dice.chance(self.diligence.answers) {
            let answered = wrote.plus_ms(SECOND_MS + talk.dice.skewed(self.diligence.median_ms));
            talk.go_on(answered, way.proof.as_ref());
        }
    }

    /// Draws what comes of a template that the business sends on its own.
    pub(crate) fn plan_mail(
        &self,
        habits: &Habits,
        sent: Moment,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        let categories =
            [MessageCategory::Marketing, MessageCategory::Utility, MessageCategory::Authentication];
        let category = categories[dice.weighted(&[50, 35, 15])];
        let mut talk = Talk { chat: self, habits, said: 0, dice, agenda };
        talk.answer(sent, category, true);
        if talk.dice.chance(CERTAIN / 10) {
            let wrote = sent.plus_ms(talk.dice.skewed(20 * MINUTE_MS));
            talk.write(wrote);
            let answered = wrote.plus_ms(SECOND_MS + talk.dice.skewed(self.diligence.median_ms));
            talk.answer(answered, MessageCategory::Service, false);
        }
    }

    /// The person buys without a word: only the platform knows who it was, and so only where it does.
    pub(crate) fn plan_sale(&self, account: u64, at: Moment, dice: &mut Dice, agenda: &mut Agenda) {
        let Some(viewer) = self.thread.viewer.clone() else { return };
        let sale = v1::Conversion {
            event_id: format!("s{:016x}-Purchase", self.number),
            name: "Purchase".to_owned(),
            value: Some(basket(self.shopper.currency, dice)),
            time: Some(timestamp(at)),
            viewer: Some(viewer),
            account_id: account,
            ..v1::Conversion::default()
        };
        agenda.plan(at, Deed::Sale(sale));
    }

    fn tell(&self, what: What, at: Moment, agenda: &mut Agenda) {
        agenda.plan(at, Deed::Chat(Saying { thread: self.thread.clone(), at, what }));
    }
}

/// A chat that goes on.
struct Talk<'a> {
    chat: &'a Chat<'a>,
    habits: &'a Habits,
    said: u32,
    dice: &'a mut Dice,
    agenda: &'a mut Agenda,
}

impl Talk<'_> {
    /// Everything from the first answer on.
    fn go_on(&mut self, answered: Moment, proof: Option<&Proof>) {
        let median_ms = self.chat.diligence.median_ms;
        self.answer(answered, MessageCategory::Service, false);
        let mut last = answered;
        while self.dice.chance(CERTAIN / 2) {
            last = last.plus_ms(self.dice.skewed(3 * MINUTE_MS));
            self.write(last);
            last = last.plus_ms(self.dice.skewed(median_ms));
            self.answer(last, MessageCategory::Service, false);
        }
        if self.dice.chance(self.habits.lead) {
            let at = answered.plus_ms(self.dice.skewed(30 * MINUTE_MS));
            self.convert("LeadSubmitted", None, at, proof);
        }
        if self.dice.chance(self.habits.bought) {
            let at = answered.plus_ms(self.dice.skewed(3 * HOUR_MS));
            let value = basket(self.chat.shopper.currency, self.dice);
            self.convert("Purchase", Some(value), at, proof);
            if self.dice.chance(self.habits.informed) {
                self.inform(at);
            }
        }
        if self.dice.chance(self.habits.moved) && self.chat.thread.channel() == Channel::Whatsapp {
            self.move_on(last.plus_ms(HOUR_MS));
        }
    }

    /// A code to confirm the order, the order, that it is on its way; and news, later.
    fn inform(&mut self, bought: Moment) {
        use MessageCategory::{Authentication, Marketing, Utility};
        if self.dice.chance(CERTAIN / 4) {
            self.answer(bought.plus_ms(-20 * SECOND_MS), Authentication, true);
        }
        self.answer(bought.plus_ms(30 * SECOND_MS), Utility, true);
        let sent = bought.plus_ms(self.dice.between(HOUR_MS..=6 * HOUR_MS));
        self.answer(sent, Utility, true);
        if self.dice.chance(CERTAIN / 2) {
            self.answer(sent.plus_ms(2 * HOUR_MS), Marketing, true);
        }
    }

    /// The person changes the number, and writes once more.
    fn move_on(&mut self, at: Moment) {
        let mut thread = self.chat.thread.clone();
        let from = thread.contact.clone();
        thread.contact.push('n');
        let what = What::Moves { from };
        self.agenda.plan(at, Deed::Chat(Saying { thread: thread.clone(), at, what }));
        let (at, what) = (at.plus_ms(MINUTE_MS), What::Writes { id: self.id() });
        self.agenda.plan(at, Deed::Chat(Saying { thread, at, what }));
    }

    fn id(&mut self) -> String {
        self.said += 1;
        format!("m{:016x}-{}", self.chat.number, self.said)
    }

    fn write(&mut self, at: Moment) {
        let what = What::Writes { id: self.id() };
        self.chat.tell(what, at, self.agenda);
    }

    /// The business writes: the message is sent, comes through or not, and may be read.
    fn answer(&mut self, at: Moment, category: MessageCategory, template: bool) {
        let id = self.id();
        let tell = |status, at: Moment, agenda: &mut Agenda| {
            let what = What::Answers { id: id.clone(), category, template, status };
            self.chat.tell(what, at, agenda);
        };
        tell(MessageStatus::Sent, at, self.agenda);
        if self.dice.chance(self.habits.lost) {
            return tell(MessageStatus::Failed, at.plus_ms(SECOND_MS), self.agenda);
        }
        tell(MessageStatus::Delivered, at.plus_ms(SECOND_MS), self.agenda);
        if self.dice.chance(self.habits.read) {
            let read = at.plus_ms(2 * SECOND_MS + self.dice.skewed(5 * MINUTE_MS));
            tell(MessageStatus::Read, read, self.agenda);
        }
    }

    /// Most sales are known by their conversation; a shop that kept the click sends that.
    fn convert(&mut self, name: &str, value: Option<v1::Money>, at: Moment, proof: Option<&Proof>) {
        use v1::conversion::Origin;
        let origin = match proof {
            Some(Proof::ClickToken(token)) if self.dice.chance(CERTAIN / 3) => {
                Origin::ClickToken(token.clone())
            }
            _ => Origin::Conversation(self.chat.thread.key()),
        };
        let sale = v1::Conversion {
            event_id: format!("s{:016x}-{name}", self.chat.number),
            name: name.to_owned(),
            value,
            time: Some(timestamp(at)),
            origin: Some(origin),
            viewer: self.chat.thread.viewer.clone(),
            ..v1::Conversion::default()
        };
        self.agenda.plan(at, Deed::Sale(sale.clone()));
        if self.dice.chance(CERTAIN / 20) {
            self.agenda.plan(at.plus_ms(MINUTE_MS), Deed::Sale(sale));
        }
    }
}

/// Draws what somebody buys for.
fn basket(currency: &str, dice: &mut Dice) -> v1::Money {
    let usual = BASKETS.iter().find_map(|(known, units)| (*known == currency).then_some(*units));
    let micros = usual.unwrap_or(25) * dice.between(200_000..=4_000_000);
    v1::Money { micros, currency: currency.to_owned() }
}
