//! The wall clock of a serving process jumps: an hour back, an hour ahead, three days ahead.
//!
//! A library that a C compiler makes on the spot moves the clock of the process alone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use munadi::cli::audit::audit;
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::proto::v1::{EventKind, ItemOutcome, ItemResult};
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::Channel;

use crate::calls::{self, Given};
use crate::journal::{Named, once_each, sealer};
use crate::server::Server;
use crate::{shim, shops};

const SOURCE: &str = include_str!("moved_clock.c");

/// Where the clock stands beside the machine's, seconds, one after the other.
const JUMPS_S: [i64; 4] = [0, -3_600, 3_600, 3 * 86_400];

/// Ads that are asked for after each jump.
const ADS_LEAST: usize = 60;

/// Before a tray is asked for again where one was empty.
const PAUSE: Duration = Duration::from_millis(5);

/// How far a token's time may be from the clock that it was made by, seconds: a busy machine is slow.
const APART_MAX_S: i64 = 60;

/// A library that moves a process's clock.
struct Shim {
    library: PathBuf,
    offset: PathBuf,
}

impl Shim {
    /// Compiles the library, if it can be.
    fn compiled(folder: &Path) -> Option<Self> {
        let library = shim::compiled(folder, "moved_clock", SOURCE)?;
        let shim = Self { library, offset: folder.join("offset") };
        File::create(&shim.offset).unwrap();
        shim.jump(0);
        Some(shim)
    }

    /// Moves the clock to so many seconds ahead of the machine's.
    fn jump(&self, seconds: i64) {
        // The process has the file mapped: it is written over, never cut.
        let mut file = OpenOptions::new().write(true).open(&self.offset).unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    }

    fn start(&self, folder: &Path) -> Server {
        let variables =
            [("LD_PRELOAD", self.library.as_path()), ("MOVED_CLOCK", self.offset.as_path())];
        Server::start_with(folder, &variables)
    }
}

#[test]
fn a_clock_that_jumps_loses_no_event_and_overcharges_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(shim) = Shim::compiled(folder) else { return };
    let runtime = calls::runtime();
    let server = shim.start(folder);
    let way = runtime.block_on(async { calls::way(&server) });
    let acknowledged = runtime.block_on(jumps(&shim, folder, &way)).unwrap();
    server.stop();
    // With the moved clock, and with the machine's again, three days before the journal's last time.
    for seconds in [JUMPS_S[3], 0] {
        shim.jump(seconds);
        let server = shim.start(folder);
        let served = runtime.block_on(async {
            calls::tray(&calls::way(&server), format!("viewer of {seconds}")).await
        });
        served.unwrap();
        server.stop();
    }
    assert!(!acknowledged.is_empty());
    once_each(folder, &acknowledged);
    let audited = audit(&folder.join("data")).unwrap();
    assert!(audited.equal && audited.complete, "{audited}");
    assert_eq!(audited.over_budget_micros, 0, "{audited}");
}

/// Asks for ads and tells of them after each jump; returns what was acknowledged.
async fn jumps(shim: &Shim, folder: &Path, way: &Channel) -> Result<Vec<Named>, Status> {
    shops::open(way).await?;
    let (mut acknowledged, mut late) = (Vec::new(), (0, Vec::new()));
    for seconds in JUMPS_S {
        shim.jump(seconds);
        let given = ads(way, seconds).await?;
        // A third is told by the clock by which it was handed out, the others after the next jump.
        let (now, after) = given.split_at(given.len().div_ceil(3));
        if seconds == JUMPS_S[3] {
            // Three days have gone since: no token of before opens any more.
            expired(way, &late.1).await?;
        } else {
            acknowledged.extend(told(way, folder, &late, seconds).await?);
        }
        let now = (seconds, now.to_vec());
        acknowledged.extend(told(way, folder, &now, seconds).await?);
        late = (seconds, after.to_vec());
    }
    Ok(acknowledged)
}

/// Asks for trays until there are so many ads. Just after a jump there may be none: budgets of the new day come with
/// the writer's next round.
async fn ads(way: &Channel, seconds: i64) -> Result<Vec<Given>, Status> {
    let clock = SystemClock::default();
    let mut given = Vec::new();
    for number in 0_u64.. {
        if given.len() >= ADS_LEAST {
            break;
        }
        assert!(clock.monotonic() < calls::PATIENCE, "too little is served {seconds} s away");
        let more = calls::tray(way, format!("viewer {seconds} {number}")).await?;
        if more.is_empty() {
            sleep(PAUSE).await;
        }
        given.extend(more);
    }
    Ok(given)
}

/// Tells that ads were seen which were handed out by a clock so many seconds away, all of which is new; returns their
/// names.
async fn told(
    way: &Channel,
    folder: &Path,
    (handed_out, given): &(i64, Vec<Given>),
    seconds: i64,
) -> Result<Vec<Named>, Status> {
    let sealer = sealer(folder);
    let now_s = i64::from(SystemClock::default().now().seconds());
    let moved_s = u32::try_from(now_s + seconds).expect("a near time");
    let mut named = Vec::new();
    for one in given {
        let token = sealer.open_view(&one.token, moved_s).expect("our own token");
        let apart = now_s + handed_out - i64::from(token.issued);
        assert!(apart.abs() <= APART_MAX_S, "the clock was not moved: {apart} s at {handed_out}");
        named.push((token.view, EventKind::Impression.into()));
    }
    for result in seen(way, given).await? {
        assert_eq!(result.outcome(), ItemOutcome::Recorded, "{seconds} s away: {result:?}");
    }
    Ok(named)
}

/// Tells that ads were seen whose tokens have ended: each is refused.
async fn expired(way: &Channel, given: &[Given]) -> Result<(), Status> {
    assert!(!given.is_empty(), "there are tokens of before");
    for result in seen(way, given).await? {
        assert_eq!((result.outcome(), &*result.reason), (ItemOutcome::Refused, "TOKEN_EXPIRED"));
    }
    Ok(())
}

async fn seen(way: &Channel, given: &[Given]) -> Result<Vec<ItemResult>, Status> {
    let events: Vec<_> = given.iter().map(|it| it.event(EventKind::Impression)).collect();
    if events.is_empty() {
        return Ok(Vec::new());
    }
    calls::record(way, events).await
}
