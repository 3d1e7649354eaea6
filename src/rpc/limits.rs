//! Every limit of the door, with its reason. The README lists them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::state::traffic_rules::{NETWORK_BITS_V4, NETWORK_BITS_V6};

pub use crate::rpc::admission::limits::*;

/// Posts in one tray: a token keeps a slot's place in 8 bits.
pub const POSTS_MAX: u32 = 250;

/// Slots that one request may name: more ads than this in one tray is not a feed any more.
pub const SLOTS_MAX: usize = 16;

/// Characters of a viewer's pseudonym.
pub const PSEUDONYM_CHARS_MAX: usize = 128;

/// Languages of one viewer.
pub const LANGUAGES_MAX: usize = 8;

/// Interests of one viewer, in one group, or excluded.
pub const INTERESTS_MAX: usize = 256;

/// The highest number of an interest.
pub const INTEREST_MAX: u32 = u16::MAX as u32;

/// Groups of interests, or of segments, in one targeting.
pub const GROUPS_MAX: usize = 16;

/// Segments of one viewer, in one group, or excluded.
pub const SEGMENTS_MAX: usize = 256;

/// The highest number of a segment or city: 24 bits.
pub const NUMBER_MAX: u32 = (1 << 24) - 1;

/// Targetings of one ad set, any of which may match.
pub const TARGETINGS_MAX: usize = 16;

/// Circles on the map in one targeting.
pub const RADII_MAX: usize = 16;

/// The least radius, meters: a smaller circle would point at single people.
pub const RADIUS_M_MIN: u32 = 1_000;

/// The largest radius, meters: beyond it regions and countries say it better.
pub const RADIUS_M_MAX: u32 = 80_000;

/// Latitude and longitude, millionths of a degree to either side of zero.
pub const LATITUDE_E6_MAX: i32 = 90_000_000;
/// See [`LATITUDE_E6_MAX`].
pub const LONGITUDE_E6_MAX: i32 = 180_000_000;

/// Custom keys in one targeting, and as many excluded.
pub const KEYS_MAX: usize = 16;

/// Custom key-values of one viewer.
pub const KEY_VALUES_MAX: usize = 64;

/// Characters of a custom key.
pub const KEY_CHARS_MAX: usize = 40;

/// Characters of a custom value.
pub const VALUE_CHARS_MAX: usize = 64;

/// Hours of a week.
pub use crate::types::week::WEEK_HOURS;

/// Minutes that a viewer's clock may be behind UTC (Baker Island).
pub const UTC_OFFSET_MINUTES_MIN: i32 = -12 * 60;

/// Minutes that it may be ahead (Line Islands).
pub const UTC_OFFSET_MINUTES_MAX: i32 = 14 * 60;

/// Values in any other list of a targeting: every country there is, and some.
pub const TARGETS_MAX: usize = 256;

/// Events, conversation events or conversions in one batch.
pub const EVENTS_MAX: usize = 1_000;

/// Characters of a `request_id`.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

/// Characters of the reason of a transfer or credit.
pub const REASON_CHARS_MAX: usize = 200;

/// Invoices of one page: ten years.
pub const INVOICES_MAX: usize = 120;

/// Invoices of one page that says no size: a year.
pub const INVOICES_DEFAULT: usize = 12;

/// Days that one finding of invalid events may span: what a journal keeps at the least.
pub const INVALID_DAYS_MAX: i64 = 95;

/// Findings of invalid events at work or waiting for their turn: each may hold a hundred megabytes.
pub const FINDINGS_AT_ONCE_MAX: usize = 1;

/// Characters of the name of an account, business, campaign, ad set or ad.
pub const NAME_CHARS_MAX: usize = 100;

/// Characters of a business's category.
pub const CATEGORY_CHARS_MAX: usize = 64;

/// Characters of a creative's primary text, as the feeds of the field cut it.
pub const PRIMARY_TEXT_CHARS_MAX: usize = 125;

/// Characters of a creative's headline.
pub const HEADLINE_CHARS_MAX: usize = 40;

/// Characters of a media URL: what browsers and proxies take.
pub const MEDIA_URL_CHARS_MAX: usize = 2_048;

/// Bytes of a picture, as the feeds of the field take it.
pub const IMAGE_BYTES_MAX: u64 = 30_000_000;

/// Bytes of a video, as the feeds of the field take it.
pub const VIDEO_BYTES_MAX: u64 = 4_000_000_000;

/// Milliseconds of a video.
pub const VIDEO_MS_MAX: u32 = 60_000;

/// Pixels of a picture's or video's side: what decoders of phones take.
pub const MEDIA_SIDE_MAX: u32 = 16_384;

