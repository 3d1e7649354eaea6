//! Answers that come page by page, as fast as the caller takes them.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::rpc::services::Answers;

/// Pages that wait for a slow caller.
const PAGES_AHEAD: usize = 2;

/// Where pages are sent to.
#[derive(Debug)]
pub(super) struct Pages<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Pages<T> {
    /// Sends a page when there is room for it; false: the caller has gone.
    pub(super) async fn send(&self, page: T) -> bool {
        self.0.send(Ok(page)).await.is_ok()
    }

    /// Waits until the caller has gone.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Streams what some work sends, and the status that ends it, if one does.
pub(super) fn paged<T, F>(work: impl FnOnce(Pages<T>) -> F) -> Response<Answers<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
    let work = work(Pages(sender.clone()));
    tokio::spawn(async move {
        if let Err(status) = work.await {
            // A caller that has gone needs no answer.
            let _ = sender.send(Err(status)).await;
        }
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}
