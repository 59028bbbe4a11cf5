//! The bytes that a system call moved.
//!
//! The socket tracepoints give a socket and a count, but no buffer. They run in the task that made the call, whose
//! registers still hold the call's number and arguments: the buffer can be read where the application put it.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_user};
use vigie_ebpf::{
    bytes::{BUFFER, PIECE, forget, unbranched},
    types::{Lost, VectorPlace},
};

use crate::{
    kernel::{REGS_SECOND, REGS_SYSCALL, REGS_THIRD, load, registers},
    maps::{VECTOR_PLACES, buffer, lost},
};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            static $name: Global<u64> = Global::new(u64::MAX);
        )*
    };
}

// The numbers of system calls on this architecture, written by user space.
numbers! {
    /// `read(2)`
    SYS_READ, /// `recvfrom(2)`
    SYS_RECVFROM, /// `readv(2)`
    SYS_READV, /// `recvmsg(2)`
    SYS_RECVMSG, /// `write(2)`
    SYS_WRITE, /// `sendto(2)`
    SYS_SENDTO, /// `writev(2)`
    SYS_WRITEV, /// `sendmsg(2)`
    SYS_SENDMSG,
}

/// How many elements of an I/O vector are looked at in one call, and in how many calls: 1,024 elements are the most that
/// a system call takes (`UIO_MAXIOV`).
const VECTOR: usize = 16;
const CALLS: usize = 64;
/// What [`vigie_gather`] says if memory cannot be read.
const FAULT: u64 = u64::MAX;

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct IoVec {
    base: u64,
    length: u64,
}

/// `struct msghdr`, as user space lays it out on 64-bit machines, up to the vector's length.
#[repr(C)]
#[derive(Clone, Copy)]
struct MessageHeader {
    name: u64,
    name_length: u64,
    vector: u64,
    count: u64,
}

/// The bytes that the current system call moved: where they are in the memory of the current task, and this CPU's
/// buffer for them.
pub struct Message {
    /// What was copied last.
    pub buffer: &'static mut [u8; BUFFER],
    /// The address of the buffer, or of the vector.
    address: u64,
    /// The vector's length, or 0: it is one buffer.
    count: u64,
    /// Which of the two directions this is.
    is_sent: bool,
}

/// Reads a value from the current task's memory.
#[inline(always)]
fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is a value of that size; the helper checks the source.
    let code = unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const c_void,
        )
    };
    // SAFETY: the helper has written the whole value, and any bytes are one: T is made of integers.
    (code == 0).then(|| unsafe { value.assume_init() })
}

// === impl Message ===

impl Message {
    /// What a system call has received. `None`: its buffer cannot be found.
    #[inline(always)]
    pub fn received() -> Option<Self> {
        Self::of(false, &SYS_READ, &SYS_RECVFROM, &SYS_READV, &SYS_RECVMSG)
    }

    /// What a system call has sent. `None`: its buffer cannot be found.
    #[inline(always)]
    pub fn sent() -> Option<Self> {
        Self::of(true, &SYS_WRITE, &SYS_SENDTO, &SYS_WRITEV, &SYS_SENDMSG)
    }

    #[inline(always)]
    fn of(
        is_sent: bool,
        plain: &Global<u64>,
        socket: &Global<u64>,
        vector: &Global<u64>,
        message: &Global<u64>,
    ) -> Option<Self> {
        let registers = registers();
        // SAFETY: the registers are unsigned longs.
        let (number, second): (u64, u64) = unsafe { (load(registers, &REGS_SYSCALL), load(registers, &REGS_SECOND)) };
        let (address, count) = if number == socket.load() || number == plain.load() {
            (second, 0)
        } else if number == vector.load() {
            // SAFETY: as above.
            (second, unsafe { load(registers, &REGS_THIRD) })
        } else if number == message.load() {
            let header: MessageHeader = read(second)?;
            (header.vector, header.count)
        } else {
            return None;
        };
        // SAFETY: this CPU's buffer, which only the programs of this direction use.
        let buffer = unsafe { &mut *buffer(is_sent as u32)? };
        Some(Self {
            address,
            count: forget(buffer, count as usize) as u64,
            is_sent,
            buffer,
        })
    }

