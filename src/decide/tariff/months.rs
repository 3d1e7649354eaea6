//! Tests: months replayed under each regime, and what they cost by hand.

use crate::decide::tariff::{Asked, Delivered, priced};
use crate::state::Stamp;
use crate::state::bucket::Bucket;
use crate::state::catalog::Catalog;
use crate::state::credit::timestamp;
use crate::state::desks::DeskChunk;
use crate::state::tariffs::Bill;
use crate::state::windows::Windows;
use crate::types::ids::{Seq, Shard};
use crate::types::iso::country_code;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{MessagePriced, RateCardsPut};
use crate::types::proto::v1::MessageCategory::{Authentication, Marketing, Service, Utility};
use crate::types::proto::v1::{
    Channel, ChannelPricing, Direction, MessageCategory, Money, PriceReason, RateCard,
};
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

pub(super) const ENDPOINT: u64 = 5;
pub(super) const BUSINESS: u64 = 6;
const CHAT: u64 = 7;

/// One person, one endpoint, and everything that prices depend on.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) catalog: Catalog,
    bucket: Bucket,
    desks: DeskChunk,
    pub(super) windows: Windows,
    seq: u64,
    pub(super) country: u16,
    pub(super) currency: &'static str,
}

impl Desk {
    pub(super) fn new(country: &str, cards: Vec<RateCard>) -> Self {
        let country = country_code(country).unwrap();
        let mut desk = Self { country, currency: "USD", ..Self::default() };
        let stamp = desk.stamp(Moment(0));
        let put = RateCardsPut { cards, added: false };
        desk.catalog.apply(stamp, &Kind::RateCardsPut(Box::new(put)));
        desk
    }

    pub(super) fn stamp(&mut self, at: Moment) -> Stamp {
        self.seq += 1;
        Stamp { shard: Shard::CATALOG, seq: Seq(self.seq), at }
    }

    pub(super) fn bill(&self) -> Bill {
        self.bucket.chats.get(&CHAT).map(|chat| chat.bill.clone()).unwrap_or_default()
    }

    pub(super) fn free_used(&self, at: Moment) -> u64 {
        self.desks.desks.get(&ENDPOINT).map_or(0, |desk| desk.free_used(at.month()))
    }

    /// The person writes, and may come from an ad.
    pub(super) fn write(&mut self, at: Moment, from_ad: bool) {
        self.windows.hear(Direction::Inbound, at.0);
        if from_ad {
            self.windows.refer(at.0);
        }
    }

    /// The business's message is delivered and priced.
    pub(super) fn send(
        &mut self,
        at: Moment,
        category: MessageCategory,
        pricing: Option<&ChannelPricing>,
    ) -> MessagePriced {
        self.windows.hear(Direction::Outbound, at.0);
        let open = self.windows.at(at);
        let asked = Asked {
            channel: Channel::Whatsapp,
            business: BUSINESS,
            country: self.country,
            category,
            at,
            service_open: open.service_until.is_some(),
            free_entry_open: open.free_entry_until.is_some(),
            paid: self.bill().paid_at(at),
            free_used: self.free_used(at),
            pricing,
            currency: self.currency,
        };
        let delivered =
            Delivered { conversation: CHAT, account: 1, endpoint: ENDPOINT, message: 9, ad: 0 };
        let fact = priced(&self.catalog, &delivered, &asked);
        assert_eq!(fact, priced(&self.catalog, &delivered, &asked), "the same for the same");
        let kind = Kind::MessagePriced(Box::new(fact.clone()));
        let stamp = self.stamp(at);
        self.bucket.apply(stamp, &kind);
        if fact.free_month != 0 {
            self.desks.apply(stamp, &kind);
        }
        fact
    }

    /// Uses up the free messages of a month but so many.
    pub(super) fn leave_free(&mut self, at: Moment, left: u64) {
        for _ in left..crate::decide::tariff::FREE_SERVICE_MESSAGES {
            let (endpoint, free_month) = (ENDPOINT, at.month());
            let fact = MessagePriced { endpoint, free_month, ..MessagePriced::default() };
            let stamp = self.stamp(at);
            self.desks.apply(stamp, &Kind::MessagePriced(Box::new(fact)));
        }
    }
}

pub(super) fn card(
    country: &str,
    category: MessageCategory,
    micros: i64,
    from: Moment,
) -> RateCard {
    RateCard {
        channel: Channel::Whatsapp.into(),
        market: format!("market of {country}"),
        countries: vec![country.into()],
        category: category.into(),
        price: Some(Money { micros, currency: "USD".into() }),
        valid_from: Some(timestamp(from.0)),
        ..RateCard::default()
    }
}

