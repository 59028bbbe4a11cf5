//! Single requests, as `vigie trace` shows them: what is asked for, and what travels.
//!
//! Each of the few that can trace at a time has a slot: a filter, a pace and counters of its own. So what one asks for neither
//! widens nor uses up what another gets. A request that passes at least one filter travels once, with a bit for each.

use crate::service;
use crate::types::{Finished, Request, SERVICES, STATUS_ABORTED, SeriesKey};

/// How many bytes the ring buffer of [`TraceEvent`] holds: a power of two, and whole pages.
pub const TRACES_BYTES: usize = 1 << 20;

/// How many can trace at a time.
pub const SLOTS: usize = 8;

/// How much of a path is kept, in bytes.
pub const PATH_KEPT: usize = 256;

/// How many routes a filter tells apart: as many as there can be on a host.
pub const ROUTES: usize = 65_536;

/// [`Wanted::status`]: any.
pub const ANY_STATUS: u32 = u32::MAX;

const NANOSECONDS: u64 = 1_000_000_000;
const FIRST_ERROR: u32 = 400;

/// Which requests the one in a slot asks for. Its routes are in a map of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A bit for each service, by slot.
    pub services: [u64; SERVICES / 64],
    /// The shortest duration, in nanoseconds.
    pub at_least: u64,
    /// The time between two requests that are shown, in nanoseconds; 0: there is no limit.
    pub interval: u64,
    /// For how long requests may come closer than that, in nanoseconds, after a pause that is at least as long.
    pub burst: u64,
    /// The status, or [`ANY_STATUS`].
    pub status: u32,
    /// Whether only errors are wanted (1): a status from 400 on, or no answer at all.
    pub errors: u32,
}

/// What passed a slot's filter and did not travel, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// More requests passed than the slot's rate allows.
    pub over_rate: u64,
    /// The ring buffer was full.
    pub ring_full: u64,
    /// An interrupt ended another request while this one was on its way. Whether the slot asks for it is not known.
    pub interrupted: u64,
}

/// A request that has ended, and is about to be shown, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How many there have been: whoever comes in between changes it.
    pub turn: u64,
    /// The request.
    pub request: Request,
    /// What was measured.
    pub finished: Finished,
    /// Its series.
    pub key: SeriesKey,
    /// Zero.
    pub reserved: u32,
}

/// The path of a request.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPath {
    /// The request's start: whose path this is. 0: nobody's.
    pub start: u64,
    /// How many bytes the path has. More than [`PATH_KEPT`]: the rest was cut off.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// Its first bytes.
    pub path: [u8; PATH_KEPT],
}

/// A request that has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// When its first byte became readable.
    pub start: u64,
    /// The hash of its path's shape, where the route is unknown.
    pub shape: u64,
    /// What was measured.
    pub finished: Finished,
    /// Its series; the service may be pending, the route unknown.
    pub key: SeriesKey,
    /// The process that read it.
    pub process: u32,
    /// The thread that ended it, or 0: none of that process.
    pub thread: u32,
    /// A bit for each slot that asks for it.
    pub slots: u32,
    /// How many bytes its path has, [`PATH_KEPT`] of which may be kept. 0: the path was not kept.
    pub path_length: u32,
    /// Zero.
    pub reserved: u32,
    /// The path's first bytes.
    pub path: [u8; PATH_KEPT],
}

/// Whether a status is an error's.
#[inline(always)]
pub fn is_error(status: u16) -> bool {
    status as u32 >= FIRST_ERROR || status == STATUS_ABORTED
}

/// The time between two requests, in nanoseconds, if there are `rate` of them in a second. 0 is no limit.
pub fn interval(rate: u32) -> u64 {
    if rate == 0 { 0 } else { NANOSECONDS / rate as u64 }
}

/// For how long requests may come closer than that: a second's worth can come at once.
pub fn burst(rate: u32) -> u64 {
    NANOSECONDS - interval(rate)
}

// === impl Wanted ===

