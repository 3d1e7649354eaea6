//! `munadi rates`: checks rate cards before an operator loads them, and prints those that are built in.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use config::builder::DefaultState;
use config::{ConfigBuilder, File, FileFormat};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Deserialize;

use crate::cli::{Failure, tell};
use crate::decide::tariff::{Fault, RULES, check};
use crate::rpc::limits::RATE_CARDS_MAX;
use crate::state::credit::timestamp;
use crate::state::tariffs::{list_cards, valid_from};
use crate::types::money::Micros;
use crate::types::proto::DESCRIPTORS;
use crate::types::proto::v1::{Channel, MessageCategory, Money, RateCard, SetRateCardsRequest};

/// The message that loads cards.
const REQUEST: &str = "munadi.v1.SetRateCardsRequest";

/// Decimals of a price: millionths.
const DECIMALS: usize = 6;

#[derive(Debug, Args)]
pub(super) struct RatesArguments {
    #[command(subcommand)]
    command: RatesCommand,
}

#[derive(Debug, Subcommand)]
enum RatesCommand {
    /// Check a file of rate cards: each card alone, then gaps and overlaps among them.
    ///
    /// Exit code: 0 they can be loaded. 1 they can't; each fault is printed with its card and field.
    Check(CheckArguments),
    /// Print the rules and rate cards that are built in, in the form that `check` reads.
    List,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The cards: TOML as `munadi rates list` prints it, or (`.json`) the JSON form of
    /// SetRateCardsRequest.
    file: PathBuf,
    /// Print the cards as the JSON form of SetRateCardsRequest, ready to be sent, if they can be loaded.
    #[arg(long)]
    json: bool,
}

/// What a TOML file has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    #[serde(default)]
    cards: Vec<CardLines>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardLines {
    channel: String,
    market: String,
    #[serde(default)]
    countries: Vec<String>,
    category: String,
    price: String,
    currency: String,
    valid_from: String,
    #[serde(default)]
    from_messages: u64,
    #[serde(default)]
    to_messages: u64,
    #[serde(default)]
    source: String,
}

