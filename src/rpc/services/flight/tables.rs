//! The batches of each table: made some thousand rows at a time, on threads that may take their time, while the
//! caller reads the ones before.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_schema::SchemaRef;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::node::{Node, Readable, TransfersAsked};
use crate::report::columnar::conversations::ConversationRow;
use crate::report::columnar::touches::TouchRow;
use crate::report::columnar::transfers::TransferRow;
use crate::report::columnar::{
    Filling, Table, attributions, conversations, reports, touches, transfers,
};
use crate::report::pull::closed_before;
use crate::report::query::Query;
use crate::rpc::limits::FLIGHT_BATCH_ROWS;
use crate::rpc::parse::reports::query;
use crate::rpc::parse::tables::Ticket;
use crate::rpc::services::aside;
use crate::rpc::services::flight::broken;
use crate::state::credit::timestamp;
use crate::types::proto::v1::QueryReportResponse;
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Batches of one table that wait for a slow caller.
const BATCHES_AHEAD: usize = 2;

/// Where a stream's schema says up to when its rows are complete, RFC 3339.
const COMPLETE_KEY: &str = "munadi.complete_up_to";

/// Where a report's schema says how much of it is expected to be counted by now.
const SETTLED_KEY: &str = "munadi.settled_fraction";

/// Where a stream's schema names the journal that its rows are of.
const JOURNAL_KEY: &str = "munadi.journal";

/// Where a stream's schema says whose rows the key may see.
const SCOPE_KEY: &str = "munadi.scope";

/// Makes the next batch of a table; `None`: there is none any more.
type Next = Box<dyn FnMut(&Node) -> Result<Option<RecordBatch>, Status> + Send>;

/// A table whose rows are on their way.
pub(super) struct Opened {
    schema: SchemaRef,
    next: Next,
}

/// Finds what a ticket asks for.
pub(super) async fn open(
    node: &Arc<Node>,
    places: &Arc<Semaphore>,
    scope: Scope,
    ticket: Ticket,
) -> Result<Opened, Status> {
    let now = node.settled().await?;
    if ticket.table == Table::Reports {
        return report(node, places, scope, (ticket, now)).await;
    }
    let closed = closed_before(now);
    let end = ticket.end.map_or(closed, |end| end.min(closed));
    let span = [ticket.start, end];
    let readable = node.front().readable(scope, ticket.account)?;
    let schema = schema(node, scope, ticket.table, [(COMPLETE_KEY, Some(written(end)))]);
    let columns = Arc::clone(&schema);
    let next: Next = match ticket.table {
        Table::Attributions => of_attributions(node, columns, readable, span),
        Table::Touches => of_touches(node, columns, readable, span),
        Table::Conversations => of_conversations(columns, readable, span),
        Table::Transfers => of_transfers(columns, readable, (scope, span, now)),
        Table::Reports => Box::new(|_| Ok(None)),
    };
    Ok(Opened { schema, next })
}

/// Sends a table batch by batch, none before there is room for it.
pub(super) fn send(
    node: &Arc<Node>,
    places: &Arc<Semaphore>,
    opened: Opened,
) -> impl Stream<Item = Result<FlightData, Status>> + Send + use<> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(pump(Arc::clone(node), Arc::clone(places), opened.next, sender));
    let encoder = FlightDataEncoderBuilder::new()
        .with_schema(opened.schema)
        .with_dictionary_handling(DictionaryHandling::Resend);
    encoder.build(ReceiverStream::new(receiver)).map(|data| data.map_err(Status::from))
}

async fn pump(
    node: Arc<Node>,
    places: Arc<Semaphore>,
    mut next: Next,
    sender: mpsc::Sender<Result<RecordBatch, FlightError>>,
) {
    loop {
        let work = move |node: &Node| {
            let made = next(node);
            (made, next)
        };
        let made = aside(&node, &places, work).await;
        let (sent, again) = match made {
            Ok((Ok(Some(batch)), again)) => (Ok(batch), Some(again)),
            Ok((Ok(None), _)) => return,
            Ok((Err(status), _)) | Err(status) => (Err(FlightError::from(status)), None),
        };
        // A caller that has gone needs no answer.
        let gone = sender.send(sent).await.is_err();
        match again {
            Some(again) if !gone => next = again,
            _ => return,
        }
    }
}

fn schema<const N: usize>(
    node: &Node,
    scope: Scope,
    table: Table,
    told: [(&str, Option<String>); N],
) -> SchemaRef {
    let mut schema = table.schema();
    let whose = if scope.any { "all".to_owned() } else { format!("tenant {}", scope.tenant) };
    schema.metadata.insert(JOURNAL_KEY, node.journal().to_string());
    schema.metadata.insert(SCOPE_KEY, whose);
    for (key, text) in told {
        if let Some(text) = text {
            schema.metadata.insert(key, text);
        }
    }
    Arc::new(schema)
}

