//! Rows of the attribution stream through the door, from a node that credited them a moment ago.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::node::clock::{Clock, MovedClock};
use munadi::node::dice::SeededDice;
use munadi::node::{Node, NodeOptions};
use munadi::rpc::limits::Limits;
use munadi::rpc::{Patience, ServerConfig, serve};
use munadi::types::dice::Dice;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1;
use munadi::types::proto::v1::attribution_service_client::AttributionServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use munadi::types::request::{Conversion, Incoming, Origin, Scope, Verdict};
use munadi::types::time::{MINUTE_MS, Moment, SECOND_MS};
use munadi::types::token::ViewToken;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;

use crate::Failure;
#[cfg(feature = "columns")]
use crate::support::attribute::flight::read_all;
use crate::support::attribute::median;
use crate::support::shop::{FEED, TENANT, advertise};

const SECRET: &str = "bench-only";

/// Views of each viewer, and conversions: each path has all views in it.
const VIEWS: u64 = 3;
const CONVERSIONS: u64 = 10;

/// Items of one batch.
const BATCH: usize = 1_000;

/// The account whose conversions are told, and its ads.
type Shop = (u64, Vec<u64>);

/// What pulls came to.
pub(crate) struct Pulled {
    pub(crate) rows: usize,
    pub(crate) per_second: f64,
    pub(crate) merged_per_second: f64,
    /// Rows in columns.
    #[cfg(feature = "columns")]
    pub(crate) flight_per_second: f64,
    pub(crate) report_ms: f64,
}

/// Credits conversions of so many viewers, then pulls their rows some times.
pub(crate) fn pull(viewers: u64, rounds: usize) -> Result<Pulled, Failure> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = Arc::new(MovedClock::at(Moment(1_795_392_000_000)));
    let (node, shop) = open(folder.path(), &clock, &runtime)?;
    let conversions = fill(&node, &clock, &shop, viewers, &runtime)?;
    let node = Arc::new(node);
    let key = Key {
        id: "analytics".to_owned(),
        role: Role::Analytics,
        tenant: TENANT,
        secret_blake3: secret_blake3(SECRET),
    };
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(Keys::new([key])?),
        patience: Patience::default(),
        tls: None,
        limits: Limits::OFF,
        traces: None,
    };
    let server = serve(&node, &Arc::new(BTreeMap::new()), config)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr()))?;
    let report_ms = runtime.block_on(report(&node, &endpoint, conversions))?;
    // The minute of the rows is closed.
    clock.set(clock.now().plus_ms(2 * MINUTE_MS));
    let (mut door, mut merged) = (Vec::new(), Vec::new());
    #[cfg(feature = "columns")]
    let mut flight = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let rows = runtime.block_on(pull_all(&endpoint))?;
        door.push(rows as f64 / began.elapsed().as_secs_f64());
        if rows != conversions {
            return Err(format!("{rows} of {conversions} rows").into());
        }
        let began = Instant::now();
        merged.push(merge_all(&node)? as f64 / began.elapsed().as_secs_f64());
        #[cfg(feature = "columns")]
        {
            let began = Instant::now();
            let rows = runtime.block_on(read_all(&endpoint, bearer()?))?;
            flight.push(rows as f64 / began.elapsed().as_secs_f64());
            if rows != conversions {
                return Err(format!("{rows} of {conversions} rows in columns").into());
            }
        }
    }
    Ok(Pulled {
        rows: conversions,
        per_second: median(door),
        merged_per_second: median(merged),
        #[cfg(feature = "columns")]
        flight_per_second: median(flight),
        report_ms,
    })
}

fn open(
    folder: &Path,
    clock: &Arc<MovedClock>,
    runtime: &tokio::runtime::Runtime,
) -> Result<(Node, Shop), Failure> {
    let options = NodeOptions {
        feeds: vec![FEED],
        seed: Some(1),
        checkpoint_every: Duration::from_secs(3_600),
        approve_ads: true,
        ..NodeOptions::default()
    };
    let node = Node::start(folder, Arc::<MovedClock>::clone(clock), &options)?;
    let shop = advertise(&node, runtime).map_err(|failure| failure.to_string())?;
    Ok((node, shop))
}

