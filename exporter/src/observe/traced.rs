//! A single request, with the names that user space has for it.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vigie_ebpf::{
    method,
    phases::Phases,
    traced::{PATH_KEPT, TraceEvent},
};

use super::handler;

const NANOSECONDS: f64 = 1e9;

/// A request that has ended: what a line of a trace says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// When its first byte was readable.
    pub time: Timestamp,
    /// The service's name.
    pub service: String,
    /// The local TCP port; 0 for a unix socket.
    pub port: u16,
    /// The method.
    pub method: String,
    /// The route's template, as the metrics show it.
    pub handler: String,
    /// The path, without the query, in printable ASCII: other bytes are written as `%XX`. It ends in `…` if the rest was not
    /// kept. `None`: none of it was.
    pub path: Option<String>,
    /// The status; 0: the connection was closed before there was one.
    pub status: u16,
    /// From the first readable byte to the last byte of the response, in seconds.
    pub duration: f64,
    /// Where the duration went.
    pub phases: PhaseSeconds,
    /// Bytes received, head included.
    pub request_bytes: u64,
    /// Bytes sent, heads included.
    pub response_bytes: u64,
    /// The process that read it.
    pub process: u32,
    /// The thread of it that sent the last byte; 0: another process did, or none.
    pub thread: u32,
}

/// The phases of a duration, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    pub queue: f64,
    pub runqueue: f64,
    pub cpu: f64,
    pub blocked: f64,
    pub send: f64,
    pub unattributed: f64,
}

// === impl PhaseSeconds ===

impl From<&Phases> for PhaseSeconds {
    fn from(phases: &Phases) -> Self {
        let [queue, runqueue, cpu, blocked, send, unattributed] =
            phases.list().map(|nanoseconds| nanoseconds as f64 / NANOSECONDS);
        Self {
            queue,
            runqueue,
            cpu,
            blocked,
            send,
            unattributed,
        }
    }
}

// === impl Traced ===

impl Traced {
    /// The request of an event, given the names of its service and its handler.
    pub fn new(event: &TraceEvent, service: String, handler: String, clock: &WallClock) -> Self {
        let phases = &event.finished.phases;
        Self {
            time: clock.at(event.start),
            service,
            port: event.key.port,
            method: method::name(event.key.method).to_owned(),
            handler,
            path: path_of(event),
            status: event.key.status,
            duration: phases.duration() as f64 / NANOSECONDS,
            phases: phases.into(),
            request_bytes: event.finished.request_bytes,
            response_bytes: event.finished.response_bytes,
            process: event.process,
            thread: event.thread,
        }
    }
}

fn path_of(event: &TraceEvent) -> Option<String> {
    let length = event.path_length as usize;
    if length == 0 {
        return None;
    }
    let mut text = String::with_capacity(length.min(PATH_KEPT));
    for byte in handler::path(&event.path[..length.min(PATH_KEPT)]) {
        if byte.is_ascii_graphic() {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    if length > PATH_KEPT {
        text.push('…');
    }
    Some(text)
}

/// From the kernel's monotonic clock to the time of day.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// The time of day when the monotonic clock was at zero, or would have been if nobody had set the clock since.
    zero: Timestamp,
}

// === impl WallClock ===

impl WallClock {
    /// As both clocks are now.
    pub fn now() -> Self {
        let up = Duration::from_nanos(monotonic());
        let day = SystemTime::now();
        let zero = day.checked_sub(up).unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            zero: Timestamp::try_from(zero).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Whether another one says that it is another time: because somebody has set the clock, and not only because it was asked a
    /// little later.
    pub fn is_far_from(&self, other: &Self) -> bool {
        self.zero.duration_since(other.zero).unsigned_abs() > Duration::from_millis(100)
    }

    /// The time of day at a monotonic time, in nanoseconds: in seconds since 1970, and whole milliseconds.
    pub fn seconds_at(&self, monotonic: u64) -> f64 {
        self.at(monotonic).as_millisecond() as f64 / 1e3
    }

    /// The time of day at a monotonic time, in nanoseconds.
    pub fn at(&self, monotonic: u64) -> Timestamp {
        self.zero
            .checked_add(Duration::from_nanos(monotonic))
            .unwrap_or(self.zero)
    }
}

/// The kernel's monotonic clock, in nanoseconds.
pub fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is a timespec to write to. The call does not fail: every kernel has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use vigie_ebpf::types::{Finished, SeriesKey};

    use super::*;

    fn event(path: &[u8]) -> TraceEvent {
        let mut event = TraceEvent {
            start: 2_000_000_000,
            shape: 0,
            finished: Finished {
                phases: Phases {
                    queue: 1_000_000,
                    send: 500_000,
                    ..Phases::default()
                },
                request_bytes: 10,
                response_bytes: 20,
            },
            key: SeriesKey {
                status: 200,
                method: 1,
                port: 80,
                ..SeriesKey::default()
            },
            process: 5,
            thread: 6,
            slots: 1,
            path_length: u32::try_from(path.len()).unwrap(),
            reserved: 0,
            path: [b'!'; PATH_KEPT],
        };
        for (place, byte) in event.path.iter_mut().zip(path) {
            *place = *byte;
        }
        event
    }

    #[test]
    fn paths_are_printable() {
        for (path, expected) in [
            (&b"/a/17"[..], "/a/17"),
            (b"http://a.example/b", "/b"),
            (b"/\x1b[31m\xe2\x80\xae\x7f", "/%1B[31m%E2%80%AE%7F"),
            (b"*", "*"),
        ] {
            assert_eq!(path_of(&event(path)).as_deref(), Some(expected));
        }
        assert_eq!(path_of(&event(b"")), None);
        let long = vec![b'x'; PATH_KEPT + 1];
        assert_eq!(path_of(&event(&long)), Some("x".repeat(PATH_KEPT) + "…"));
        assert_eq!(path_of(&event(&long[1..])), Some("x".repeat(PATH_KEPT)));
    }

    #[test]
    fn a_request_survives_json() {
        let clock = WallClock {
            zero: Timestamp::UNIX_EPOCH,
        };
        let traced = Traced::new(&event(b"/a\"b"), "s".to_owned(), "/a".to_owned(), &clock);
        assert_eq!((traced.duration, traced.phases.send), (0.0015, 0.0005));
        let text = serde_json::to_string(&traced).unwrap();
        assert!(
            text.starts_with("{\"time\":\"1970-01-01T00:00:02Z\",\"service\":\"s\""),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Traced>(&text).unwrap(), traced);
    }

    #[test]
    fn the_clock_is_right() {
        let difference = WallClock::now().at(monotonic()).duration_since(Timestamp::now());
        assert!(
            difference.abs() < jiff::SignedDuration::from_millis(500),
            "{difference}"
        );
    }
}
