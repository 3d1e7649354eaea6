//! Batches on their way to the node, several at a time, and what it answers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};

use tokio::sync::mpsc::{Receiver, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::cli::import::ImportArgs;
use crate::cli::import::batches::{Batch, Place};
use crate::cli::import::summary::{Rejects, Report, Why};
use crate::cli::report::ReportError;
use crate::types::proto::v1::import_service_client::ImportServiceClient;
use crate::types::proto::v1::{
    ImportEventsRequest, ImportEventsResponse, ImportOutcome, ImportedEvent,
};

/// Messages of one call: a node asks long connections to come again, and the next call does.
const CALL_MESSAGES_MAX: usize = 500;

/// Rows between two words on how far it is.
const PROGRESS_EVERY: u64 = 250_000;

/// What was sent and not answered.
struct Sent {
    sequence: u64,
    events: Vec<ImportedEvent>,
    places: Vec<Place>,
}

/// What both directions of a call share: they run in turns, never at the same time.
struct Shared<'a> {
    files: Vec<String>,
    report: Report,
    rejects: &'a mut Rejects,
    progress: &'a mut dyn Write,
    waiting: VecDeque<Sent>,
    sequence: u64,
}

impl Shared<'_> {
    /// Writes down the bad rows of a batch, and returns the message that carries its events.
    fn message(&mut self, args: &ImportArgs, batch: Batch) -> io::Result<ImportEventsRequest> {
        let Batch { events, places, bad, .. } = batch;
        for bad in bad {
            let Place { file, line } = bad.place;
            let (reason, field) = (bad.refusal.reason.name(), &*bad.refusal.field);
            self.report.note_bad(reason, field);
            let message = &*bad.refusal.message;
            let why = Why { file: &self.files[file], line, reason, field, message };
            self.rejects.put(bad.row, why)?;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let message = ImportEventsRequest {
            sequence,
            feed_id: args.feed,
            dry_run: args.dry_run,
            events: events.clone(),
        };
        if !events.is_empty() {
            self.waiting.push_back(Sent { sequence, events, places });
        }
        Ok(message)
    }

    /// Counts an answer.
    fn answered(&mut self, answer: &ImportEventsResponse) -> Result<(), ReportError> {
        let sent = self.waiting.pop_front().filter(|sent| {
            sent.sequence == answer.sequence && sent.events.len() == answer.results.len()
        });
        let sent = sent.ok_or_else(|| {
            let message = "the answer is to another message: import the files again";
            ReportError::Refused(Box::new(Status::data_loss(message)))
        })?;
        for ((event, place), result) in sent.events.iter().zip(sent.places).zip(&answer.results) {
            self.report.note(event.r#type(), result);
            if result.outcome() == ImportOutcome::Refused {
                let (file, line) = (&*self.files[place.file], place.line);
                let (reason, field, message) = (&*result.reason, &*result.field, &*result.message);
                self.rejects.put_event(event, Why { file, line, reason, field, message })?;
            }
        }
        let before = self.report.rows - sent.events.len() as u64;
        if before / PROGRESS_EVERY != self.report.rows / PROGRESS_EVERY {
            // A closed pipe is no reason to stop.
            let _ = writeln!(self.progress, "{} rows", self.report.rows);
        }
        Ok(())
    }
}

/// Sends all batches, and returns what became of their rows.
///
/// # Errors
/// When the node can't be asked or refuses, or what was rejected can't be written.
pub(super) async fn send(
    args: &ImportArgs,
    mut batches: Receiver<io::Result<Batch>>,
    rejects: &mut Rejects,
    progress: &mut dyn Write,
) -> Result<Report, ReportError> {
    let (bearer, addr) = (args.caller.bearer()?, &args.caller.addr);
    let endpoint = Endpoint::from_shared(addr.clone());
    let endpoint = endpoint.map_err(|_| ReportError::Address(addr.clone()))?;
    let connected = endpoint.connect().await;
    let connected = connected.map_err(|error| ReportError::Connect(addr.clone(), error))?;
    let mut client = ImportServiceClient::new(connected);
    let files = args.files.iter().map(|file| file.display().to_string()).collect();
    let report = Report { dry_run: args.dry_run, ..Report::default() };
    let (waiting, sequence) = (VecDeque::new(), 0);
    let shared = RefCell::new(Shared { files, report, rejects, progress, waiting, sequence });
    while let Some(first) = batches.recv().await {
        let rest = &mut batches;
        call(args, &bearer, &mut client, first?, rest, &shared).await?;
    }
    let Shared { mut report, rejects, .. } = shared.into_inner();
    report.rejects = rejects.name();
    Ok(report)
}

/// Makes one call: sends its first batch and those after it, and counts the answers as they come.
async fn call(
    args: &ImportArgs,
    bearer: &AsciiMetadataValue,
    client: &mut ImportServiceClient<Channel>,
    first: Batch,
    batches: &mut Receiver<io::Result<Batch>>,
    shared: &RefCell<Shared<'_>>,
) -> Result<(), ReportError> {
    let (sender, receiver) = channel(1);
    let sending = async {
        let mut next = Some(first);
        for left in (0..CALL_MESSAGES_MAX).rev() {
            let Some(batch) = next.take() else { break };
            let message = shared.borrow_mut().message(args, batch)?;
            // Whoever takes no more has said why, to the other side.
            if !message.events.is_empty() && sender.send(message).await.is_err() {
                break;
            }
            // What is received is sent: the last one of this call takes none for the next.
            if left > 0 {
                next = batches.recv().await.transpose()?;
            }
        }
        // The call ends when nothing more can come.
        drop(sender);
        Ok::<_, ReportError>(())
    };
    let answers = async {
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("authorization", bearer.clone());
        let refused = |status| ReportError::Refused(Box::new(status));
        let mut answers = client.import_events(request).await.map_err(refused)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(refused)? {
            shared.borrow_mut().answered(&answer)?;
        }
        Ok::<_, ReportError>(())
    };
    tokio::try_join!(sending, answers)?;
    if shared.borrow().waiting.is_empty() {
        return Ok(());
    }
    let message =
        "the answers ended too early: import the files again, what was counted counts once";
    Err(ReportError::Refused(Box::new(Status::unavailable(message))))
}
