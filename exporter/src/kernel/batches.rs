//! Reading a whole hash map with few system calls, which aya 0.14 cannot: `BPF_MAP_LOOKUP_BATCH` (Linux 5.6).

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{Pod, maps::MapData};

/// Source: `enum bpf_cmd` of `include/uapi/linux/bpf.h`.
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// How many bytes of values are asked for at once, if that is enough for [`LEAST`] elements.
const BYTES: usize = 1 << 20;
const LEAST: usize = 16;

/// What the command takes. Source: `union bpf_attr`, `struct batch`, in the same file.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A hash map of `K` to `V`, read as a whole.
#[derive(Debug)]
pub struct Batches<K, V> {
    map: OwnedFd,
    /// How many values an element has: one for each possible CPU, or one.
    values: usize,
    kinds: PhantomData<(K, V)>,
}

// === impl Batches ===

impl<K: Pod, V: Pod> Batches<K, V> {
    /// A map whose elements have so many values each.
    ///
    /// # Errors
    ///
    /// If there are no descriptors left.
    pub fn new(map: &MapData, values: usize) -> io::Result<Self> {
        // The kernel pads values per CPU to eight bytes, and others not.
        debug_assert!(values == 1 || size_of::<V>().is_multiple_of(8));
        Ok(Self {
            map: map.fd().as_fd().try_clone_to_owned()?,
            values,
            kinds: PhantomData,
        })
    }

    /// Shows every element, with its values. One that comes or goes meanwhile is shown or not.
    ///
    /// # Errors
    ///
    /// If the kernel does not give them.
    pub fn for_each(&self, mut show: impl FnMut(&K, &[V])) -> io::Result<()> {
        let mut most = (BYTES / (size_of::<V>() * self.values)).max(LEAST);
        let (mut keys, mut values) = (Vec::<K>::new(), Vec::<V>::new());
        // The number of a bucket, which only means something to the kernel.
        let (mut from, mut to) = (0u32, 0u32);
        let mut is_first = true;
        loop {
            keys.reserve_exact(most);
            values.reserve_exact(most * self.values);
            let mut attributes = Attributes {
                in_batch: if is_first { 0 } else { (&raw const from) as u64 },
                out_batch: (&raw mut to) as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: u32::try_from(most).unwrap_or(u32::MAX),
                map_fd: self.map.as_raw_fd().cast_unsigned(),
                ..Attributes::default()
            };
            // SAFETY: the structure is the command's; there is room for `count` keys and their values.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    BPF_MAP_LOOKUP_BATCH,
                    &raw mut attributes,
                    size_of::<Attributes>(),
                )
            };
            let error = (result != 0).then(io::Error::last_os_error);
            let is_last = match error.as_ref().and_then(io::Error::raw_os_error) {
                None => false,
                // There are no more than these.
                Some(libc::ENOENT) => true,
                Some(libc::ENOSPC) => {
                    // A bucket of the hash table has more elements than that.
                    most *= 2;
                    continue;
                }
                Some(_) => return Err(error.unwrap_or_else(io::Error::last_os_error)),
            };
            let count = (attributes.count as usize).min(most);
            // SAFETY: the kernel has written so many keys and values, and any bytes are one.
            let (found, their) = unsafe {
                (
                    std::slice::from_raw_parts(keys.as_ptr(), count),
                    std::slice::from_raw_parts(values.as_ptr(), count * self.values),
                )
            };
            for (key, values) in found.iter().zip(their.chunks_exact(self.values)) {
                show(key, values);
            }
            if is_last {
                return Ok(());
            }
            (from, is_first) = (to, false);
        }
    }
}