/// Cards of a carousel, at least.
pub const CARDS_MIN: usize = 2;

/// Cards of a carousel, at most.
pub const CARDS_MAX: usize = 10;

/// The highest colour, 0xRRGGBB.
pub const RGB_MAX: u32 = 0xFF_FFFF;

/// Bytes of a declared SHA-256.
pub const SHA256_BYTES: usize = 32;

/// Characters that a viewer finds already typed.
pub const PREFILLED_TEXT_CHARS_MAX: usize = 100;

/// Characters of a contact's pseudonym: a business-scoped user id fits.
pub const CONTACT_CHARS_MAX: usize = 256;

/// How long before its end a free window can be told to be leaving, minutes: as long as the shorter lasts.
pub const LEAD_MINUTES_MAX: u32 = 24 * 60;

/// The same where the caller doesn't say.
pub const LEAD_MINUTES_DEFAULT: u32 = 60;

/// Characters of a channel's message id.
pub const MESSAGE_ID_CHARS_MAX: usize = 128;

/// Characters of a channel's own number of an endpoint or business.
pub const CHANNEL_ID_CHARS_MAX: usize = 64;

/// Characters of a conversion's event id.
pub const EVENT_ID_CHARS_MAX: usize = 128;

/// Characters of a conversion's name.
pub const CONVERSION_NAME_CHARS_MAX: usize = 64;

/// Frequency caps of one ad set.
pub const CAPS_MAX: usize = 4;

/// Events of a frequency cap: the viewer's ring counts them in 8 bits.
pub const CAP_EVENTS_MAX: u32 = 255;

/// Hours of a frequency cap: 30 days.
pub const CAP_HOURS_MAX: u32 = 30 * 24;

/// Characters of the names of who is behind an ad: beneficiary and payer.
pub const PARTY_CHARS_MAX: usize = 100;

/// Most campaigns that one experiment names.
pub const EXPERIMENT_CAMPAIGNS_MAX: usize = 64;

/// The smallest control group of an experiment, in millionths of viewers: 1 %.
pub const CONTROL_MICROS_MIN: u32 = 10_000;

/// The largest control group of an experiment, in millionths of viewers: half.
pub const CONTROL_MICROS_MAX: u32 = 500_000;

/// The control group of an experiment that names none, in millionths of viewers: 10 % (ALGORITHMS 6).
pub const CONTROL_MICROS_DEFAULT: u32 = 100_000;

/// Characters of the name of an entry of an operator's list.
pub const ENTRY_NAME_CHARS_MAX: usize = 100;

/// Reasons of one review.
pub const REVIEW_REASONS_MAX: usize = 8;

/// Characters of a reason.
pub const REVIEW_REASON_CHARS_MAX: usize = 200;

/// Entries that one call puts into a list and takes out of it.
pub const TAXONOMY_CALL_MAX: usize = 10_000;

/// Rules for policy categories: eight categories in every country there is are fewer.
pub const POLICY_RULES_MAX: usize = 2_000;

/// Exchange rates: a year of months for every currency there is.
pub const EXCHANGE_RATES_MAX: usize = 2_000;

/// Rate cards: five categories of sixty markets in three currencies, with steps and some years of dates.
pub const RATE_CARDS_MAX: usize = 20_000;

/// Taps for each 100 views that the operator can allow an account: a view is tapped once.
pub const TAPS_PER_100_VIEWS_MAX: u32 = 100;

/// Parts of user agents in the rules for invalid traffic.
pub const USER_AGENTS_MAX: usize = 1_000;

/// Characters of one such part: a shorter one would be found in every user agent.
pub const USER_AGENT_PART_CHARS_MIN: usize = 3;

/// Characters of one such part, at most.
pub const USER_AGENT_PART_CHARS_MAX: usize = 100;

/// Characters of a URL that conversions are pushed to: what servers and proxies are sure to take.
pub const PUSH_URL_CHARS_MAX: usize = 2_000;

/// Characters of a test event code.
pub const TEST_CODE_CHARS_MAX: usize = 64;

/// Given-up conversions that one call names.
pub const DEAD_LETTERS_CALL_MAX: usize = 1_000;

/// Networks in the rules for invalid traffic: the public lists of data centres are shorter.
pub const NETWORKS_LISTED_MAX: usize = 100_000;

/// Bits of a listed IPv4 network: a longer one lies below what is kept of an address, a shorter one is no
/// data centre.
pub const NETWORK_V4_BITS: RangeInclusive<u8> = 8..=NETWORK_BITS_V4;

