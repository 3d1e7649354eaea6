//! Tests: prices of random months against a naive twin that looks at everything that ever happened.

use crate::decide::tariff::months::{BUSINESS, Desk, card};
use crate::decide::tariff::{Standing, next_messages};
use crate::state::tariffs::{CONVERSATION_MS, list_cards, market_key};
use crate::types::hash::mix;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{MessagePriced, VolumeTierPut};
use crate::types::proto::v1::{
    Channel, ChannelPricing, MessageCategory, PriceReason, PricingModel, RateCard,
};
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Months of one run.
const CASES: u64 = 3_000;

/// Names the one case to run.
const ONE_CASE: &str = "TARIFF_CASE";

struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = mix(self.0.wrapping_add(0x9E37_79B9_7F4A_7C15));
        self.0 % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const CATEGORIES: [MessageCategory; 6] = [
    MessageCategory::Marketing,
    MessageCategory::Utility,
    MessageCategory::Authentication,
    MessageCategory::Service,
    MessageCategory::AuthenticationInternational,
    MessageCategory::ReferralConversion,
];

/// Everything that ever happened, in order of time.
#[derive(Default)]
struct History {
    wrote: Vec<i64>,
    referred: Vec<i64>,
    sent: Vec<MessagePriced>,
    /// Free messages that others took, by month.
    taken: Vec<(u32, u64)>,
    tiers: Vec<VolumeTierPut>,
}

/// The dates of the rules, written out again: milliseconds.
const CONVERSATIONS: i64 = 1_643_673_600_000;
const SERVICE_FREE: i64 = 1_730_419_200_000;
const MESSAGES: i64 = 1_751_328_000_000;
const REPLIES: i64 = 1_790_812_800_000;

impl History {
    /// Returns reason, category, amount and free month of a message, by looking at all of them.
    fn price(
        &self,
        cards: [&[RateCard]; 2],
        country: &str,
        at: i64,
        sent_as: MessageCategory,
        word: Option<&ChannelPricing>,
    ) -> (PriceReason, MessageCategory, i64, u32) {
        let told = word.map_or(MessageCategory::Unspecified, ChannelPricing::category);
        let unspecified = told == MessageCategory::Unspecified;
        let category = if unspecified { sent_as } else { told };
        // The era is that of the day, but for a channel that bills otherwise.
        let mut era = [CONVERSATIONS, SERVICE_FREE, MESSAGES, REPLIES]
            .iter()
            .filter(|from| **from <= at)
            .count();
        match word.map_or(PricingModel::Unspecified, ChannelPricing::model) {
            PricingModel::Conversation => era = era.clamp(1, 2),
            PricingModel::Message => era = era.max(3),
            PricingModel::Unspecified => {}
        }
        let ours = self.judge(era, category, at);
        let reason = match word {
            None => ours,
            Some(word) => self.heed(era, category, at, word, ours),
        };
        let month = months(at);
        let (mut reason, mut amount) = (reason, 0);
        if reason == PriceReason::Regular {
            match self.card(cards, country, era, category, at) {
                Some(micros) => amount = micros,
                None => reason = PriceReason::Unpriced,
            }
        }
        let free = reason == PriceReason::FreeAllowance;
        (reason, category, amount, if free { month } else { 0 })
    }

    fn judge(&self, era: usize, category: MessageCategory, at: i64) -> PriceReason {
        let service = category == MessageCategory::Service;
        let in_window = self.wrote.iter().any(|ms| *ms <= at && at < ms + 24 * HOUR_MS);
        if era == 0 {
            return if in_window { PriceReason::FreeCustomerService } else { PriceReason::Regular };
        }
        if self.in_free_entry(at) || category == MessageCategory::ReferralConversion {
            return PriceReason::FreeEntryPoint;
        }
        if service && (era == 2 || era == 3) {
            return PriceReason::FreeCustomerService;
        }
        if era <= 2 {
            let open = self.is_paid(category, at);
            return if open { PriceReason::ConversationOpen } else { PriceReason::Regular };
        }
        if era == 3 && category == MessageCategory::Utility && in_window {
            return PriceReason::FreeCustomerService;
        }
        if era == 4 && service {
            let month = months(at);
            let here = self.sent.iter().filter(|sent| sent.free_month == month).count() as u64;
            let others = self.taken.iter().filter(|(known, _)| *known == month);
            if here + others.map(|(_, count)| count).sum::<u64>() < 1_000 {
                return PriceReason::FreeAllowance;
            }
        }
        PriceReason::Regular
    }

    fn heed(
        &self,
        era: usize,
        category: MessageCategory,
        at: i64,
        word: &ChannelPricing,
        ours: PriceReason,
    ) -> PriceReason {
        let (entry, window) = (PriceReason::FreeEntryPoint, PriceReason::FreeCustomerService);
        let told = word.reason();
        if told == entry {
            return entry;
        }
        let charged = told == PriceReason::Regular || told != window && word.billable;
        if charged {
            let open = (1..=2).contains(&era) && self.is_paid(category, at);
            return if open { PriceReason::ConversationOpen } else { PriceReason::Regular };
        }
        match (ours, told == window) {
            (PriceReason::FreeEntryPoint | PriceReason::Regular, true) => window,
            (PriceReason::Regular, false) => PriceReason::NoCharge,
            (ours, _) => ours,
        }
    }