/// Lives the month and returns what its twelve messages cost, micros.
///
/// Day 1: 10:00 the person comes from an ad; 11:00 a reply, which opens the free entry point until day 4,
/// 11:00; 12:00 a utility template. Day 3: 12:00 marketing. Day 4: 11:00 and 20:00 marketing. Day 10: 9:00
/// the person writes; 9:30 a reply, 10:00 utility, 10:30 a reply. Day 11: utility in the last millisecond of
/// the service window, and in the next one. Day 20: 0:00 and 0:10 authentication.
fn live(desk: &mut Desk, month: Moment) -> [i64; 12] {
    let at = |day: i64, hour: i64, minute: i64| {
        month.plus_ms((day - 1) * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS)
    };
    let mut costs = [0; 12];
    let script = [
        (at(1, 11, 0), Service),
        (at(1, 12, 0), Utility),
        (at(3, 12, 0), Marketing),
        (at(4, 11, 0), Marketing),
        (at(4, 20, 0), Marketing),
        (at(10, 9, 30), Service),
        (at(10, 10, 0), Utility),
        (at(10, 10, 30), Service),
        (at(11, 9, 0).plus_ms(-1), Utility),
        (at(11, 9, 0), Utility),
        (at(20, 0, 0), Authentication),
        (at(20, 0, 10), Authentication),
    ];
    desk.write(at(1, 10, 0), true);
    for (cost, (when, category)) in costs.iter_mut().zip(script) {
        if when == at(10, 9, 30) {
            desk.write(at(10, 9, 0), false);
        }
        *cost = desk.send(when, category, None).amount;
    }
    costs
}

const COUNTRIES: [&str; 4] = ["MX", "IN", "BR", "US"];

#[test]
fn a_month_of_late_messages() {
    // One price for every message later than 24 hours after the person's last. No list of that time is
    // built in: the operator loads its own, here 0.0200, 0.0050, 0.0300 and 0.0100.
    let totals = COUNTRIES.into_iter().zip([20_000, 5_000, 30_000, 10_000]).map(|(country, p)| {
        let mut desk = Desk::new(country, vec![card(country, Utility, p, Moment(0))]);
        let costs = live(&mut desk, Moment::of_date(2019, 3, 1));
        // Free: day 1, within 24 hours of 10:00; day 10, and day 11 to the last millisecond before 9:00.
        assert_eq!(costs, [0, 0, p, p, p, 0, 0, 0, 0, p, p, p], "{country}");
        costs.iter().sum::<i64>()
    });
    // 6 messages each: 6 x 20,000, 6 x 5,000, 6 x 30,000, 6 x 10,000.
    assert_eq!(totals.collect::<Vec<_>>(), [120_000, 30_000, 180_000, 60_000]);
}

#[test]
fn a_month_of_conversations() {
    // Marketing, utility, authentication and service conversations, as an operator may have loaded them.
    let cards = [
        [40_000, 10_000, 9_000, 8_000],
        [10_000, 4_000, 3_000, 2_000],
        [60_000, 35_000, 31_000, 30_000],
        [25_000, 15_000, 13_000, 8_000],
    ];
    let live = |month| {
        COUNTRIES.into_iter().zip(cards).map(move |(country, [m, u, a, s])| {
            let prices = [(Marketing, m), (Utility, u), (Authentication, a), (Service, s)];
            let card = |(category, micros)| card(country, category, micros, Moment(0));
            let mut desk = Desk::new(country, prices.map(card).to_vec());
            (live(&mut desk, month), [m, u, a, s])
        })
    };
    let mut totals = Vec::new();
    for (costs, [m, u, a, s]) in live(Moment::of_date(2023, 9, 1)) {
        // Days 1 to 3 lie in the free entry point. Day 4 opens marketing for a day, day 10 service at 9:30
        // and utility at 10:00, which is still open on day 11 at 9:00, day 20 authentication.
        assert_eq!(costs, [0, 0, 0, m, 0, s, u, 0, 0, 0, a, 0]);
        totals.push(costs.iter().sum::<i64>());
    }
    // 40 + 8 + 10 + 9; 10 + 2 + 4 + 3; 60 + 30 + 35 + 31; 25 + 8 + 15 + 13; thousands of micros.
    assert_eq!(totals, [67_000, 19_000, 156_000, 61_000]);
    let mut totals = Vec::new();
    for (costs, [m, u, a, _]) in live(Moment::of_date(2025, 3, 1)) {
        // Since November 2024 the service conversation is free.
        assert_eq!(costs, [0, 0, 0, m, 0, 0, u, 0, 0, 0, a, 0]);
        totals.push(costs.iter().sum::<i64>());
    }
    // 67 - 8, 19 - 2, 156 - 30, 61 - 8; thousands of micros.
    assert_eq!(totals, [59_000, 17_000, 126_000, 53_000]);
}