/// Bits of a listed IPv6 network.
pub const NETWORK_V6_BITS: RangeInclusive<u8> = 16..=NETWORK_BITS_V6;

/// Characters of an event's user agent.
pub const USER_AGENT_CHARS_MAX: usize = 512;

/// Characters of an address: the longest of IPv6, written with an IPv4 tail.
pub const ADDRESS_CHARS_MAX: usize = 45;

/// Characters of a search for what targeting accepts: no name is longer.
pub const SEARCH_CHARS_MAX: usize = 100;

/// Things in a page when the caller asks for no number.
pub const PAGE_DEFAULT: usize = 100;

/// Things in a page.
pub const PAGE_MAX: usize = 1_000;

/// Rows in a report's page when the caller asks for no number.
pub const REPORT_PAGE_DEFAULT: usize = 1_000;

/// Rows in a report's page.
pub const REPORT_PAGE_MAX: usize = 10_000;

/// Days of a report's span that has both ends: three years.
pub const REPORT_DAYS_MAX: u32 = 1_100;

/// Entries of each filter of a report.
pub const REPORT_FILTER_MAX: usize = 1_000;

/// Orders of a report's rows.
pub const REPORT_ORDERS_MAX: usize = 3;

/// Least epsilon of a question about viewers, millionths: a standard deviation of 141.
pub const REPORT_EPSILON_MICROS_MIN: u32 = 10_000;

/// Most epsilon of such a question, millionths: hardly ever any noise.
pub const REPORT_EPSILON_MICROS_MAX: u32 = 10_000_000;

/// Most epsilon of all such questions of a day, millionths: 10,000 of the least one.
pub const REPORT_DAILY_EPSILON_MICROS_MAX: u32 = 100_000_000;

/// Questions of a report that are answered at once; others wait.
pub const REPORTS_AT_ONCE_MAX: usize = 2;

/// Characters of a page token: a sealed place is some dozens of bytes.
pub const PAGE_TOKEN_CHARS_MAX: usize = 512;

/// The last second that is taken from outside, in seconds since the epoch: a token keeps 32 bits.
pub const SECONDS_MAX: i64 = u32::MAX as i64;

/// Questions to ExplainService that are at work at a time, on threads of their own: each may walk the whole
/// market, and serving needs the cores.
pub const EXPLAINED_AT_ONCE_MAX: usize = 2;

/// Bytes of one message to the services of feeds: 1,000 events with their tokens and user agents fit.
pub const FEED_MESSAGE_BYTES_MAX: usize = 768 * 1_024;

/// Bytes of one message to the other services.
pub const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of one message to the operator's service: a full call of entries fits.
pub const LISTS_MESSAGE_BYTES_MAX: usize = 5 * 1_024 * 1_024;

/// Messages of one event stream that wait for the disk at a time: two group commits of the writer.
pub const STREAM_IN_FLIGHT_MAX: usize = 64;

/// Messages of one import that are read ahead of their answers.
pub const IMPORT_IN_FLIGHT_MAX: usize = 4;

/// Messages of all imports that are at the writer at a time: live events wait behind them for a few hundredths of a
/// second.
pub const IMPORTS_AT_ONCE_MAX: usize = 2;

/// How long an import waits before it asks again a node whose queue is full, or whose disk is late ([`LAG_TARGET`]).
pub const IMPORT_RETRY_AFTER: Duration = Duration::from_millis(20);

/// Callers that follow attributions at a time: each asks the writer once a second.
pub const FOLLOWERS_MAX: usize = 256;

/// How often it is looked whether a watcher would still be let in.
pub const WATCHER_JUDGED_EVERY: Duration = Duration::from_secs(1);

/// How long the answer to a batch may take before the caller is told that its outcome is unknown.
pub const INGEST_DEADLINE: Duration = Duration::from_secs(2);

/// How long any call may take before its first answer, whatever the caller allows.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// How long a caller should wait after RESOURCE_EXHAUSTED or UNAVAILABLE.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Connections of the whole server: below the 1,024 files that a process usually may open.
pub const CONNECTIONS_MAX: usize = 800;

/// Streams of one connection at a time. tonic's own default is no limit.
pub const STREAMS_MAX: u32 = 128;

/// Streams of one connection that end by the peer's faults before it is closed (RUSTSEC-2024-0003).
/// tonic's own default is no limit.
pub const FAULTY_STREAMS_MAX: usize = 64;

/// Streams of one connection that were reset before they were accepted (CVE-2023-44487): in what it reads in one turn
/// ([`SERVING_READ_BYTES`]). Who resets fewer is held back by how often it may read.
pub const RESET_STREAMS_MAX: usize = 20;

