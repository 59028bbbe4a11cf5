//! How many answers are on their way at once.
//!
//! An answer is on its way until the kernel has taken its last byte. Whoever takes nothing of it gives way to others long before the patience
//! with clients is over. What is answered is there before a place is: those who wait for one may share it.

use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::{sleep, timeout},
};

use super::connections::Connections;
use crate::metrics::clients::Clients;

/// How long an answer waits for a place.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a client may take nothing while others wait.
const STILL: Duration = Duration::from_millis(100);
/// How often it is looked for one.
const PERIOD: Duration = Duration::from_millis(10);

/// The places for answers.
#[derive(Debug)]
pub struct Requests {
    places: Arc<Semaphore>,
    /// Those who wait, in order.
    queue: Mutex<()>,
}

/// A place. Dropped, it is given back.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// An answer that keeps its place as long as it is not taken whole.
struct Answer {
    bytes: Bytes,
    _place: Place,
}

// === impl Requests ===

impl Requests {
    /// So many places; 0: no limit.
    pub fn new(most: usize) -> Self {
        let most = match most {
            0 => Semaphore::MAX_PERMITS,
            most => most.min(Semaphore::MAX_PERMITS),
        };
        Self {
            places: Arc::new(Semaphore::new(most)),
            queue: Mutex::default(),
        }
    }

    /// A place, if there is one in time; whoever came first is first. A client that takes nothing of its answer loses its own, and its connection.
    pub async fn begin(&self, connections: &Connections, clients: &Clients) -> Option<Place> {
        let place = timeout(PATIENCE, async {
            let _first = self.queue.lock().await;
            self.next(connections, clients).await
        });
        let place = place.await.ok();
        if place.is_none() {
            clients.refused.set(clients.refused.get() + 1);
        }
        place
    }

    /// The next place that is free.
    async fn next(&self, connections: &Connections, clients: &Clients) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Place { _permit: permit };
            }
            if connections.close_stalled(STILL) {
                clients.stalled.set(clients.stalled.get() + 1);
                // It goes as soon as its task runs.
                yield_now().await;
            } else {
                sleep(PERIOD).await;
            }
        }
    }
}

// === impl Place ===

impl Place {
    /// The bytes of an answer, which keep the place until they are dropped.
    pub fn keep_for(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Answer { bytes, _place: self })
    }
}

// === impl Answer ===

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_back_with_the_last_byte() {
        let (requests, connections, clients) = (Requests::new(2), Connections::default(), Clients::default());
        let begin = || requests.begin(&connections, &clients);
        let (one, other) = (begin().await.unwrap(), begin().await.unwrap());
        assert!(begin().await.is_none());
        assert_eq!(clients.refused.get(), 1);
        let mut bytes = one.keep_for(Bytes::from_static(b"metrics"));
        assert!(begin().await.is_none());
        let rest = bytes.split_off(3);
        drop(bytes);
        assert!(begin().await.is_none());
        drop(rest);
        let third = begin().await;
        assert!(third.is_some() && begin().await.is_none());
        drop((other, third));
        assert!(begin().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn there_may_be_no_limit() {
        let (requests, connections, clients) = (Requests::new(0), Connections::default(), Clients::default());
        let mut places = Vec::new();
        for _ in 0..1000 {
            places.push(requests.begin(&connections, &clients).await.unwrap());
        }
        assert_eq!(clients.refused.get(), 0);
    }
}
