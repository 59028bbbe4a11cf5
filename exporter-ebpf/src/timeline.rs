//! How long did a thread wait for a CPU since a moment in its past?
//!
//! The kernel says how long a thread has waited in all (`sched_info.run_delay`), and only for now. When a request is read
//! that became readable a while ago, the question is how much of that while its reader has waited. So a few earlier
//! values are kept for each thread, the closer together the younger they are, and beside them there is the thread's last wait, whose
//! beginning and end are known. Where this does not decide, both bounds are known, and what lies between them is said to be
//! unsure.
//!
//! Waits are sums from an origin of their own, and wrap.

/// How many earlier values are kept, beside the youngest.
pub const MARKS: usize = 11;
/// How old the youngest value is before another takes its place, in nanoseconds. The age doubles from one to the next.
pub const PERIOD: u64 = 1_000_000;

/// How long a thread had waited for a CPU at a moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Monotonic time in nanoseconds.
    pub time: u64,
    /// The sum of its waits, in nanoseconds.
    pub wait: u64,
}

/// A thread's last wait for a CPU, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastWait {
    /// When it got the CPU.
    pub end: u64,
    /// How long it had waited.
    pub length: u64,
}

/// How long a thread has waited.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// At the least.
    pub certain: u64,
    /// How much longer at the most.
    pub unsure: u64,
}

/// The earlier values of one thread, the younger ones first; the youngest is kept elsewhere, where it costs less. Those that
/// were never set have the time 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The thread's id, or 0: nobody's.
    pub thread: u32,
    /// Zero.
    pub reserved: u32,
    /// The values.
    pub marks: [Mark; MARKS],
}

/// The walk back through a thread's past.
struct Walk {
    start: u64,
    younger: Mark,
    waited: Waited,
}

// === impl Walk ===

impl Walk {
    /// Goes back to an earlier point. `true`: it is not after the start.
    #[inline(always)]
    fn back_to(&mut self, older: Mark) -> bool {
        if older.time >= self.younger.time {
            return false;
        }
        let wait = self.younger.wait.wrapping_sub(older.wait);
        let is_done = older.time <= self.start;
        if is_done {
            let (before, after) = (self.start - older.time, self.younger.time - self.start);
            let least = wait.saturating_sub(before);
            let most = if wait < after { wait } else { after };
            self.waited.certain += least;
            self.waited.unsure += most.saturating_sub(least);
        } else {
            self.waited.certain += wait;
        }
        self.younger = older;
        is_done
    }
}

// === impl LastWait ===

impl LastWait {
    /// How much of the time from `start` on the thread has waited, if its last wait tells: it began before, or ended before.
    #[inline(always)]
    pub fn since(&self, start: u64) -> Option<u64> {
        let Self { end, length } = *self;
        if end <= start {
            Some(0)
        } else if end.wrapping_sub(length) <= start {
            Some(end - start)
        } else {
            None
        }
    }
}

// === impl Timeline ===

impl Timeline {
    /// Another value takes the place of the youngest one, at the time `now`.
    #[inline(always)]
    pub fn note(&mut self, youngest: Mark, now: u64) {
        let mut carried = youngest;
        let mut i = 0;
        while i < MARKS {
            let old = self.marks[i];
            if now.wrapping_sub(old.time) < PERIOD << (i + 1) {
                break;
            }
            self.marks[i] = carried;
            carried = old;
            i += 1;
        }
    }

    /// How long the thread has waited between `start` and `now`. Its youngest value is `youngest`; it began at `born`, with no
    /// wait behind it.
    #[inline(always)]
    pub fn waited(&self, start: u64, now: Mark, last: Option<LastWait>, youngest: Mark, born: u64) -> Waited {
        let mut walk = Walk {
            start,
            younger: now,
            waited: Waited::default(),
        };
        if start >= now.time {
            return walk.waited;
        }
        if let Some(LastWait { end, length }) = last {
            let at_end = Mark {
                time: end,
                wait: now.wait,
            };
            let at_start = Mark {
                time: end.wrapping_sub(length),
                wait: now.wait.wrapping_sub(length),
            };
            if walk.back_to(at_end) || walk.back_to(at_start) {
                return walk.waited;
            }
        }
        if youngest.time != 0 && walk.back_to(youngest) {
            return walk.waited;
        }
        let mut i = 0;
        while i < MARKS {
            let mark = self.marks[i];
            if mark.time == 0 {
                break;
            }
            if walk.back_to(mark) {
                return walk.waited;
            }
            i += 1;
        }
        if i == 0 && youngest.time == 0 {
            // Nothing is known of it but its birth. Before that it did not wait.
            if born > start {
                walk.waited.certain += walk.younger.wait;
            } else {
                walk.back_to(Mark { time: born, wait: 0 });
            }
            return walk.waited;
        }
        // What lies before the oldest mark.
        walk.waited.unsure += walk.younger.time - start;
        walk.waited
    }