    /// Each referral is answered by the first message of the business behind it, if within a day.
    fn in_free_entry(&self, at: i64) -> bool {
        let replies = || self.sent.iter().map(|sent| sent.event_ms).chain([at]);
        self.referred.iter().any(|referred| {
            let first = replies().filter(|reply| reply >= referred).min();
            first.is_some_and(|first| {
                first < referred + 24 * HOUR_MS && first <= at && at < first + 72 * HOUR_MS
            })
        })
    }

    fn is_paid(&self, category: MessageCategory, at: i64) -> bool {
        self.sent.iter().any(|sent| {
            let charged = matches!(sent.reason(), PriceReason::Regular | PriceReason::Unpriced);
            let open = sent.event_ms <= at && at < sent.event_ms + CONVERSATION_MS;
            charged && sent.category() == category && open
        })
    }

    fn card(
        &self,
        cards: [&[RateCard]; 2],
        country: &str,
        era: usize,
        category: MessageCategory,
        at: i64,
    ) -> Option<i64> {
        let mut tried = vec![category];
        if era == 0 || era == 4 && category == MessageCategory::Service {
            tried.push(MessageCategory::Utility);
        }
        let tried = tried.into_iter().flat_map(|category| cards.map(|cards| (category, cards)));
        tried.into_iter().find_map(|(category, cards)| {
            let fits = |card: &&RateCard| {
                card.category() == category
                    && card.countries.iter().any(|one| one == country)
                    && ms(card) <= at
            };
            let latest = cards.iter().filter(fits).map(ms).max()?;
            let market = cards.iter().find(fits).map(|card| market_key(&card.market))?;
            let tier = self.tiers.iter().filter(|tier| {
                tier.month == months(at)
                    && tier.category() == category
                    && market_key(&tier.market) == market
            });
            let volume = tier.map(|tier| tier.from).max().unwrap_or(1);
            let steps = cards.iter().filter(fits).filter(|card| ms(card) == latest);
            let mut step = steps.filter(|card| {
                card.from_messages <= volume
                    && (card.to_messages == 0 || volume <= card.to_messages)
            });
            step.next().and_then(|card| card.price.as_ref()).map(|price| price.micros)
        })
    }
}

fn ms(card: &RateCard) -> i64 {
    card.valid_from.as_ref().map_or(0, |time| time.seconds * 1_000)
}