/// Bytes of a refused call's request that are taken and dropped before it is answered: what hyper lets a stream send
/// without asking, more than a feed's longest message.
pub const REFUSED_READ_BYTES: usize = 1_024 * 1_024;

/// How long a refused call's request may take to end: longer than its connection is left unread in one go.
pub const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// Bytes of one request's headers.
pub const HEADER_BYTES_MAX: u32 = 8 * 1_024;

/// Bytes of one HTTP/2 frame: the least that the protocol allows.
pub const FRAME_BYTES_MAX: u32 = 16 * 1_024;

/// How often a silent connection is asked whether it lives. One that reads nothing, or a byte now and then, does
/// not hear it, and is gone with the answer's time: within half a minute in all.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long it may take to say so.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new connection may take to say that it speaks HTTP/2 and saw the server's settings.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may leave unread what it asked for.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What it must have read by then, bytes: 400 a second.
pub const STALL_BYTES_LEAST: usize = 4 * 1_024;

/// How long a connection lives before it is asked to come again, so that callers spread over cores and
/// nodes.
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);

/// How long it may take to finish its calls after that.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(30);

/// How long calls may take to finish when the server stops; after it their connections are cut. The journal is
/// sealed behind it, and all of a stop must fit into 20 seconds.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// A feed's event that fills a batch to the brim: token, kind, time, and their tags; a user agent, which is
/// ASCII, and an address with theirs.
const EVENT_BYTES_MAX: usize = 160 + USER_AGENT_CHARS_MAX + ADDRESS_CHARS_MAX + 5;
const _: () = assert!(EVENTS_MAX * EVENT_BYTES_MAX <= FEED_MESSAGE_BYTES_MAX);

/// An entry of a list with the longest name: four bytes a character, its number, country, code and tags.
const ENTRY_BYTES_MAX: usize = 4 * ENTRY_NAME_CHARS_MAX + 48;
const _: () = assert!(TAXONOMY_CALL_MAX * ENTRY_BYTES_MAX <= LISTS_MESSAGE_BYTES_MAX);

/// All rules for invalid traffic: networks with their lengths and tags, parts of user agents with theirs.
const TRAFFIC_BYTES_MAX: usize = NETWORKS_LISTED_MAX * (ADDRESS_CHARS_MAX + 3 + 2)
    + USER_AGENTS_MAX * (USER_AGENT_PART_CHARS_MAX + 2);
const _: () = assert!(TRAFFIC_BYTES_MAX <= LISTS_MESSAGE_BYTES_MAX);

/// Comparisons of attribution models at work: each walks all that is known of viewers.
pub const MODELS_AT_ONCE_MAX: usize = 1;

/// Days of outcomes in one comparison of models: rows are kept for 95.
pub const MODEL_PERIOD_DAYS_MAX: i64 = 93;

/// Lists on their way to Reconcile or at work: each may take a hundred megabytes with what it is compared with.
pub const RECONCILED_AT_ONCE_MAX: usize = 2;

/// Lines of one list: the sales of a large shop's quarter.
pub const RECONCILE_LINES_MAX: usize = 250_000;

/// Bytes of one list: it stands in memory while it is compared.
pub const RECONCILE_BYTES_MAX: usize = 32 << 20;

/// Bytes of one line: its longest ids, each character escaped.
pub const RECONCILE_LINE_BYTES_MAX: usize = 8 << 10;

/// Rows of one answer to a list.
pub const RECONCILE_PAGE_MAX: usize = 1_000;

/// A line with some of everything, on average.
const _: () = assert!(RECONCILE_LINES_MAX * 128 <= RECONCILE_BYTES_MAX);

/// Days of outcomes that one list is compared with: rows are kept for 95.
pub const RECONCILE_PERIOD_DAYS_MAX: i64 = 93;

/// Rows of one batch of a table in columns: about a megabyte, half of what most clients take in one message.
#[cfg(feature = "columns")]
pub const FLIGHT_BATCH_ROWS: usize = 8_192;

/// Batches that are made at once: each takes a core for a few milliseconds.
#[cfg(feature = "columns")]
pub const FLIGHT_BATCHES_AT_ONCE_MAX: usize = 2;

/// Characters of the name of an API key's user.
pub const KEY_NAME_CHARS_MAX: usize = 64;

/// Characters of an API key's id.
pub const KEY_ID_CHARS_MAX: usize = 32;

/// How long a rotated key stays good when the caller says nothing.
pub const KEY_OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3_600);

/// How long a rotated key may stay good.
pub const KEY_OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Characters of what names a caller in the log of changes: a subject of a token is the longest.
pub const CALLER_CHARS_MAX: usize = 256;