    /// What a thread that begins now knows of the past: that of the thread that made it, `parent`, whose youngest value is
    /// `youngest`. The youngest value of the new one is the time `now.time`, with no wait.
    #[inline(always)]
    pub fn of_child(parent: &Self, thread: u32, now: Mark, last: Option<LastWait>, youngest: Mark, born: u64) -> Self {
        let mut child = Self {
            thread,
            ..Self::default()
        };
        let mut i = 0;
        let mut oldest = now.time;
        if let Some(LastWait { end, length }) = last {
            child.marks[0] = Mark { time: end, wait: 0 };
            oldest = end.wrapping_sub(length);
            child.marks[1] = Mark {
                time: oldest,
                wait: 0u64.wrapping_sub(length),
            };
            i = 2;
        }
        let has_marks = youngest.time != 0;
        if has_marks && youngest.time < oldest {
            child.marks[i] = Mark {
                time: youngest.time,
                wait: youngest.wait.wrapping_sub(now.wait),
            };
            i += 1;
        }
        let mut j = 0;
        while j < MARKS && i < MARKS {
            let mark = parent.marks[j];
            if mark.time != 0 && mark.time < oldest {
                child.marks[i] = Mark {
                    time: mark.time,
                    wait: mark.wait.wrapping_sub(now.wait),
                };
                i += 1;
            }
            j += 1;
        }
        if i < MARKS && !has_marks {
            child.marks[i] = Mark {
                time: born,
                wait: 0u64.wrapping_sub(now.wait),
            };
        }
        child
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn mark(time: u64, wait: u64) -> Mark {
        Mark { time, wait }
    }

    fn waited(certain: u64, unsure: u64) -> Waited {
        Waited { certain, unsure }
    }

    /// A thread, as the kernel side keeps it.
    #[derive(Debug, Default)]
    struct Thread {
        youngest: Mark,
        timeline: Timeline,
    }

    impl Thread {
        fn note(&mut self, now: Mark) {
            if now.time - self.youngest.time >= PERIOD {
                self.timeline.note(self.youngest, now.time);
                self.youngest = now;
            }
        }

        fn waited(&self, start: u64, now: Mark, last: Option<LastWait>, born: u64) -> Waited {
            let found = self.timeline.waited(start, now, last, self.youngest, born);
            if let Some(certain) = last.and_then(|last| last.since(start)) {
                assert_eq!(found, waited(certain, 0));
            }
            found
        }
    }

    #[test]
    fn a_thread_that_was_woken_by_the_request() {
        let mut thread = Thread::default();
        thread.note(mark(100 * MS, 7 * MS));
        let last = Some(LastWait {
            end: 209 * MS,
            length: 9 * MS,
        });
        let since = |start| thread.waited(start, mark(210 * MS, 16 * MS), last, 0);
        // It slept, and waited from the moment on at which the request came.
        assert_eq!(since(200 * MS), waited(9 * MS, 0));
        // The request came in the middle of a wait.
        assert_eq!(since(205 * MS), waited(4 * MS, 0));
        // It ran when the request came.
        assert_eq!(since(209 * MS + 1), waited(0, 0));
    }

    #[test]
    fn a_thread_that_was_busy_meanwhile() {
        let mut thread = Thread::default();
        for (time, wait) in [(10, 0), (12, 0), (14, 1), (20, 4)] {
            thread.note(mark(time * MS, wait * MS));
        }
        // From 13 on: 3 after 14, and of the one between 12 and 14 at least nothing, at most all.
        assert_eq!(
            thread.waited(13 * MS, mark(30 * MS, 9 * MS), None, 0),
            waited(8 * MS, MS)
        );
        assert_eq!(
            thread.waited(5 * MS, mark(30 * MS, 9 * MS), None, 0),
            waited(9 * MS, 5 * MS)
        );
    }

    #[test]
    fn a_new_thread_had_no_wait_before_it_was_there() {
        let thread = Thread::default();
        assert_eq!(
            thread.waited(10 * MS, mark(30 * MS, 9 * MS), None, 20 * MS),
            waited(9 * MS, 0)
        );
        assert_eq!(
            thread.waited(22 * MS, mark(30 * MS, 9 * MS), None, 20 * MS),
            waited(7 * MS, MS)
        );
    }

    #[test]
    fn a_thread_inherits_what_its_maker_has_waited() {
        let mut parent = Thread::default();
        parent.note(mark(50 * MS, 100 * MS));
        let last = Some(LastWait {
            end: 99 * MS,
            length: 9 * MS,
        });
        let now = mark(100 * MS, 120 * MS);
        let timeline = Timeline::of_child(&parent.timeline, 5, now, last, parent.youngest, 0);
        assert_eq!(timeline.thread, 5);
        let child = Thread {
            youngest: mark(100 * MS, 0),
            timeline,
        };
        // 9 of its maker's last wait, and 4 of its own.
        assert_eq!(
            child.waited(85 * MS, mark(110 * MS, 4 * MS), None, 100 * MS),
            waited(13 * MS, 5 * MS)
        );
        let orphan = Timeline::of_child(&Timeline::default(), 5, now, None, Mark::default(), 90 * MS);
        assert_eq!(orphan.marks[0], mark(90 * MS, 0u64.wrapping_sub(120 * MS)));
    }

    #[derive(Clone, Copy, Debug)]
    enum Does {
        Run,
        Wait,
        Sleep,
    }

    proptest! {
        /// Against the whole history of a thread: the truth lies between the bounds, and the bounds are no wider than the
        /// request is old.
        #[test]
        fn the_truth_lies_between_the_bounds(
            history in prop::collection::vec((prop_oneof![Just(Does::Run), Just(Does::Wait), Just(Does::Sleep)], 1u64..20_000_000, any::<bool>()), 1..80),
            start in 0u64..1_000_000_000,
            knows_last: bool,
        ) {
            let mut thread = Thread::default();
            let (mut time, mut wait) = (1_000u64, 0u64);
            let born = time;
            let mut waits: Vec<(u64, u64)> = Vec::new();
            let mut last = None;
            for (does, length, is_noted) in &history {
                match does {
                    Does::Wait => {
                        waits.push((time, time + length));
                        wait += length;
                        // Two in a row are one to the kernel's books only if nothing lies between them; here they are two.
                        last = Some(LastWait { end: time + length, length: *length });
                        time += length;
                    }
                    Does::Run => {
                        time += length;
                        if *is_noted {
                            thread.note(mark(time, wait));
                        }
                    }
                    Does::Sleep => time += length,
                }
            }
            time += 1;
            let start = born + start % (time - born);
            let found = thread.waited(start, mark(time, wait), last.filter(|_| knows_last), born);
            let truth: u64 = waits.iter().map(|(from, to)| to.saturating_sub((*from).max(start))).sum();
            prop_assert!(found.certain <= truth, "{found:?} {truth}");
            prop_assert!(truth <= found.certain + found.unsure, "{found:?} {truth}");
            prop_assert!(found.certain + found.unsure <= time - start);
        }

        /// The marks stay in order, the youngest first, and reach back.
        #[test]
        fn marks_are_in_order(steps in prop::collection::vec(1u64..5_000_000, 1..200)) {
            let mut thread = Thread::default();
            let mut time = 1;
            for step in steps {
                time += step;
                thread.note(mark(time, time / 2));
                let marks = [&[thread.youngest][..], &thread.timeline.marks].concat();
                for pair in marks.windows(2) {
                    prop_assert!(pair[0].time > pair[1].time || pair[1].time == 0, "{thread:?}");
                }
            }
        }
    }
}
