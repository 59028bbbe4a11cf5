//! When did the byte at this place of a TCP stream become readable?
//!
//! The kernel calls `sk_data_ready` after it has queued data, with the socket's `rcv_nxt` already moved. A short ring
//! of (stream position, time) pairs, written there and consumed by the reader's hook, answers the question exactly,
//! also when a reader takes several messages with one call, or one message with several. Positions are TCP sequence
//! numbers: they wrap, and are compared as RFC 9293 (3.4) says. A unix socket has none; there they are counts of the bytes
//! that were read.

/// How many pieces of unread data are told apart. With more, the last two become one with the earlier one's time.
pub const ARRIVALS: usize = 8;

/// One piece of data that became readable.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Monotonic time in nanoseconds.
    pub time: u64,
    /// The sequence number after the piece's last byte.
    pub end: u32,
    reserved: u32,
}

/// The pieces of one socket that were not read yet. One writer (the socket's lock holder), one reader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    ring: [Arrival; ARRIVALS],
    written: u32,
    read: u32,
}

/// Whether sequence number `a` comes after `b`.
#[inline(always)]
fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

// === impl Arrivals ===

impl Arrivals {
    /// Data up to sequence number `end` became readable at `time`.
    #[inline(always)]
    pub fn push(&mut self, end: u32, time: u64) {
        let written = self.written;
        let waiting = written.wrapping_sub(self.read);
        if waiting != 0 {
            let last = &mut self.ring[(written.wrapping_sub(1) as usize) & (ARRIVALS - 1)];
            if !after(end, last.end) {
                return;
            }
            if waiting >= ARRIVALS as u32 {
                last.end = end;
                return;
            }
        }
        self.ring[(written as usize) & (ARRIVALS - 1)] = Arrival { time, end, reserved: 0 };
        self.written = written.wrapping_add(1);
    }

    /// Whether nothing waits to be read.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.written == self.read
    }

    /// The time at which the byte at sequence number `position` became readable, if it was seen. Forgets what comes
    /// before that byte.
    #[inline(always)]
    pub fn at(&mut self, position: u32) -> Option<u64> {
        self.forget(position);
        if self.is_empty() {
            return None;
        }
        Some(self.ring[(self.read as usize) & (ARRIVALS - 1)].time)
    }

    /// Forgets every piece that ends at or before `position`: it was read.
    #[inline(always)]
    pub fn forget(&mut self, position: u32) {
        let written = self.written;
        let mut i = 0;
        while i < ARRIVALS {
            let read = self.read;
            if read == written || after(self.ring[(read as usize) & (ARRIVALS - 1)].end, position) {
                break;
            }
            self.read = read.wrapping_add(1);
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequential_messages_have_their_own_times() {
        let mut arrivals = Arrivals::default();
        let mut sequence = u32::MAX - 100;
        for message in 1..100u64 {
            arrivals.push(sequence.wrapping_add(60), message * 10);
            assert_eq!(arrivals.at(sequence), Some(message * 10));
            sequence = sequence.wrapping_add(60);
            arrivals.forget(sequence);
            assert_eq!(arrivals.at(sequence), None);
        }
    }

    #[test]
    fn a_full_ring_keeps_the_earlier_time() {
        let mut arrivals = Arrivals::default();
        for piece in 1..=20u32 {
            arrivals.push(piece * 10, piece as u64);
        }
        assert_eq!(arrivals.at(0), Some(1));
        assert_eq!(arrivals.at(10), Some(2));
        assert_eq!(arrivals.at(69), Some(7));
        assert_eq!(arrivals.at(199), Some(8));
        assert_eq!(arrivals.at(200), None);
    }

    proptest! {
        /// Against a list without a bound: equal while no more than the ring's length waits.
        #[test]
        fn agrees_with_a_plain_list(start: u32, steps in prop::collection::vec((1u32..3000, 0u32..3000), 1..60)) {
            let mut arrivals = Arrivals::default();
            let mut list: Vec<(u64, u64)> = Vec::new();
            let (mut written, mut read) = (0u64, 0u64);
            for (time, (more, less)) in steps.into_iter().enumerate() {
                written += more as u64;
                list.push((written, time as u64));
                arrivals.push(start.wrapping_add(written as u32), time as u64);
                read = (read + less as u64).min(written);
                let waiting = list.iter().filter(|(end, _)| *end > read).count();
                prop_assume!(waiting < ARRIVALS);
                let expected = list.iter().find(|(end, _)| *end > read).map(|(_, time)| *time);
                prop_assert_eq!(arrivals.at(start.wrapping_add(read as u32)), expected);
            }
        }
    }
}
