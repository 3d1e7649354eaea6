//! A request's body, read whole into memory that is zeroed when it is let go.
//!
//! That memory never moves without being zeroed where it was, and there is no more of it than has come: who only says
//! that much will come takes little from the others. What lies in the server's own read buffer is not ours: it is
//! overwritten by the next request, and freed with the connection.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::web::limits::{
    APP_BODIES_BYTES_MAX, BODIES_BYTES_MAX, BODY_BYTES_MAX, BODY_FIRST_BYTES,
};

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

/// Returns the shares that the bodies of one app may have of all.
pub(super) const fn shares_of_app() -> Semaphore {
    Semaphore::const_new(APP_BODIES_BYTES_MAX / SHARE_BYTES)
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

    /// Reads a body whole, out of what its app may have.
    pub(super) async fn read(
        &self,
        of_app: &Semaphore,
        body: Incoming,
    ) -> Result<Zeroizing<Vec<u8>>, BadBody> {
        let told = body.size_hint().upper();
        let most = told.map_or(BODY_BYTES_MAX, |told| usize::try_from(told).unwrap_or(usize::MAX));
        if most > BODY_BYTES_MAX {
            let _ = timeout(self.patience, pass_over(body)).await;
            return Err(BadBody::TooLarge);
        }
        let room = Room::new(&self.shares, of_app, most)?;
        timeout(self.patience, whole(body, room)).await.map_err(|_| BadBody::TooSlow)?
    }
}

async fn whole(mut body: Incoming, mut room: Room<'_>) -> Result<Zeroizing<Vec<u8>>, BadBody> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BadBody::Broken)?;
        let Some(part) = frame.data_ref() else { continue };
        match room.put(part) {
            Err(BadBody::TooLarge) => {
                drop(room);
                pass_over(body).await;
                return Err(BadBody::TooLarge);
            }
            put => put?,
        }
    }
    Ok(room.bytes)
}

/// The memory that one body has.
struct Room<'a> {
    bytes: Zeroizing<Vec<u8>>,
    /// Bytes that it may become at the most.
    most: usize,
    all: &'a Semaphore,
    of_app: &'a Semaphore,
    held: [SemaphorePermit<'a>; 2],
}

impl<'a> Room<'a> {
    fn new(all: &'a Semaphore, of_app: &'a Semaphore, most: usize) -> Result<Self, BadBody> {
        let first = most.min(BODY_FIRST_BYTES);
        let held = taken(all, of_app, first.div_ceil(SHARE_BYTES))?;
        let bytes = Zeroizing::new(Vec::with_capacity(first));
        Ok(Self { bytes, most, all, of_app, held })
    }

    /// Puts a part behind those that have come.
    fn put(&mut self, part: &[u8]) -> Result<(), BadBody> {
        let length = self.bytes.len() + part.len();
        if length > self.most {
            return Err(BadBody::TooLarge);
        }
        if length > self.bytes.capacity() {
            let room = length.next_power_of_two().min(self.most);
            let more = room.div_ceil(SHARE_BYTES) - self.held[0].num_permits();
            let [all, of_app] = taken(self.all, self.of_app, more)?;
            self.held[0].merge(all);
            self.held[1].merge(of_app);
            // The old memory is zeroed when it is let go; a vector that grows by itself would not do so.
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }
}

/// Takes shares of both, or of none.
fn taken<'a>(
    all: &'a Semaphore,
    of_app: &'a Semaphore,
    shares: usize,
) -> Result<[SemaphorePermit<'a>; 2], BadBody> {
    let of =
        |memory: &'a Semaphore| memory.try_acquire_many(shares as u32).map_err(|_| BadBody::Busy);
    Ok([of(all)?, of(of_app)?])
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

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1_024;

    #[test]
    fn a_body_has_no_more_than_has_come() {
        let (all, app) = (Semaphore::new(100), Semaphore::new(80));
        let mut room = Room::new(&all, &app, 64 * KIB).unwrap();
        assert_eq!((all.available_permits(), app.available_permits()), (84, 64), "nothing came");
        let part = [7; 10 * KIB];
        for (comes, held) in [(0, 16), (10, 16), (20, 32), (30, 32), (40, 64), (50, 64), (60, 64)] {
            assert_eq!(room.bytes.len(), (comes * KIB).saturating_sub(part.len()));
            room.put(&part[..if comes == 0 { 0 } else { part.len() }]).unwrap();
            assert_eq!(all.available_permits(), 100 - held, "{comes}");
            assert_eq!(app.available_permits(), 80 - held, "{comes}");
        }
        assert!(room.bytes.iter().all(|byte| *byte == 7));
        assert_eq!(room.put(&part), Err(BadBody::TooLarge), "more than was told");
        drop(room);
        assert_eq!((all.available_permits(), app.available_permits()), (100, 80));
    }

    #[test]
    fn a_small_body_has_what_it_says() {
        let (all, app) = (Semaphore::new(20), Semaphore::new(20));
        let mut room = Room::new(&all, &app, 2 * KIB + 1).unwrap();
        assert_eq!(all.available_permits(), 17);
        room.put(&[1; 2 * KIB + 1]).unwrap();
        assert_eq!(all.available_permits(), 17);
        assert!(Room::new(&all, &app, 0).unwrap().put(&[]).is_ok(), "one without anything in it");
    }

    #[test]
    fn one_apps_bodies_leave_room_for_anothers() {
        let (all, one, other) = (Semaphore::new(64), Semaphore::new(32), Semaphore::new(32));
        let mut first = Room::new(&all, &one, 64 * KIB).unwrap();
        let _second = Room::new(&all, &one, 64 * KIB).unwrap();
        assert_eq!(Room::new(&all, &one, KIB).err(), Some(BadBody::Busy));
        assert_eq!(first.put(&[0; 17 * KIB]), Err(BadBody::Busy), "it can't grow either");
        assert_eq!(all.available_permits(), 32, "what was refused keeps nothing");
        assert!(Room::new(&all, &other, 64 * KIB).is_ok());
    }
}