/// Months since 1970-01, by the calendar of another library.
fn months(at: i64) -> u32 {
    let date =
        jiff::Timestamp::from_millisecond(at).unwrap().to_zoned_datetime(jiff::tz::TimeZone::UTC);
    ((i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1) as u32
}

/// Returns cards of some categories of one market, with dates and steps about the month.
fn cards(luck: &mut Luck, country: &'static str, start: i64) -> Vec<RateCard> {
    let mut cards = Vec::new();
    // What a referral opens is always free: it has no card.
    for category in CATEGORIES.into_iter().take(5) {
        for _ in 0..luck.below(3) {
            let at = Moment((start + luck.below(40) as i64 * DAY_MS) / 1_000 * 1_000);
            let micros = luck.below(100_000) as i64;
            let whole = card(country, category, micros, at);
            if cards.iter().any(|other: &RateCard| {
                (other.category, &other.valid_from) == (whole.category, &whole.valid_from)
            }) {
                continue;
            }
            match luck.below(2) {
                0 => cards.push(whole),
                _ => {
                    let to_messages = 1 + luck.below(1_000);
                    let from_messages = to_messages + 1;
                    cards.push(RateCard { from_messages, ..whole.clone() });
                    cards.push(RateCard { to_messages, ..card(country, category, micros / 2, at) });
                }
            }
        }
    }
    cards
}

fn word(luck: &mut Luck) -> Option<ChannelPricing> {
    (luck.below(4) == 0).then(|| ChannelPricing {
        billable: luck.below(2) == 0,
        model: luck.below(3) as i32,
        reason: luck.below(4) as i32,
        category: luck.below(7) as i32,
    })
}

/// Compares what the next message costs with the twin: now, just before that changes, and then.
fn foresee(
    case: u64,
    luck: &mut Luck,
    desk: &Desk,
    history: &History,
    (cards, country): ([&[RateCard]; 2], &str),
    now: i64,
) {
    let bill = desk.bill();
    let standing = Standing {
        channel: Channel::Whatsapp,
        business: BUSINESS,
        country: desk.country,
        windows: &desk.windows,
        bill: &bill,
        free_used: desk.free_used(Moment(now)),
        currency: desk.currency,
    };
    for next in next_messages(&desk.catalog.tariffs, &standing, Moment(now)) {
        let at = |ms| {
            let (reason, _, amount, _) = history.price(cards, country, ms, next.category, None);
            let in_window = history.wrote.iter().any(|wrote| ms < wrote + 24 * HOUR_MS);
            (reason, amount, next.category != MessageCategory::Service || in_window)
        };
        let told = (next.reason, next.cost.map_or(0, |(micros, _)| micros), next.allowed);
        let replay = format!("replay: {ONE_CASE}={case} cargo test --lib tariff::twin");
        assert_eq!(told, at(now), "case {case}, {now} {:?}\n{replay}", next.category);
        let until = next.until.map_or(now + 40 * DAY_MS, |until| until.0);
        for ms in [until - 1, now + luck.below((until - now) as u64) as i64] {
            assert_eq!(told, at(ms), "case {case}, {now} {ms} {:?}\n{replay}", next.category);
        }
        // Where an own card takes the place of one built in, a change may be of the market alone.
        if next.until.is_some() && cards[0].is_empty() {
            assert_ne!(told, at(until), "case {case}, {now} {until} {:?}\n{replay}", next.category);
        }
    }
}

fn run(case: u64) -> Vec<PriceReason> {
    let mut luck = Luck(case);
    let country = luck.pick(&["MX", "IN", "BR", "US", "GB"]);
    let edges = [CONVERSATIONS, SERVICE_FREE, MESSAGES, REPLIES, REPLIES + 31 * DAY_MS];
    let start = luck.pick(&edges) - luck.below(30) as i64 * DAY_MS;
    let own = if luck.below(4) == 0 { Vec::new() } else { cards(&mut luck, country, start) };
    assert_eq!(super::check(&own), [], "case {case}");
    let mut desk = Desk::new(country, own.clone());
    let listed = list_cards();
    // Own cards go first; those built in hold until they begin, as their market has another name.
    let all = [&own[..], &listed[..]];
    let (mut history, mut now, mut reasons) = (History::default(), start, Vec::new());
    if luck.below(2) == 0 {
        let (month, left) = (Moment(start).month(), luck.below(4));
        desk.leave_free(Moment::of_month(month), left);
        history.taken.push((month, 1_000 - left));
    }
    let end = start + 32 * DAY_MS;
    while now < end {
        now += luck.pick(&[1, 1_000, HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS - 1, 24 * HOUR_MS]);
        // Edges of rules and months to the millisecond.
        now =
            luck.pick(&[now, now, now, now / DAY_MS * DAY_MS, now / DAY_MS * DAY_MS + DAY_MS - 1]);
        now = now.max(history.sent.last().map_or(start, |sent| sent.event_ms));
        now = now.max(history.wrote.last().copied().unwrap_or(start));
        match luck.below(8) {
            0 | 1 => {
                let from_ad = luck.below(3) == 0;
                desk.write(Moment(now), from_ad);
                history.wrote.push(now);
                history.referred.extend(from_ad.then_some(now));
            }
            2 => {
                let market = own.first().map_or("India", |card| &card.market).to_owned();
                let fact = VolumeTierPut {
                    business: BUSINESS,
                    category: luck.pick(&CATEGORIES).into(),
                    market,
                    month: months(now),
                    from: 1 + luck.below(2_000),
                    to: 0,
                };
                let stamp = desk.stamp(Moment(now));
                desk.catalog.apply(stamp, &Kind::VolumeTierPut(Box::new(fact.clone())));
                history.tiers.push(fact);
            }
            _ => {
                let (category, word) = (luck.pick(&CATEGORIES), word(&mut luck));
                let expected = history.price(all, country, now, category, word.as_ref());
                let fact = desk.send(Moment(now), category, word.as_ref());
                let got = (fact.reason(), fact.category(), fact.amount, fact.free_month);
                let told = format!("case {case}, {now} {category:?} {word:?}");
                let replay = format!("replay: {ONE_CASE}={case} cargo test --lib tariff::twin");
                assert_eq!(got, expected, "{told}\n{replay}");
                assert!(fact.amount >= 0);
                reasons.push(fact.reason());
                history.sent.push(fact);
            }
        }
        if luck.below(8) == 0 {
            foresee(case, &mut luck, &desk, &history, (all, country), now);
        }
    }
    reasons
}

#[test]
fn random_months_cost_what_their_naive_twin_says() {
    let one = std::env::var(ONE_CASE).ok().and_then(|text| text.parse().ok());
    let cases = one.map_or(0..CASES, |case| case..case + 1);
    let all: Vec<_> = cases.map(run).collect();
    if one.is_some() {
        return;
    }
    let reasons: Vec<_> = all.into_iter().flatten().collect();
    for reason in [
        PriceReason::Regular,
        PriceReason::FreeCustomerService,
        PriceReason::FreeEntryPoint,
        PriceReason::FreeAllowance,
        PriceReason::ConversationOpen,
        PriceReason::Unpriced,
        PriceReason::NoCharge,
    ] {
        let count = reasons.iter().filter(|one| **one == reason).count();
        assert!(count > 500, "{reason:?} came up {count} times only");
    }
}
