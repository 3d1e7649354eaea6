//! The load: a closed loop over HTTP/2 that sends encoded bytes and only counts the answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::Failure;
use crate::support::child::Target;
use crate::support::codec::{Answer, Question, Raw};

/// Threads that make the load; the servers have as many.
const THREADS: usize = 2;

/// Which method is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Unary,
    Stream,
}

impl Mode {
    /// Returns the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
        }
    }

    fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Self::Unary => "/munadi.v1.AdService/RequestAds",
            Self::Stream => "/munadi.v1.AdService/StreamAds",
        })
    }
}

/// How many requests are open at once, and over what. A call in flight is a stream of its own, so
/// `streams` counts only where the method streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) in_flight: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, streams, in_flight, .. } = self;
        match self.mode {
            Mode::Unary => write!(out, "{connections} connections x {in_flight} in flight"),
            Mode::Stream => {
                write!(out, "{connections} connections x {streams} streams x {in_flight} in flight")
            }
        }
    }
}

/// What has been answered so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) trays: u64,
    pub(crate) bytes: u64,
    pub(crate) ads: u64,
}

/// One thread's totals, still moving.
#[derive(Default)]
struct Tally {
    trays: AtomicU64,
    bytes: AtomicU64,
    ads: AtomicU64,
}

impl Tally {
    fn add(&self, answer: &Answer) {
        self.trays.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(answer.bytes, Ordering::Relaxed);
        self.ads.fetch_add(answer.ads, Ordering::Relaxed);
    }
}

/// A load that is running.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tallies: Vec<Arc<Tally>>,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Load {
    /// Starts to call the target.
    pub(crate) fn start(target: &Target, shape: Shape) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = Self { stop, tallies: Vec::new(), threads: Vec::new() };
        let key = format!("Bearer {}", target.key).parse()?;
        for thread in 0..THREADS {
            let tally = Arc::new(Tally::default());
            let lane = Lane {
                mode: shape.mode,
                key: AsciiMetadataValue::clone(&key),
                turn: 0,
                stop: load.stop.clone(),
                tally: tally.clone(),
            };
            let endpoint = Endpoint::from_shared(format!("http://{}", target.address))?;
            load.tallies.push(tally);
            load.threads.push(std::thread::spawn(move || drive(&endpoint, shape, thread, &lane)));
        }
        Ok(load)
    }

    /// Returns what has been answered so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for tally in &self.tallies {
            totals.trays += tally.trays.load(Ordering::Relaxed);
            totals.bytes += tally.bytes.load(Ordering::Relaxed);
            totals.ads += tally.ads.load(Ordering::Relaxed);
        }
        totals
    }

    /// Tells whether no thread has given up.
    pub(crate) fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Ends the load after the calls in flight. Tells of the first call that failed.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "a thread of the load panicked")??;
        }
        Ok(())
    }
}

/// Runs one thread's share of the connections until the load is stopped.
fn drive(endpoint: &Endpoint, shape: Shape, thread: usize, lane: &Lane) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut lanes = JoinSet::new();
        for connection in (thread..shape.connections).step_by(THREADS) {
            let channel = endpoint.connect().await?;
            for number in 0..lanes_of(shape) {
                let client = Grpc::new(channel.clone());
                let lane = lane.starting_at(connection * lanes_of(shape) + number);
                match shape.mode {
                    Mode::Unary => lanes.spawn(lane.call(client)),
                    Mode::Stream => lanes.spawn(lane.stream(client, shape.in_flight)),
                };
            }
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        Ok(())
    })
}

fn lanes_of(shape: Shape) -> usize {
    match shape.mode {
        Mode::Unary => shape.in_flight,
        Mode::Stream => shape.streams,
    }
}

/// One loop of requests.
#[derive(Clone)]
struct Lane {
    mode: Mode,
    key: AsciiMetadataValue,
    turn: u32,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Lane {
    /// Returns the same, but far from the other lanes' turns.
    fn starting_at(&self, number: usize) -> Self {
        Self { turn: (number as u32).wrapping_mul(0x0001_F123), ..self.clone() }
    }

    /// Calls, waits for the answer, and calls again.
    async fn call(mut self, mut client: Grpc<Channel>) -> Result<(), Status> {
        while !self.stop.load(Ordering::Relaxed) {
            let question = self.question(0);
            ready(&mut client).await?;
            let answer = client.unary(self.with_key(question), self.mode.path(), Raw(self.mode));
            self.tally.add(answer.await?.get_ref());
        }
        Ok(())
    }

    /// Keeps so many questions open in one stream; each answer lets the next one go.
    async fn stream(mut self, mut client: Grpc<Channel>, in_flight: usize) -> Result<(), Status> {
        let (questions, queue) = mpsc::channel(in_flight);
        let mut sent = 0;
        while sent < in_flight as u64 {
            ask(&questions, self.question(sent)).await?;
            sent += 1;
        }
        ready(&mut client).await?;
        let request = self.with_key(ReceiverStream::new(queue));
        let answers = client.streaming(request, self.mode.path(), Raw(self.mode)).await?;
        let mut answers = answers.into_inner();
        let mut answered = 0;
        while let Some(answer) = answers.message().await? {
            if answer.sequence != answered {
                return Err(Status::data_loss("the answers are not in the questions' order"));
            }
            answered += 1;
            self.tally.add(&answer);
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            ask(&questions, self.question(sent)).await?;
            sent += 1;
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Status::aborted("the server ended the stream"))
    }

    fn question(&mut self, sequence: u64) -> Question {
        self.turn = self.turn.wrapping_add(1);
        Question { turn: self.turn, sequence }
    }

    fn with_key<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        request
    }
}

async fn ready(client: &mut Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))
}

async fn ask(questions: &mpsc::Sender<Question>, question: Question) -> Result<(), Status> {
    questions.send(question).await.map_err(|_| Status::aborted("the stream is closed"))
}
