//! Which bytes of a TCP stream a read has brought, if others read it at the same time.
//!
//! The hook of a read runs when the socket's lock is free again, and looks up how far the stream has been read by then
//! (`copied_seq`). If another thread has read in between, the first hook takes the last bytes for its own, and misses those before them;
//! and the second one brings what was passed already. Urgent data is like that, too: `MSG_OOB` returns a byte, and does not move on.

/// How far back a read can lie, in bytes: reads that are under way at once take no more than a socket's receive buffer. What is further
/// away lies ahead: a body that `splice(2)` has read can be long.
const FURTHEST: u32 = 1 << 26;

/// The bytes that were missed between `position`, up to where the stream was followed, and the read of `count` bytes from `first` on; and how
/// many bytes of the read are not new. If there are such, all new ones are missed: they cannot be told from the others.
#[inline(always)]
pub fn between(position: u32, first: u32, count: u32) -> (u32, u32) {
    let missed = first.wrapping_sub(position);
    let back = position.wrapping_sub(first);
    if back == 0 || back > FURTHEST {
        return (missed, 0);
    }
    if back < count { (count - back, back) } else { (0, count) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_reader() {
        assert_eq!(between(100, 100, 5), (0, 0));
        // By splice, also over the end of the numbers, and a long way.
        assert_eq!(between(100, 107, 5), (7, 0));
        assert_eq!(between(u32::MAX, 6, 5), (7, 0));
        assert_eq!(between(100, 100 + 3_000_000_000, 5), (3_000_000_000, 0));
    }

    #[test]
    fn a_read_that_was_passed() {
        assert_eq!(between(100, 95, 5), (0, 5));
        assert_eq!(between(3, u32::MAX - 1, 5), (0, 5));
        // Urgent data.
        assert_eq!(between(100, 99, 1), (0, 1));
        assert_eq!(between(100, 98, 5), (3, 2));
    }

    proptest! {
        /// Whatever the order in which the hooks of reads run: each byte is passed once.
        #[test]
        fn every_byte_is_passed_once(
            start: u32,
            reads in prop::collection::vec(1u32..100_000, 1..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 20),
            ahead in prop::collection::vec(0usize..4, 20),
        ) {
            let (mut position, mut copied, mut passed) = (start, start, 0u64);
            let (mut waiting, mut left) = (Vec::new(), reads.iter());
            for (pick, ahead) in picks.iter().zip(ahead) {
                for count in left.by_ref().take(1 + ahead) {
                    copied = copied.wrapping_add(*count);
                    waiting.push(*count);
                }
                if waiting.is_empty() {
                    continue;
                }
                let count = waiting.swap_remove(pick.index(waiting.len()));
                let (missed, again) = between(position, copied.wrapping_sub(count), count);
                let new = if again == 0 { missed + count } else { missed };
                position = position.wrapping_add(new);
                passed += u64::from(new);
                prop_assert_eq!(position, copied);
            }
            prop_assert_eq!(passed, u64::from(copied.wrapping_sub(start)));
        }
    }
}
