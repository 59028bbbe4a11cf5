//! How long the requests of each route have waited: histograms of their time in the queue and in the run queue.
//!
//! What is not above the first bound is not counted as such: it is all the other requests. Two numbers that are read one
//! after the other make it, so it is kept from going down.

use foldhash::HashMap;
use vigie_ebpf::types::{PHASE_BOUNDS, PHASE_BOUNDS_NS, SeriesKey, Waits, bucket};

/// How many buckets there are: one for each bound, and one above the last.
const BUCKETS: usize = PHASE_BOUNDS + 1;

/// The buckets of a route's two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitBuckets {
    /// Requests by their time in the queue.
    pub queue: [u64; BUCKETS],
    /// Requests by their time in the run queue.
    pub runqueue: [u64; BUCKETS],
}

/// The shortest waits of each route, as they were last shown: those in the queue, and in the run queue.
#[derive(Debug, Default)]
pub struct Shown(HashMap<SeriesKey, (u64, u64)>);

/// Counts a wait of `time` nanoseconds, if it is above the first bound.
fn count(buckets: &mut [u64; PHASE_BOUNDS], time: u64) {
    if let Some(place) = bucket(&PHASE_BOUNDS_NS, time).checked_sub(1) {
        buckets[place] += 1;
    }
}

/// Counts a request that waited for so many nanoseconds.
pub fn count_request(waits: &mut Waits, queue: u64, runqueue: u64) {
    count(&mut waits.queue, queue);
    count(&mut waits.runqueue, runqueue);
}

/// Adds other waits.
pub fn add(sum: &mut Waits, other: &Waits) {
    let Waits { queue, runqueue } = other;
    for (total, count) in sum.queue.iter_mut().zip(queue) {
        *total += count;
    }
    for (total, count) in sum.runqueue.iter_mut().zip(runqueue) {
        *total += count;
    }
}

/// What is left when a part is taken away.
pub fn without(all: &Waits, part: &Waits) -> Waits {
    let mut rest = *all;
    let queue = rest.queue.iter_mut().zip(part.queue);
    let runqueue = rest.runqueue.iter_mut().zip(part.runqueue);
    for (count, less) in queue.chain(runqueue) {
        *count = count.saturating_sub(less);
    }
    rest
}

fn complete(long: &[u64; PHASE_BOUNDS], requests: u64, shown: &mut u64) -> [u64; BUCKETS] {
    let mut buckets = [0; BUCKETS];
    buckets[1..].copy_from_slice(long);
    *shown = requests.saturating_sub(long.iter().sum()).max(*shown);
    buckets[0] = *shown;
    buckets
}

// === impl Shown ===

impl Shown {
    /// The buckets of a route that has answered `requests`, of which these waits were long. The requests have to be read
    /// before the waits.
    pub fn complete(&mut self, route: SeriesKey, requests: u64, waits: &Waits) -> WaitBuckets {
        let (queue, runqueue) = self.0.entry(route).or_default();
        WaitBuckets {
            queue: complete(&waits.queue, requests, queue),
            runqueue: complete(&waits.runqueue, requests, runqueue),
        }
    }
}

impl Shown {
    /// Forgets a route.
    pub fn forget(&mut self, route: &SeriesKey) {
        self.0.remove(route);
    }
}

// === impl WaitBuckets ===

impl WaitBuckets {
    /// Those that are counted one by one: all but the shortest.
    pub fn long(&self) -> Waits {
        let mut long = Waits::default();
        long.queue.copy_from_slice(&self.queue[1..]);
        long.runqueue.copy_from_slice(&self.runqueue[1..]);
        long
    }

    /// Adds another route's.
    pub fn add(&mut self, other: &Self) {
        let Self { queue, runqueue } = other;
        for (total, count) in self.queue.iter_mut().zip(queue) {
            *total += count;
        }
        for (total, count) in self.runqueue.iter_mut().zip(runqueue) {
            *total += count;
        }
    }

    /// What is left when a part is taken away.
    pub fn without(&self, part: &Self) -> Self {
        let mut rest = *self;
        for (count, less) in rest.queue.iter_mut().zip(part.queue) {
            *count -= less;
        }
        for (count, less) in rest.runqueue.iter_mut().zip(part.runqueue) {
            *count -= less;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_are_the_others() {
        let mut waits = Waits::default();
        for (queue, runqueue) in [(100_000, 0), (100_001, 600_000), (6_000_000_000, 99)] {
            count_request(&mut waits, queue, runqueue);
        }
        let buckets = Shown::default().complete(SeriesKey::default(), 3, &waits);
        assert_eq!(
            (buckets.queue[0], buckets.queue[1], buckets.queue[PHASE_BOUNDS]),
            (1, 1, 1)
        );
        assert_eq!((buckets.runqueue[0], buckets.runqueue[2]), (2, 1));
    }

    /// A request that was counted between the two readings must not make a counter go down.
    #[test]
    fn no_bucket_goes_down() {
        let mut shown = Shown::default();
        let route = SeriesKey::default();
        let mut waits = Waits::default();
        assert_eq!(shown.complete(route, 10, &waits).queue[0], 10);
        count_request(&mut waits, 200_000, 0);
        assert_eq!(shown.complete(route, 10, &waits).queue[0], 10);
        assert_eq!(shown.complete(route, 11, &waits).queue[..2], [10, 1]);
        assert_eq!(shown.complete(route, 13, &waits).queue[..2], [12, 1]);
    }
}