    /// Copies up to `wanted` bytes, from the `skip`th on, into the buffer, and says how many there were. The caller
    /// knows that the system call moved at least `skip + wanted` bytes.
    #[inline(always)]
    pub fn copy(&mut self, skip: u64, wanted: u64) -> u64 {
        let wanted = if wanted > PIECE as u64 { PIECE as u64 } else { wanted };
        if self.count == 0 {
            return copy(self.buffer, 0, self.address + skip, wanted);
        }
        let mut i = 0;
        while i < CALLS {
            let copied = vigie_gather(self.address, self.count, skip, wanted, self.is_sent as u32);
            if copied != 0 {
                return if copied == FAULT { 0 } else { copied };
            }
            i += 1;
        }
        0
    }
}

/// Has the next copy look at an I/O vector from its start: another system call has begun.
#[inline(always)]
pub fn forget_place(is_sent: bool) {
    if let Some(place) = VECTOR_PLACES.get_ptr_mut(is_sent as u32) {
        // SAFETY: this CPU's element.
        unsafe { *place = VectorPlace::default() };
    }
}

/// Copies up to `wanted` bytes, from the `skip`th on, of an I/O vector into this CPU's buffer, and says how many there
/// were. 0: they are behind the elements that were looked at, and the next call goes on there.
///
/// It has a name of its own and takes only numbers: so it is a "global function", which the verifier looks at once, and
/// not again at each place that calls it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vigie_gather(address: u64, count: u64, skip: u64, wanted: u64, is_sent: u32) -> u64 {
    let (Some(buffer), Some(place)) = (buffer(is_sent), VECTOR_PLACES.get_ptr_mut(is_sent)) else {
        return FAULT;
    };
    // SAFETY: this CPU's elements, which only the programs of this direction use.
    let (buffer, place) = unsafe { (&mut *buffer, &mut *place) };
    if skip == 0 || skip < place.before {
        *place = VectorPlace::default();
    }
    let mut filled = 0u64;
    let mut i = 0;
    while i < VECTOR {
        if filled >= wanted || place.element >= count {
            break;
        }
        let Some(IoVec { base, length }) = read(address + 16 * place.element) else {
            lost(Lost::Fault);
            return FAULT;
        };
        i += 1;
        let start = skip + filled - place.before;
        if start < length {
            let available = length - start;
            let missing = wanted - filled;
            let part = if available < missing { available } else { missing };
            let copied = copy(buffer, filled, base + start, part);
            filled += copied;
            if copied < part {
                return if copied == 0 { FAULT } else { filled };
            }
            if part < available {
                break;
            }
        }
        place.element += 1;
        place.before += length;
    }
    filled
}

/// Copies `count` bytes from the current task's memory to place `at` of the buffer.
#[inline(always)]
fn copy(buffer: &mut [u8; BUFFER], at: u64, address: u64, count: u64) -> u64 {
    // The verifiers of 6.1 and 6.12 have to see both bounds: no comparison with 0, which would be made one with the other
    // bound, and a mask that the compiler cannot prove away.
    let count = unbranched(count);
    if at >= PIECE as u64 || count > PIECE as u64 {
        return 0;
    }
    // SAFETY: `at` is below PIECE and `count` at most PIECE, and BUFFER holds two of them; the helper checks the source.
    let code = unsafe {
        bpf_probe_read_user(
            buffer.as_mut_ptr().add(unbranched(at) as usize & (PIECE - 1)).cast(),
            count as u32,
            address as *const c_void,
        )
    };
    if code == 0 {
        count
    } else {
        lost(Lost::Fault);
        0
    }
}