impl Wanted {
    /// Whether requests of a service are wanted. Of one that has no number yet, user space has to say.
    #[inline(always)]
    pub fn wants_service(&self, service: u16) -> bool {
        let slot = service::slot(service) as usize;
        !service::is_number(service) || (self.services[(slot >> 6) & 3] >> (slot & 63)) & 1 == 1
    }

    /// Whether a request that took `duration` and was answered with `status` is wanted, as far as that goes.
    #[inline(always)]
    pub fn wants_answer(&self, status: u16, duration: u64) -> bool {
        let is_status = self.status == ANY_STATUS || self.status == status as u32;
        is_status && duration >= self.at_least && (self.errors == 0 || is_error(status))
    }

    /// Whether there is room for a request at `now`, if there is none before `next`. The result is the next `next`.
    #[inline(always)]
    pub fn room(&self, next: u64, now: u64) -> Option<u64> {
        if next > now.saturating_add(self.burst) {
            return None;
        }
        let from = if next > now { next } else { now };
        Some(from + self.interval)
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: each is repr(C), made of integers and arrays of integers without padding: any bytes are a value.
    unsafe impl aya::Pod for super::Wanted {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Untold {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted = Wanted {
        services: [u64::MAX; SERVICES / 64],
        at_least: 0,
        interval: 0,
        burst: 0,
        status: ANY_STATUS,
        errors: 0,
    };

    #[test]
    fn answers_are_told_apart() {
        assert!(ALL.wants_answer(200, 0) && ALL.wants_answer(STATUS_ABORTED, 0));
        let errors = Wanted { errors: 1, ..ALL };
        assert_eq!(
            [200, 304, 399, 400, 404, 500, STATUS_ABORTED].map(|status| errors.wants_answer(status, 0)),
            [false, false, false, true, true, true, true]
        );
        let one = Wanted { status: 404, ..ALL };
        assert_eq!(
            [200, 404, 500].map(|status| one.wants_answer(status, 0)),
            [false, true, false]
        );
        let aborted = Wanted { status: 0, ..ALL };
        assert_eq!([200, 0].map(|status| aborted.wants_answer(status, 0)), [false, true]);
        let slow = Wanted { at_least: 10, ..ALL };
        assert_eq!(
            [9, 10, 11].map(|duration| slow.wants_answer(200, duration)),
            [false, true, true]
        );
    }

    #[test]
    fn services_are_bits() {
        let mut services = [0; SERVICES / 64];
        services[1] = 1 << 6;
        let one = Wanted { services, ..ALL };
        for slot in 1..=service::LAST_SLOT {
            let number = service::number(5, slot);
            assert_eq!(one.wants_service(number), slot == 70, "{slot}");
        }
        // What has no number yet.
        assert!(one.wants_service(0) && one.wants_service(0xffff));
    }

    /// A second's worth at once, and no more than the rate from then on.
    #[test]
    fn the_rate_is_kept() {
        let rate = 100;
        let wanted = Wanted {
            interval: interval(rate),
            burst: burst(rate),
            ..ALL
        };
        let mut next = 0;
        let mut shown = |times: &mut dyn Iterator<Item = u64>| {
            times
                .filter(|now| wanted.room(next, *now).map(|then| next = then).is_some())
                .count()
        };
        let begin = 1 << 40;
        assert_eq!(shown(&mut (0..1000).map(|_| begin)), 100);
        // Ten thousand in the next second, evenly.
        assert_eq!(shown(&mut (0..10_000).map(|i| begin + 1 + i * 100_000)), 99);
        // As many as were saved in half a second.
        let later = begin + 3 * NANOSECONDS / 2;
        assert!(matches!(shown(&mut (0..1000).map(|_| later)), 50 | 51));
    }

    #[test]
    fn nothing_is_hidden_in_padding() {
        assert_eq!(size_of::<Wanted>(), SERVICES / 8 + 3 * 8 + 2 * 4);
        assert_eq!(size_of::<KeptPath>(), 8 + 2 * 4 + PATH_KEPT);
        assert_eq!(
            size_of::<TraceEvent>(),
            2 * 8 + size_of::<Finished>() + size_of::<SeriesKey>() + 5 * 4 + PATH_KEPT
        );
    }
}
