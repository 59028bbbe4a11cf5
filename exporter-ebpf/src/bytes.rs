//! Eight bytes at a time.
//!
//! The kernel side reads the head of a message into a fixed buffer once, and then looks for the byte that ends
//! something: a path, a line. Looking at a word of eight bytes instead of one byte makes that search cheap enough for
//! every request ("SIMD within a register"; the tests for a zero byte are exact, see Hacker's Delight, 6-1).

/// How many bytes the word-wise parsers look at first. One short read from user memory, one bounded loop.
pub const WINDOW: usize = 512;

/// How many bytes of one system call are looked at, at the most: what the word-wise parsers try when [`WINDOW`] was not
/// enough.
pub const PIECE: usize = 4096;

/// How many bytes of a head's lines the word-wise parsers take at once, before they come back to be called again.
pub const LINES: usize = 1024;

/// How many bytes the byte-wise parsers take at once, before they come back to be called again. The kernel's verifier
/// follows each turn of a loop, and gives up on one of branches that is much longer (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
pub const BYTEWISE: usize = 128;

/// The buffer that one system call's bytes are copied to: twice a piece, so that the verifier sees that a piece fits at
/// any place of its first half. The slack lets a word be read at any place of it.
pub const BUFFER: usize = 2 * PIECE + 32;

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The little-endian word that starts at byte `at` of the window.
///
/// `at` wraps at twice [`PIECE`] rather than failing: the parsers check what they find against the real length.
#[inline(always)]
pub fn word(buffer: &[u8; BUFFER], at: usize) -> u64 {
    // SAFETY: the place is below 2 * PIECE, and 2 * PIECE + 8 <= BUFFER.
    unsafe { word_at(buffer.as_ptr().add(at & (2 * PIECE - 1))) }
}

/// A byte of the buffer, at a place below [`PIECE`] (it wraps there).
#[inline(always)]
pub fn byte(buffer: &[u8; BUFFER], at: usize) -> u8 {
    // SAFETY: the mask keeps the place below PIECE, which is below BUFFER.
    unsafe { buffer.as_ptr().add(at & (PIECE - 1)).read_volatile() }
}

/// The little-endian word at `pointer`, which need not be aligned.
///
/// # Safety
///
/// `pointer` points to at least eight readable bytes.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn word_at(pointer: *const u8) -> u64 {
    let word: u64;
    // LLVM takes BPF for a machine with strict alignment and would read eight single bytes. The kernel's verifier
    // allows the plain load of map memory on every architecture that has efficient unaligned access.
    // SAFETY: by this function's contract; the instruction has no other effect.
    unsafe {
        core::arch::asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) pointer, options(readonly, nostack));
    }
    word
}

/// The little-endian word at `pointer`, which need not be aligned.
///
/// # Safety
///
/// `pointer` points to at least eight readable bytes.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn word_at(pointer: *const u8) -> u64 {
    // SAFETY: by this function's contract.
    u64::from_le(unsafe { pointer.cast::<u64>().read_unaligned() })
}

/// The same value, which the kernel's verifier no longer knows.
///
/// The verifier follows every loop turn by turn. What comes behind a search would be verified anew for each turn the
/// search can end in, and each loop there would multiply. A place that is only known to be a number ends that: the code
/// behind is verified once. The last word of the buffer is never written, and so it is always zero.
#[inline(always)]
pub fn forget(buffer: &[u8; BUFFER], value: usize) -> usize {
    if cfg!(target_arch = "bpf") {
        // SAFETY: the last eight bytes of the buffer.
        value.wrapping_add(unsafe { word_at(buffer.as_ptr().add(BUFFER - 8)) } as usize)
    } else {
        value
    }
}

/// Has a parser's state written to memory, and read again from there.
///
/// In a loop over bytes the verifier follows what it knows of the state from turn to turn; what is read from a map it
/// does not know. Without this, the compiler would keep the state in registers.
#[inline(always)]
pub fn through_memory<T>(state: &mut T) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: one instruction that moves a register to itself: with none at all there would be two entries for one place
    // in the line table, which the kernel refuses.
    unsafe {
        core::arch::asm!("{0} = {0}", in(reg) core::ptr::from_mut(state), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = state;
}

/// 1 if `a` is at least `b`, else 0, without a branch. Both are below 2^63.
#[inline(always)]
pub fn at_least(a: u64, b: u64) -> u64 {
    unbranched((unbranched(a.wrapping_sub(b)) >> 63) ^ 1)
}

/// 1 if `a` equals `b`, else 0, without a branch.
#[inline(always)]
pub fn equal(a: u64, b: u64) -> u64 {
    let difference = a ^ b;
    unbranched((unbranched(difference | difference.wrapping_neg()) >> 63) ^ 1)
}

/// `a` if `bit` is 1, `b` if it is 0, without a branch.
#[inline(always)]
pub fn select(bit: u64, a: u64, b: u64) -> u64 {
    let mask = unbranched(bit).wrapping_neg();
    (a & mask) | (b & !mask)
}

/// The same value, of which the compiler knows nothing: BPF has no conditional moves, and the compiler would make a
/// comparison, and so a branch, of the arithmetic that avoids one.
#[inline(always)]
pub fn unbranched(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: one instruction that moves a register to itself; see above for why there is one.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

/// A constant that is loaded where it stands. In a loop, the compiler would load it before, and keep it on the stack: there are few
/// registers, and the stack is small.
#[inline(always)]
pub fn here(constant: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut constant = constant;
        // SAFETY: one instruction that moves a register to itself; see above for why there is one. It is not pure, so that it stays
        // in its place.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) constant, options(nomem, nostack, preserves_flags));
        }
        constant
    }
    #[cfg(not(target_arch = "bpf"))]
    constant
}

