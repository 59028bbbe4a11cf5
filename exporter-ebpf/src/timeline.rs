//! How long did a thread wait for a CPU since a moment in its past?
//!
//! The kernel says how long a thread has waited in all (`sched_info.run_delay`), and only for now. When a request is read
//! that became readable a while ago, the question is how much of that while its reader has waited. So a few earlier
//! values are kept for each thread, the closer together the younger they are, and beside them there is the thread's last wait, whose
//! beginning and end are known. Where this does not decide, both bounds are known, and what lies between them is said to be
//! unsure.
//!
//! Waits are sums from an origin of their own, and wrap.

/// How many earlier values are kept.
pub const MARKS: usize = 12;
/// The distance of the first two of them, in nanoseconds; that of the others doubles from one to the next.
const PERIOD: u64 = 1_000_000;

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

/// The earlier values of one thread, the youngest first. Those that were never set have the time 0.
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

// === impl Timeline ===

impl Timeline {
    /// Notes a value.
    #[inline(always)]
    pub fn note(&mut self, now: Mark) {
        let mut carried = now;
        let mut i = 0;
        while i < MARKS {
            let old = self.marks[i];
            if now.time.wrapping_sub(old.time) < PERIOD << i {
                break;
            }
            self.marks[i] = carried;
            carried = old;
            i += 1;
        }
    }

    /// How long the thread has waited between `start` and `now`. It began at `born`, with no wait behind it.
    #[inline(always)]
    pub fn waited(&self, start: u64, now: Mark, last: Option<LastWait>, born: u64) -> Waited {
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
        if i == 0 {
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

    /// What a thread that begins now knows of the past: that of the thread that made it, `parent`.
    #[inline(always)]
    pub fn of_child(parent: &Self, thread: u32, now: Mark, last: Option<LastWait>, born: u64) -> Self {
        let mut child = Self {
            thread,
            ..Self::default()
        };
        let mut i = 1;
        child.marks[0] = Mark {
            time: now.time,
            wait: 0,
        };
        if let Some(LastWait { end, length }) = last {
            child.marks[1] = Mark { time: end, wait: 0 };
            child.marks[2] = Mark {
                time: end.wrapping_sub(length),
                wait: 0u64.wrapping_sub(length),
            };
            i = 3;
        }
        let oldest = child.marks[i - 1].time;
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
        if i < MARKS && parent.marks[0].time == 0 {
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

    #[test]
    fn a_thread_that_was_woken_by_the_request() {
        let mut timeline = Timeline::default();
        timeline.note(mark(100 * MS, 7 * MS));
        let last = Some(LastWait {
            end: 209 * MS,
            length: 9 * MS,
        });
        // It slept, and waited from the moment on at which the request came.
        assert_eq!(
            timeline.waited(200 * MS, mark(210 * MS, 16 * MS), last, 0),
            waited(9 * MS, 0)
        );
        // The request came in the middle of a wait.
        assert_eq!(
            timeline.waited(205 * MS, mark(210 * MS, 16 * MS), last, 0),
            waited(4 * MS, 0)
        );
        // It ran when the request came.
        assert_eq!(
            timeline.waited(209 * MS + 1, mark(210 * MS, 16 * MS), last, 0),
            waited(0, 0)
        );
    }

    #[test]
    fn a_thread_that_was_busy_meanwhile() {
        let mut timeline = Timeline::default();
        for (time, wait) in [(10, 0), (12, 0), (14, 1), (20, 4)] {
            timeline.note(mark(time * MS, wait * MS));
        }
        // From 13 on: 3 after 14, and of the one between 12 and 14 at least nothing, at most all.
        assert_eq!(
            timeline.waited(13 * MS, mark(30 * MS, 9 * MS), None, 0),
            waited(8 * MS, MS)
        );
        assert_eq!(
            timeline.waited(5 * MS, mark(30 * MS, 9 * MS), None, 0),
            waited(9 * MS, 5 * MS)
        );
    }

    #[test]
    fn a_new_thread_had_no_wait_before_it_was_there() {
        let timeline = Timeline::default();
        assert_eq!(
            timeline.waited(10 * MS, mark(30 * MS, 9 * MS), None, 20 * MS),
            waited(9 * MS, 0)
        );
        assert_eq!(
            timeline.waited(22 * MS, mark(30 * MS, 9 * MS), None, 20 * MS),
            waited(7 * MS, MS)
        );
    }

    #[test]
    fn a_thread_inherits_what_its_maker_has_waited() {
        let mut parent = Timeline::default();
        parent.note(mark(50 * MS, 100 * MS));
        let last = Some(LastWait {
            end: 99 * MS,
            length: 9 * MS,
        });
        let child = Timeline::of_child(&parent, 5, mark(100 * MS, 120 * MS), last, 0);
        assert_eq!(child.thread, 5);
        // 9 of its maker's last wait, and 4 of its own.
        assert_eq!(
            child.waited(85 * MS, mark(110 * MS, 4 * MS), None, 100 * MS),
            waited(13 * MS, 5 * MS)
        );
        let child = Timeline::of_child(&Timeline::default(), 5, mark(100 * MS, 120 * MS), None, 90 * MS);
        assert_eq!(child.marks[1], mark(90 * MS, 0u64.wrapping_sub(120 * MS)));
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
            let mut timeline = Timeline::default();
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
                            timeline.note(mark(time, wait));
                        }
                    }
                    Does::Sleep => time += length,
                }
            }
            time += 1;
            let start = born + start % (time - born);
            let found = timeline.waited(start, mark(time, wait), last.filter(|_| knows_last), born);
            let truth: u64 = waits.iter().map(|(from, to)| to.saturating_sub((*from).max(start))).sum();
            prop_assert!(found.certain <= truth, "{found:?} {truth}");
            prop_assert!(truth <= found.certain + found.unsure, "{found:?} {truth}");
            prop_assert!(found.certain + found.unsure <= time - start);
        }

        /// The marks stay in order, the youngest first, and reach back.
        #[test]
        fn marks_are_in_order(steps in prop::collection::vec(1u64..5_000_000, 1..200)) {
            let mut timeline = Timeline::default();
            let mut time = 1;
            for step in steps {
                time += step;
                timeline.note(mark(time, time / 2));
                for pair in timeline.marks.windows(2) {
                    prop_assert!(pair[0].time > pair[1].time || pair[1].time == 0, "{timeline:?}");
                }
            }
        }
    }
}