/// Returns how many conversions were recorded.
fn fill(
    node: &Node,
    clock: &MovedClock,
    (account, ads): &Shop,
    viewers: u64,
    runtime: &tokio::runtime::Runtime,
) -> Result<usize, Failure> {
    let mut dice = SeededDice::new(5);
    let viewer = |number: u64| (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let issued = clock.now().seconds();
    let views = (0..viewers * VIEWS).map(|number| {
        let token = ViewToken {
            view: dice.roll(),
            ad: ads[dice.roll() as usize % ads.len()],
            viewer: viewer(number / VIEWS),
            feed: FEED,
            issued,
            show_by: 600,
            ..ViewToken::default()
        };
        let kind = v1::EventKind::Impression;
        Incoming::Ad { token, kind, at: None, suspect: None, network: 0 }
    });
    record(node, views.collect(), runtime)?;
    clock.set(clock.now().plus_ms(SECOND_MS));
    let sales = (0..viewers * CONVERSIONS).map(|number| {
        let sale = Conversion {
            tenant: 0,
            event_id: format!("order {number}"),
            name: "Purchase".into(),
            value: Some(v1::Money { micros: 5_000_000, currency: "MXN".into() }),
            at: None,
            origin: Origin::Viewer { account: *account },
            viewer: viewer(number / CONVERSIONS),
        };
        Incoming::Converted(Box::new(sale))
    });
    record(node, sales.collect(), runtime)?;
    runtime.block_on(node.settled()).map_err(|refusal| refusal.message.to_string())?;
    Ok((viewers * CONVERSIONS) as usize)
}

fn record(
    node: &Node,
    items: Vec<Incoming>,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Failure> {
    for batch in items.chunks(BATCH) {
        let pending = node.record(batch.to_vec()).map_err(|refusal| refusal.message.to_string())?;
        let verdicts = runtime.block_on(pending).map_err(|refusal| refusal.message.to_string())?;
        let recorded = |verdict: &Verdict| matches!(verdict, Verdict::Recorded { .. });
        if let Some(other) = verdicts.iter().find(|verdict| !recorded(verdict)) {
            return Err(format!("not recorded: {other:?}").into());
        }
    }
    Ok(())
}

fn signed<T>(message: T) -> Result<Request<T>, Failure> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer()?);
    Ok(request)
}

fn bearer() -> Result<AsciiMetadataValue, Failure> {
    Ok(format!("Bearer mk_analytics_{SECRET}").parse()?)
}

/// Asks for the report until it has every conversion; returns the milliseconds of the last answer.
async fn report(node: &Node, endpoint: &Endpoint, conversions: usize) -> Result<f64, Failure> {
    let mut client = ReportServiceClient::new(endpoint.connect().await?);
    let ask = || signed(v1::QueryReportRequest::default());
    client.query_report(ask()?).await?;
    node.settled().await.map_err(|refusal| refusal.message.to_string())?;
    let began = Instant::now();
    let told = client.query_report(ask()?).await?.into_inner();
    let took = began.elapsed().as_secs_f64() * 1e3;
    let found: u64 = told.rows.iter().map(|row| row.conversions).sum();
    if found == conversions as u64 {
        Ok(took)
    } else {
        Err(format!("{found} of {conversions} conversions are reported").into())
    }
}

async fn pull_all(endpoint: &Endpoint) -> Result<usize, Failure> {
    let client = AttributionServiceClient::new(endpoint.connect().await?);
    let mut client = client.max_decoding_message_size(16 << 20);
    let request = signed(v1::PullAttributionsRequest::default())?;
    let mut stream = client.pull_attributions(request).await?.into_inner();
    let mut rows = 0;
    while let Some(page) = stream.message().await? {
        rows += page.rows.len();
    }
    Ok(rows)
}

/// Merges the same rows without a door.
fn merge_all(node: &Node) -> Result<usize, Failure> {
    let (front, end) = (node.front(), node.now());
    let (mut cursor, mut rows) = (SeqVector::default(), 0);
    loop {
        let page = front.pull_before(Scope { tenant: TENANT, any: false }, &cursor, end);
        rows += page.rows.len();
        if !page.more {
            return Ok(rows);
        }
        cursor = page.cursor;
    }
}