#[test]
fn a_month_of_messages() {
    let totals = COUNTRIES.map(|country| {
        // By the list that is built in.
        let costs = live(&mut Desk::new(country, Vec::new()), Moment::of_date(2026, 8, 1));
        let (m, u) = (costs[3], costs[9]);
        // Days 1 to 3 lie in the free entry point; both of marketing on day 4 are charged. Utility is free to
        // the last millisecond of the service window; authentication costs as much as utility.
        assert_eq!(costs, [0, 0, 0, m, m, 0, 0, 0, 0, u, u, u], "{country}");
        costs.iter().sum::<i64>()
    });
    // 2 x marketing + 3 x utility:
    // Mexico 2 x 30,500 + 3 x 8,500; India 2 x 11,800 + 3 x 1,400; Brazil 2 x 62,500 + 3 x 6,800;
    // North America 2 x 25,000 + 3 x 3,400.
    assert_eq!(totals, [86_500, 27_800, 145_400, 60_200]);
}

#[test]
fn a_month_of_replies() {
    let month = Moment::of_date(2026, 10, 1);
    let totals = |left| {
        COUNTRIES.map(|country| {
            let mut desk = Desk::new(country, Vec::new());
            desk.leave_free(month, left);
            let costs = live(&mut desk, month);
            let (m, u) = (costs[3], costs[9]);
            // The replies of day 10 are the month's next two service messages: that of day 1 is free by
            // the entry point and takes none of them.
            let (first, second) = (if left > 0 { 0 } else { u }, if left > 1 { 0 } else { u });
            assert_eq!(costs, [0, 0, 0, m, m, first, u, second, u, u, u, u], "{country} {left}");
            costs.iter().sum::<i64>()
        })
    };
    // 2 x marketing + 5 x utility: 61,000 + 42,500; 23,600 + 7,000; 125,000 + 34,000; 50,000 + 17,000.
    assert_eq!(totals(1_000), [103_500, 30_600, 159_000, 67_000]);
    assert_eq!(totals(2), [103_500, 30_600, 159_000, 67_000]);
    // The 1,000th is free, the 1,001st costs utility once more: + 8,500, 1,400, 6,800, 3,400.
    assert_eq!(totals(1), [112_000, 32_000, 165_800, 70_400]);
    assert_eq!(totals(0), [120_500, 33_400, 172_600, 73_800]);
}

#[test]
fn a_regime_ends_with_its_last_millisecond() {
    // A reply inside the service window, beside used-up allowances, at the edge of each regime.
    let reasons = |edge: Moment, category| {
        [-1, 0].map(|ms| {
            let price = |category| card("MX", category, 7, Moment(0));
            let mut desk = Desk::new("MX", [Utility, Service].map(price).to_vec());
            desk.leave_free(edge, 0);
            desk.write(edge.plus_ms(-HOUR_MS), false);
            desk.send(edge.plus_ms(ms), category, None).reason()
        })
    };
    let (free, regular) = (PriceReason::FreeCustomerService, PriceReason::Regular);
    use crate::decide::tariff::{
        CONVERSATIONS_FROM, FREE_SERVICE_FROM, MESSAGES_FROM, REPLIES_FROM,
    };
    assert_eq!(reasons(CONVERSATIONS_FROM, Utility), [free, regular]);
    assert_eq!(reasons(FREE_SERVICE_FROM, Service), [regular, free]);
    assert_eq!(reasons(MESSAGES_FROM, Utility), [regular, free]);
    assert_eq!(reasons(REPLIES_FROM, Service), [free, regular]);
    assert_eq!(reasons(REPLIES_FROM, Utility), [free, regular]);
}

#[test]
fn free_messages_are_counted_anew_with_the_month_of_utc() {
    let november = Moment::of_date(2026, 11, 1);
    let mut desk = Desk::new("BR", Vec::new());
    desk.leave_free(november.plus_ms(-1), 1);
    desk.write(november.plus_ms(-HOUR_MS), false);
    let mut send = |ms| {
        let fact = desk.send(november.plus_ms(ms), Service, None);
        (fact.reason(), fact.amount, fact.free_month)
    };
    let free = |month| (PriceReason::FreeAllowance, 0, month);
    // 2026-10 is month 56 x 12 + 9.
    assert_eq!(send(-2), free(681));
    assert_eq!(send(-1), (PriceReason::Regular, 6_800, 0));
    assert_eq!(send(0), free(682));
    assert_eq!(send(-1), (PriceReason::Regular, 6_800, 0), "a late one counts on its own month");
}
