//! A request's body, read whole into memory that is zeroed when it is let go.
//!
//! That memory never moves without being zeroed where it was. What lies in the server's own read buffer is
//! not ours: it is overwritten by the next request, and freed with the connection.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::web::limits::{BODIES_BYTES_MAX, BODY_BYTES_MAX};

/// Bytes that are passed over of a body that is too large, so that its sender reads the answer.
const PASSED_OVER_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;

/// Bytes of one share of the memory of all bodies.
const SHARE_BYTES: usize = 1_024;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadBody {
    /// Beyond `BODY_BYTES_MAX`.
    TooLarge,
    /// Not there in time.
    TooSlow,
    /// It ended early.
    Broken,
    /// Too many bodies are being read.
    Busy,
}

/// The memory of all bodies that are being read.
pub(super) struct Memory {
    shares: Semaphore,
    /// How long a body may take.
    patience: Duration,
}

impl Memory {
    pub(super) const fn new(patience: Duration) -> Self {
        Self { shares: Semaphore::const_new(BODIES_BYTES_MAX / SHARE_BYTES), patience }
    }

    /// Reads a body whole.
    pub(super) async fn read(&self, body: Incoming) -> Result<Zeroizing<Vec<u8>>, BadBody> {
        let told = body.size_hint().upper();
        let most = told.map_or(BODY_BYTES_MAX, |told| usize::try_from(told).unwrap_or(usize::MAX));
        if most > BODY_BYTES_MAX {
            let _ = timeout(self.patience, pass_over(body)).await;
            return Err(BadBody::TooLarge);
        }
        let shares = most.div_ceil(SHARE_BYTES) as u32;
        let _share = self.shares.try_acquire_many(shares).map_err(|_| BadBody::Busy)?;
        timeout(self.patience, whole(body, told.map(|_| most)))
            .await
            .map_err(|_| BadBody::TooSlow)?
    }
}

async fn whole(mut body: Incoming, told: Option<usize>) -> Result<Zeroizing<Vec<u8>>, BadBody> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(told.unwrap_or(SHARE_BYTES)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BadBody::Broken)?;
        let Some(part) = frame.data_ref() else { continue };
        let length = bytes.len() + part.len();
        if length > BODY_BYTES_MAX {
            pass_over(body).await;
            return Err(BadBody::TooLarge);
        }
        if length > bytes.capacity() {
            // The old memory is zeroed when it is let go; a vector that grows by itself would not do so.
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

async fn pass_over(mut body: Incoming) {
    let mut passed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        passed += frame.data_ref().map_or(0, |part| part.len());
        if passed > PASSED_OVER_BYTES_MAX {
            return;
        }
    }
}
