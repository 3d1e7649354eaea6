//! A seeded history of another system as Parquet, and its last touches.
//!
//! A week in time order: a few viewers see and do much, a few ads are shown often. Six in ten outcomes follow a tap
//! of their viewer, some a view, the others nothing in particular.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::builder::{
    Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use munadi::cli::attribute::attribute;
use munadi::node::dice::SeededDice;
use munadi::report::last_touch::Credited;
use munadi::types::dice::Dice;
use munadi::types::time::DAY_MS;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::Failure;
use crate::support::attribute::median;

/// 2026-11-16T00:00:00Z.
const START_US: u64 = 1_794_787_200_000_000;
const DAY_US: u64 = DAY_MS as u64 * 1_000;
const WEEK_US: u64 = 7 * DAY_US;
const SECOND_US: u64 = 1_000_000;

/// Ads, five a campaign, and accounts, four campaigns each.
const ADS: u64 = 2_000;
const ACCOUNTS: u64 = 100;

/// Rows of one row group.
const GROUP_ROWS: usize = 131_072;

/// How much there is of each.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    viewers: u64,
    impressions: u64,
    taps: u64,
    conversations: u64,
    conversions: u64,
}

pub(crate) const FULL: Size = Size {
    viewers: 500_000,
    impressions: 5_000_000,
    taps: 200_000,
    conversations: 100_000,
    conversions: 20_000,
};

pub(crate) const TINY: Size =
    Size { viewers: 300, impressions: 3_000, taps: 120, conversations: 100, conversions: 50 };

/// What the history came to.
pub(crate) struct Told {
    pub(crate) outcomes: usize,
    pub(crate) by_tap: usize,
    pub(crate) by_view: usize,
    /// Of reading and crediting, the median.
    pub(crate) seconds: f64,
}

#[derive(Clone, Copy)]
struct Event {
    at_us: u64,
    viewer: u64,
    account: u64,
    /// Of touches.
    ad: Option<u64>,
    value: Option<i64>,
}

/// Writes the history into a folder, unless it is there, and credits it so many times.
pub(crate) fn last_touch(folder: &Path, size: Size, rounds: usize) -> Result<Told, Failure> {
    // Written last, so it is there when all are.
    if !folder.join("conversions.parquet").exists() {
        std::fs::create_dir_all(folder)?;
        write_all(folder, size)?;
    }
    let mut seconds = Vec::new();
    let (mut outcomes, mut by_tap, mut by_view) = (0, 0, 0);
    for _ in 0..rounds {
        let began = Instant::now();
        let attributed = attribute(folder)?;
        seconds.push(began.elapsed().as_secs_f64());
        let count =
            |of: fn(&Credited) -> bool| attributed.credits.iter().filter(|it| of(it)).count();
        outcomes = attributed.outcomes.len();
        by_tap = count(|credit| matches!(credit, Credited::Tap(_)));
        by_view = count(|credit| matches!(credit, Credited::View(_)));
    }
    if outcomes as u64 != size.conversations + size.conversions || by_tap == 0 || by_view == 0 {
        return Err(format!("{outcomes} outcomes, {by_tap} by tap, {by_view} by view").into());
    }
    Ok(Told { outcomes, by_tap, by_view, seconds: median(seconds) })
}

fn write_all(folder: &Path, size: Size) -> Result<(), Failure> {
    let mut dice = SeededDice::new(42);
    let impressions = impressions(&mut dice, size);
    let taps = taps(&mut dice, &impressions, size);
    let conversations =
        outcomes(&mut dice, (&impressions, &taps), (size, size.conversations), false);
    let conversions = outcomes(&mut dice, (&impressions, &taps), (size, size.conversions), true);
    write(&folder.join("impressions.parquet"), ("IMPRESSION", "i"), &impressions)?;
    write(&folder.join("taps.parquet"), ("TAP", "t"), &taps)?;
    write(&folder.join("conversations.parquet"), ("CONVERSATION", "c"), &conversations)?;
    write(&folder.join("conversions.parquet"), ("CONVERSION", "s"), &conversions)
}

/// Rolls a number below an end; low ones come more often.
fn skewed(dice: &mut impl Dice, end: u64) -> u64 {
    let (one, other) = (dice.roll() % end, dice.roll() % end);
    one * other / end
}

fn account_of(ad: u64) -> u64 {
    1 + ad * ACCOUNTS / ADS
}