fn written(moment: Moment) -> String {
    jiff::Timestamp::from_millisecond(moment.0).unwrap_or_default().to_string()
}

fn of_attributions(node: &Node, schema: SchemaRef, of: Readable, span: [Moment; 2]) -> Next {
    let mut walk = node.front().walk(span[0], span[1]);
    Box::new(move |node| {
        let mut filling =
            Filling::new(Arc::clone(&schema), attributions::COLUMNS, FLIGHT_BATCH_ROWS);
        node.front().walk_on(&mut walk, &of, |credit| {
            filling.push(credit);
            filling.rows() < FLIGHT_BATCH_ROWS
        });
        filling.finish().map_err(broken)
    })
}

fn of_touches(node: &Node, schema: SchemaRef, of: Readable, span: [Moment; 2]) -> Next {
    let mut walk = node.front().walk(span[0], span[1]);
    Box::new(move |node| {
        let mut filling = Filling::new(Arc::clone(&schema), touches::COLUMNS, FLIGHT_BATCH_ROWS);
        node.front().walk_on(&mut walk, &of, |credit| {
            TouchRow::of(credit).for_each(|row| filling.push(&row));
            filling.rows() < FLIGHT_BATCH_ROWS
        });
        filling.finish().map_err(broken)
    })
}

fn of_conversations(schema: SchemaRef, of: Readable, span: [Moment; 2]) -> Next {
    let mut bucket = Some(0);
    Box::new(move |node| {
        let mut filling =
            Filling::new(Arc::clone(&schema), conversations::COLUMNS, FLIGHT_BATCH_ROWS);
        while filling.rows() < FLIGHT_BATCH_ROWS
            && let Some(open) = bucket
        {
            bucket = node.front().conversations_of(open, span, &of, |account_id, last, it| {
                let last_event_time = Some(timestamp(last.0));
                filling.push(&ConversationRow { account_id, last_event_time, conversation: it });
            });
        }
        filling.finish().map_err(broken)
    })
}

fn of_transfers(
    schema: SchemaRef,
    of: Readable,
    (scope, [start, end], now): (Scope, [Moment; 2], Moment),
) -> Next {
    let mut accounts = of.accounts.into_iter();
    let mut open = None;
    Box::new(move |node| {
        let mut filling = Filling::new(Arc::clone(&schema), transfers::COLUMNS, FLIGHT_BATCH_ROWS);
        while filling.rows() < FLIGHT_BATCH_ROWS
            && let Some((account, after)) =
                open.take().or_else(|| accounts.next().map(|account| (account, None)))
        {
            let limit = FLIGHT_BATCH_ROWS - filling.rows();
            let asked = TransfersAsked { account, start, end: Some(end), after, limit };
            let (page, last) = node.front().transfers(scope, asked, now)?;
            for transfer in page {
                filling.push(&TransferRow { account_id: account, transfer });
            }
            open = last.map(|last| (account, Some(last)));
        }
        filling.finish().map_err(broken)
    })
}

async fn report(
    node: &Arc<Node>,
    places: &Arc<Semaphore>,
    scope: Scope,
    (ticket, now): (Ticket, Moment),
) -> Result<Opened, Status> {
    let (_, query) = query(ticket.report, scope, now, &node.opener())?;
    let asked = query.clone();
    let first = move |node: &Node| node.front().report(scope, &asked, now);
    let (first, then) = aside(node, places, first).await??;
    let told = [
        (COMPLETE_KEY, first.complete_up_to.map(|time| written(Moment::from(&time)))),
        (SETTLED_KEY, first.settled_fraction.map(|fraction| fraction.to_string())),
    ];
    let schema = schema(node, scope, Table::Reports, told);
    let next = of_report(Arc::clone(&schema), query, (scope, now), (first, then));
    Ok(Opened { schema, next })
}

fn of_report(
    schema: SchemaRef,
    query: Query,
    (scope, now): (Scope, Moment),
    (first, then): (QueryReportResponse, Option<u64>),
) -> Next {
    let mut page = Some(first);
    let mut then = then;
    Box::new(move |node| {
        let rows = match (page.take(), then.take()) {
            (Some(first), next) => {
                then = next;
                first.rows
            }
            (None, Some(skip)) => {
                let asked = Query { skip, ..query.clone() };
                let (page, next) = node.front().report(scope, &asked, now)?;
                then = next;
                page.rows
            }
            (None, None) => Vec::new(),
        };
        let mut filling = Filling::new(Arc::clone(&schema), reports::COLUMNS, rows.len());
        rows.iter().for_each(|row| filling.push(row));
        filling.finish().map_err(broken)
    })
}