/// The same for a pointer: what is computed from it is computed where it stands.
#[inline(always)]
pub fn here_pointer<T>(pointer: *mut T) -> *mut T {
    #[cfg(target_arch = "bpf")]
    {
        let mut pointer = pointer;
        // SAFETY: as above.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) pointer, options(nomem, nostack, preserves_flags));
        }
        pointer
    }
    #[cfg(not(target_arch = "bpf"))]
    pointer
}

/// A word with the high bit set in every byte that is zero in `word`, exactly.
#[inline(always)]
pub fn zero_bytes(word: u64) -> u64 {
    !(((word & LOW).wrapping_add(LOW)) | word | LOW)
}

/// A word with the high bit set in every byte that equals `byte`.
#[inline(always)]
pub fn equal_bytes(word: u64, byte: u8) -> u64 {
    zero_bytes(word ^ (ONES.wrapping_mul(byte as u64)))
}

/// A word with the high bit set in every byte that is at most 0x20: a space or a control character.
#[inline(always)]
pub fn blank_bytes(word: u64) -> u64 {
    // Adding 0x5f sets the high bit of every byte from 0x21 to 0x7f; bytes from 0x80 have it already.
    !(((word & LOW).wrapping_add(ONES.wrapping_mul(0x5f))) | word) & !LOW
}

/// A word with the high bit set in every byte that is above 9.
#[inline(always)]
pub fn above_nine_bytes(word: u64) -> u64 {
    (((word & LOW).wrapping_add(ONES.wrapping_mul(0x76))) | word) & !LOW
}

/// The index of the lowest byte whose high bit is set in `mask`, which must not be zero.
#[inline(always)]
pub fn first(mask: u64) -> usize {
    let lowest = (mask & mask.wrapping_neg()) >> 7;
    // `lowest` is 1 << 8k. The product's top byte is the constant's byte 7 - k, and that is k.
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize
}

/// The low `count` bytes of `word`; `count` is below 8.
#[inline(always)]
pub fn keep(word: u64, count: usize) -> u64 {
    word & ((1u64 << ((count & 7) * 8)) - 1)
}

/// Mixes one word into a hash: the block step of MurmurHash3 x64.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let word = word
        .wrapping_mul(0x87c3_7b91_1142_53d5)
        .rotate_left(31)
        .wrapping_mul(0x4cf5_ad43_2745_937f);
    (hash ^ word).rotate_left(27).wrapping_mul(5).wrapping_add(0x52dc_e729)
}

/// Spreads the last differences of a hash over all of its bits: the finalizer of MurmurHash3 x64.
#[inline(always)]
pub fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// A buffer with a message in it, and behind that, again and again, what the message before may have left.
#[cfg(test)]
pub fn buffer(bytes: &[u8], behind: &[u8]) -> Box<[u8; BUFFER]> {
    let mut buffer = Box::new([0u8; BUFFER]);
    for (place, byte) in buffer
        .iter_mut()
        .zip(bytes.iter().chain(behind.iter().cycle().take(BUFFER)))
    {
        *place = *byte;
    }
    buffer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_say_what_a_loop_says(bytes: [u8; 8], wanted: u8) {
            let word = u64::from_le_bytes(bytes);
            for (i, byte) in bytes.iter().enumerate() {
                let bit = 0x80u64 << (8 * i);
                prop_assert_eq!(zero_bytes(word) & bit != 0, *byte == 0);
                prop_assert_eq!(equal_bytes(word, wanted) & bit != 0, *byte == wanted);
                prop_assert_eq!(blank_bytes(word) & bit != 0, *byte <= 0x20);
                prop_assert_eq!(above_nine_bytes(word) & bit != 0, *byte > 9);
            }
            prop_assert_eq!(zero_bytes(word) & LOW, 0);
            prop_assert_eq!(blank_bytes(word) & LOW, 0);
        }

        #[test]
        fn comparisons_compare(a in 0u64..1 << 63, b in 0u64..1 << 63) {
            for (a, b) in [(a, b), (a, a), (a % 3, b % 3)] {
                prop_assert_eq!((at_least(a, b), equal(a, b)), (u64::from(a >= b), u64::from(a == b)));
            }
        }

        #[test]
        fn first_is_the_lowest(mask in 1u64..) {
            let mask = mask & !LOW;
            prop_assume!(mask != 0);
            prop_assert_eq!(first(mask), (mask.trailing_zeros() / 8) as usize);
        }
    }
}