fn impressions(dice: &mut impl Dice, size: Size) -> Vec<Event> {
    let step = WEEK_US / size.impressions;
    (0..size.impressions)
        .map(|number| {
            let at_us = START_US + number * step + dice.roll() % step;
            let (viewer, ad) = (skewed(dice, size.viewers), skewed(dice, ADS));
            Event { at_us, viewer, account: account_of(ad), ad: Some(ad), value: None }
        })
        .collect()
}

/// Taps one impression of each stretch of the week, some seconds after it.
fn taps(dice: &mut impl Dice, impressions: &[Event], size: Size) -> Vec<Event> {
    let stretch = (size.impressions / size.taps) as usize;
    let mut tap = |of: &[Event]| {
        let seen = of[dice.roll() as usize % of.len()];
        Event { at_us: seen.at_us + SECOND_US + dice.roll() % (30 * SECOND_US), ..seen }
    };
    let mut taps: Vec<_> = impressions.chunks_exact(stretch).map(&mut tap).collect();
    taps.sort_by_key(|tap| tap.at_us);
    taps
}

fn outcomes(
    dice: &mut impl Dice,
    (impressions, taps): (&[Event], &[Event]),
    (size, count): (Size, u64),
    are_conversions: bool,
) -> Vec<Event> {
    let pick = |roll: u64, of: &[Event]| of[roll as usize % of.len()];
    let mut roll = || dice.roll();
    let mut outcomes: Vec<_> = (0..count)
        .map(|number| {
            let (touch, delay) = match number % 100 {
                0..55 => (pick(roll(), taps), roll() % (300 * SECOND_US)),
                55..65 => (pick(roll(), taps), roll() % (8 * DAY_US)),
                65..80 => (pick(roll(), impressions), roll() % (30 * 3_600 * SECOND_US)),
                _ => {
                    let at_us = START_US + roll() % WEEK_US;
                    let (viewer, account) = (roll() % size.viewers, 1 + roll() % ACCOUNTS);
                    (Event { at_us, viewer, account, ad: None, value: None }, 0)
                }
            };
            let value = are_conversions.then(|| 1_000_000 + (roll() % 500_000_000) as i64);
            Event { at_us: touch.at_us + delay, ad: None, value, ..touch }
        })
        .collect();
    outcomes.sort_by_key(|outcome| outcome.at_us);
    outcomes
}

fn write(path: &Path, (kind, prefix): (&str, &str), events: &[Event]) -> Result<(), Failure> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let schema = batch(&[], (kind, prefix, 0))?.schema();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties))?;
    for (number, some) in events.chunks(GROUP_ROWS).enumerate() {
        writer.write(&batch(some, (kind, prefix, number * GROUP_ROWS))?)?;
    }
    writer.close()?;
    Ok(())
}

fn batch(
    events: &[Event],
    (kind, prefix, first): (&str, &str, usize),
) -> Result<RecordBatch, Failure> {
    let [mut kinds, mut ids, mut viewers, mut names, mut currencies] =
        std::array::from_fn(|_| StringBuilder::new());
    let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut accounts, mut ads) = (UInt64Builder::new(), UInt64Builder::new());
    let mut values = Int64Builder::new();
    for (number, event) in events.iter().enumerate() {
        kinds.append_value(kind);
        ids.append_value(format!("{prefix}{}", first + number));
        times.append_value(event.at_us as i64);
        viewers.append_value(format!("v{:06}", event.viewer));
        accounts.append_value(event.account);
        ads.append_option(event.ad.map(|ad| 1 + ad));
        names.append_option(event.value.map(|_| "Purchase"));
        values.append_option(event.value);
        currencies.append_option(event.value.map(|_| "MXN"));
    }
    let columns: [(&str, ArrayRef, bool); 9] = [
        ("type", Arc::new(kinds.finish()), false),
        ("event_id", Arc::new(ids.finish()), false),
        ("event_time", Arc::new(times.finish()), false),
        ("viewer", Arc::new(viewers.finish()), false),
        ("account_id", Arc::new(accounts.finish()), false),
        ("ad_id", Arc::new(ads.finish()), true),
        ("name", Arc::new(names.finish()), true),
        ("value_micros", Arc::new(values.finish()), true),
        ("currency", Arc::new(currencies.finish()), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
