//! What the kernel side of Vigie knows, without the kernel.
//!
//! The eBPF programs (the binary of this package) are thin: they fetch bytes and times, and hand them to the logic
//! here. This library compiles for the host as well, so that the code that runs in the kernel is the code that
//! `cargo test` and the fuzzer run. Nothing here allocates, panics or recurses, and every loop has a constant bound:
//! the verifier of the kernel has to be able to follow it.
//!
//! - [`types`]: what travels between the kernel and user space; [`service`]: numbers of services.
//! - [`request`]: from bytes to a request line; [`response`]: from bytes to a status; [`head`]: from the fields of either
//!   to where the body ends; [`chunked`]: where a chunked body ends.
//! - [`preface`]: what a connection may begin with instead.
//! - [`path`]: from a path to its shape, in which identifiers are collapsed, with [`segment`]: what an identifier is.
//! - [`phases`]: where the duration of a request went; [`attribution`]: how that is found, with [`timeline`]: how long a thread waited
//!   for a CPU, and [`clock`]: when it got one.
//! - [`trouble`]: what goes wrong on the way to a client.
//! - [`native`]: the buckets of native histograms.
//! - [`exemplar`]: requests whose traces can be looked up.
//! - [`traced`]: single requests, for whoever asks to see them.
//! - [`arrivals`]: when the byte at a given place in a TCP stream became readable; [`overlap`]: reads of one stream at the same time.

#![cfg_attr(not(any(test, feature = "user")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod arrivals;
pub mod attribution;
pub mod bytes;
pub mod chunked;
pub mod clock;
pub mod exemplar;
pub mod head;
pub mod method;
pub mod native;
pub mod overlap;
pub mod path;
pub mod phases;
pub mod preface;
pub mod request;
pub mod response;
pub mod segment;
pub mod service;
pub mod step;
pub mod timeline;
pub mod traced;
pub mod trouble;
pub mod types;
