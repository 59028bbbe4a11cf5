//! Numbers of services.
//!
//! A service has a number as long as it lives, and then another one gets it. So a number is a slot, which is an index of the
//! maps by service, and a generation, which tells those apart that have had the slot one after the other. An entry of the process
//! table is a number, or says with [`CHILD`] that the process only works for that service.

/// How many slots there are. The first is nobody's: [`UNKNOWN`].
pub const SLOTS: usize = 256;
/// The last slot that is given. The two behind it would make [`IGNORED`] and [`PENDING`] ambiguous.
pub const LAST_SLOT: u8 = 253;
/// How many generations there are.
pub const GENERATIONS: u8 = 128;

/// A process that nothing is known of yet.
pub const UNKNOWN: u16 = 0;
/// A process that is not to be watched: Vigie itself.
pub const IGNORED: u16 = 0xfffe;
/// A process that user space was told of, and that it has not named yet.
pub const PENDING: u16 = 0xffff;
/// An entry of the process table: a process of another program, which a process of this service has started. Its CPU time is the
/// service's, and it is named anew when it listens or gets a request.
pub const CHILD: u16 = 0x8000;

/// A slot's word says with this bit that the service has answered a request.
pub const ANSWERS: u32 = 1 << 16;

/// A slot's word says with this bit that there is no room for more series of the service: what has none is `other`.
pub const FULL: u32 = 1 << 17;

/// The number of a slot's service. A generation is below [`GENERATIONS`].
pub const fn number(generation: u8, slot: u8) -> u16 {
    ((generation & (GENERATIONS - 1)) as u16) << 8 | slot as u16
}

/// The slot of a number.
#[inline(always)]
pub const fn slot(number: u16) -> u32 {
    (number & 0xff) as u32
}

/// Whether an entry of the process table is a number, maybe with [`CHILD`].
#[inline(always)]
pub const fn is_number(entry: u16) -> bool {
    entry != UNKNOWN && entry < IGNORED
}

/// The service that a process works for, by its entry in the process table.
#[inline(always)]
pub const fn owner(entry: u16) -> u16 {
    if is_number(entry) { entry & !CHILD } else { entry }
}

/// The same, where it is looked up whose the slot is: of a mark this makes the number of a slot that is never given.
#[inline(always)]
pub const fn unchecked_owner(entry: u16) -> u16 {
    entry & !CHILD
}

/// The service whose requests a process handles, by its entry in the process table: a child has to be named first.
#[inline(always)]
pub const fn handler(entry: u16) -> u16 {
    if is_child(entry) { UNKNOWN } else { entry }
}

/// Whether a process only works for a service.
#[inline(always)]
pub const fn is_child(entry: u16) -> bool {
    is_number(entry) && entry & CHILD != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_a_mark() {
        for generation in 0..GENERATIONS {
            for place in 1..=LAST_SLOT {
                let number = number(generation, place);
                assert_eq!(slot(number), u32::from(place));
                for entry in [number, number | CHILD] {
                    assert!(is_number(entry));
                    assert_eq!((owner(entry), unchecked_owner(entry)), (number, number));
                }
                assert_eq!((handler(number), handler(number | CHILD)), (number, UNKNOWN));
                assert!(is_child(number | CHILD) && !is_child(number));
            }
        }
        for mark in [UNKNOWN, IGNORED, PENDING] {
            assert!(!is_number(mark) && !is_child(mark));
            assert_eq!((owner(mark), handler(mark)), (mark, mark));
            assert!(!(1..=u32::from(LAST_SLOT)).contains(&slot(unchecked_owner(mark))));
        }
    }
}