pub(super) fn run(arguments: &RatesArguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        RatesCommand::List => {
            tell(std::io::stdout(), listed());
            Ok(ExitCode::SUCCESS)
        }
        RatesCommand::Check(arguments) => {
            let cards = read(&arguments.file)?;
            let faults = faults(&cards);
            for line in &faults {
                tell(std::io::stdout(), line);
            }
            if !faults.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            let told = if arguments.json { request(cards)? } else { summary(&cards) };
            tell(std::io::stdout(), told);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(file: &Path) -> Result<Vec<RateCard>, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let cards = if json { of_json(&text) } else { of_toml(&text) };
    cards.map_err(|error| format!("{}: {error}", file.display()).into())
}

fn of_toml(text: &str) -> Result<Vec<RateCard>, Failure> {
    let source = File::from_str(text, FileFormat::Toml);
    let read = ConfigBuilder::<DefaultState>::default().add_source(source).build()?;
    let lines: CardFile = read.try_deserialize()?;
    let card = |(index, lines): (usize, CardLines)| {
        lines.card().map_err(|error| format!("cards[{index}].{error}").into())
    };
    lines.cards.into_iter().enumerate().map(card).collect()
}

fn of_json(text: &str) -> Result<Vec<RateCard>, Failure> {
    let mut json = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(message()?, &mut json)?;
    json.end()?;
    Ok(dynamic.transcode_to::<SetRateCardsRequest>()?.cards)
}

fn message() -> Result<MessageDescriptor, Failure> {
    let pool = DescriptorPool::decode(DESCRIPTORS)?;
    pool.get_message_by_name(REQUEST).ok_or_else(|| "the interface has no rate cards".into())
}

impl CardLines {
    fn card(self) -> Result<RateCard, String> {
        let channel = Channel::from_str_name(&enum_name("CHANNEL", &self.channel));
        let category =
            MessageCategory::from_str_name(&enum_name("MESSAGE_CATEGORY", &self.category));
        let micros = micros_of(&self.price).ok_or_else(|| {
            format!("price: {:?} is no amount with at most {DECIMALS} decimals", self.price)
        })?;
        let from = moment_of(&self.valid_from).ok_or_else(|| {
            format!("valid_from: {:?} is no day or moment such as 2026-10-01", self.valid_from)
        })?;
        Ok(RateCard {
            channel: channel.ok_or_else(|| format!("channel: {:?} is none", self.channel))?.into(),
            market: self.market,
            countries: self.countries,
            category: category
                .ok_or_else(|| format!("category: {:?} is none", self.category))?
                .into(),
            price: Some(Money { micros, currency: self.currency }),
            valid_from: Some(timestamp(from)),
            from_messages: self.from_messages,
            to_messages: self.to_messages,
            source: self.source,
        })
    }
}

fn enum_name(prefix: &str, name: &str) -> String {
    format!("{prefix}_{}", name.to_ascii_uppercase())
}

/// Returns the short name of an enum's value.
fn short(prefix: &str, name: &str) -> String {
    name.trim_start_matches(prefix).trim_start_matches('_').to_ascii_lowercase()
}

/// Returns an amount in micros: digits, and a point with at most six more.
fn micros_of(text: &str) -> Option<i64> {
    let (units, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let good = !units.is_empty() && digits(units) && digits(decimals) && decimals.len() <= DECIMALS;
    let text = good.then(|| format!("{units}{decimals:0<DECIMALS$}"))?;
    text.parse().ok()
}

/// Returns the milliseconds of a day's first moment in UTC, or of a moment in the form of RFC 3339.
fn moment_of(text: &str) -> Option<i64> {
    let day = |text: &str| {
        let date: Date = text.parse().ok()?;
        Some(date.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_millisecond())
    };
    let moment = |text: &str| Some(text.parse::<Timestamp>().ok()?.as_millisecond());
    moment(text).or_else(|| day(text))
}

fn faults(cards: &[RateCard]) -> Vec<String> {
    if cards.len() > RATE_CARDS_MAX {
        let count = cards.len();
        return vec![format!("cards: has {count} entries: send at most {RATE_CARDS_MAX}")];
    }
    let line = |fault: Fault| {
        let Fault { index, field, message, .. } = fault;
        let market = &cards[index].market;
        format!("cards[{index}].{field}: {message} ({market})")
    };
    check(cards).into_iter().map(line).collect()
}

fn summary(cards: &[RateCard]) -> String {
    let markets: BTreeSet<_> = cards.iter().map(|card| (card.channel, &card.market)).collect();
    let price = |card: &RateCard| card.price.as_ref().map(|price| price.currency.clone());
    let currencies: BTreeSet<_> = cards.iter().filter_map(price).collect();
    let currencies = currencies.into_iter().collect::<Vec<_>>().join(", ");
    let days = || cards.iter().map(|card| day_of(card));
    let span = days().min().zip(days().max());
    let span = span.map_or_else(String::new, |(first, last)| format!(", from {first} to {last}"));
    format!("{} cards can be loaded: {} markets, {currencies}{span}", cards.len(), markets.len())
}

/// Returns the day, or moment, from which a card holds.
fn day_of(card: &RateCard) -> String {
    let from = Timestamp::from_millisecond(valid_from(card).0).unwrap_or_default();
    let zoned = from.to_zoned_datetime(TimeZone::UTC);
    match zoned.time() == jiff::civil::Time::midnight() {
        true => zoned.date().to_string(),
        false => from.to_string(),
    }
}

fn request(cards: Vec<RateCard>) -> Result<String, Failure> {
    let request = SetRateCardsRequest { request_id: String::new(), cards };
    let mut dynamic = DynamicMessage::new(message()?);
    dynamic.transcode_from(&request)?;
    Ok(serde_json::to_string_pretty(&dynamic)?)
}

/// Returns the rules as comments, and the cards, as TOML.
fn listed() -> String {
    let mut text = String::from("# WhatsApp's rules, each until the next begins:\n");
    for rule in &RULES {
        let from = Timestamp::from_millisecond(rule.from.0).unwrap_or_default();
        let day = from.to_zoned_datetime(TimeZone::UTC).date();
        let _ = writeln!(text, "# {day} {}: {}", rule.regime.name(), rule.text);
    }
    text.push_str(
        "# Service messages cost what utility does where they are charged and have no card.\n",
    );
    for card in list_cards() {
        let price = card.price.clone().unwrap_or_default();
        let countries = card.countries.iter().map(|country| format!("{country:?}"));
        let countries = countries.collect::<Vec<_>>().join(", ");
        let channel = short("CHANNEL", card.channel().as_str_name());
        let category = short("MESSAGE_CATEGORY", card.category().as_str_name());
        let (market, source) = (&card.market, &card.source);
        let _ = write!(
            text,
            "\n[[cards]]\nchannel = {channel:?}\nmarket = {market:?}\ncountries = [{countries}]\n\
             category = {category:?}\nprice = \"{}\"\ncurrency = {:?}\nvalid_from = \"{}\"\n\
             source = {source:?}\n",
            Micros(price.micros),
            price.currency,
            day_of(&card),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[cards]]
        channel = "whatsapp"
        market = "India"
        category = "utility"
        price = "0.115"
        currency = "INR"
        valid_from = "2026-10-01T00:00:00+05:30"
        from_messages = 1
        to_messages = 100
    "#;

    #[test]
    fn what_is_listed_can_be_checked_and_is_the_same() {
        let cards = of_toml(&listed()).unwrap();
        assert_eq!(cards, list_cards());
        assert_eq!(faults(&cards), Vec::<String>::new());
        let told = summary(&cards);
        assert_eq!(told, "40 cards can be loaded: 12 markets, USD, from 2025-10-01 to 2026-07-01");
        assert_eq!(of_json(&request(cards.clone()).unwrap()).unwrap(), cards);
    }

    #[test]
    fn every_fault_is_printed_with_its_card_and_field() {
        let cards = of_toml(ONE).unwrap();
        assert_eq!(cards[0].valid_from, Some(timestamp(1_790_793_000_000)));
        let expected =
            "cards[0].to_messages: leaves messages from 101 on without a price: send 0 (India)";
        assert_eq!(faults(&cards), [expected]);
        let many = vec![cards[0].clone(); RATE_CARDS_MAX + 1];
        assert_eq!(faults(&many), ["cards: has 20001 entries: send at most 20000"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_where() {
        let fails = |from: &str, to: &str, part: &str| {
            let told = of_toml(&ONE.replace(from, to)).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        };
        fails("whatsapp", "pigeon", "cards[0].channel: \"pigeon\" is none");
        fails("utility", "junk", "cards[0].category");
        fails("0.115", "0.1150001", "cards[0].price");
        fails("0.115", "-1", "cards[0].price");
        fails("0.115", ".5", "cards[0].price");
        fails("2026-10-01T00:00:00+05:30", "2026-13-01", "cards[0].valid_from");
        fails("market =", "town =", "town");
        assert!(of_json("{\"cards\": [{\"town\": 1}]}").is_err());
        assert!(of_json("{} {}").is_err());
    }

    #[test]
    fn amounts_are_read_to_the_micro() {
        let read = ["0.0305", "12", "0.000001", "1.5", "9223372036854.775808", ""].map(micros_of);
        let micros = [30_500, 12_000_000, 1, 1_500_000].map(Some);
        assert_eq!(read[..4], micros);
        assert_eq!(read[4..], [None, None]);
    }
}
