//! TCP sends a segment again, or a connection is reset: rare events, on hooks of their own. In steady traffic none of these
//! programs runs.
//!
//! Only connections that are watched count. A connection's service is that of its last request; one that has carried none
//! belongs to nobody, which is service number 0.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    btf_maps::PerCpuArray,
    helpers::generated::bpf_probe_read_kernel,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use vigie_ebpf::{
    service,
    trouble::{RESETS_RECEIVED, RESETS_SENT, RETRANSMITS, TROUBLES},
    types::{SERVICE_UNKNOWN, SERVICES},
};

use crate::{
    kernel::{connection, entry_of, undisturbed},
    maps::slot,
    report::is_known,
};

/// The counters, by slot; the first are those of connections without a service.
#[btf_map]
static TROUBLE: PerCpuArray<[u64; TROUBLES], SERVICES> = PerCpuArray::new();

/// `struct sk_buff`: `cb`, which TCP keeps its `struct tcp_skb_cb` in.
#[unsafe(no_mangle)]
static SKB_CB: Global<u32> = Global::new(0);

/// `struct tcp_skb_cb`: `tcp_gso_segs`, how many segments the buffer will be on the wire.
#[unsafe(no_mangle)]
static CB_SEGMENTS: Global<u32> = Global::new(0);

/// `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb)`; from 6.18 on with what sending returned.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn vigie_retransmit(ctx: BtfTracePointContext) {
    let (sock, buffer): (*const c_void, *const c_void) = (ctx.arg(0), ctx.arg(1));
    undisturbed(|| count(sock, RETRANSMITS, segments(buffer)));
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb)`; from 6.10 on with a reason. There is no socket when
/// nobody has, or had, that connection.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn vigie_reset_sent(ctx: BtfTracePointContext) {
    undisturbed(|| count(ctx.arg(0), RESETS_SENT, 1));
}

/// `tcp_receive_reset(struct sock *sk)`.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn vigie_reset_received(ctx: BtfTracePointContext) {
    undisturbed(|| count(ctx.arg(0), RESETS_RECEIVED, 1));
}

/// How many segments a buffer is.
#[inline(always)]
fn segments(buffer: *const c_void) -> u64 {
    let mut segments = 0u16;
    let place = buffer.wrapping_byte_add(SKB_CB.load() as usize + CB_SEGMENTS.load() as usize);
    // SAFETY: the helper writes the two bytes of `segments`, and reads whatever is at the place, or says that it cannot.
    unsafe { bpf_probe_read_kernel((&raw mut segments).cast(), 2, place) };
    (segments as u64).max(1)
}

#[inline(always)]
fn count(sock: *const c_void, what: usize, number: u64) {
    if sock.is_null() {
        return;
    }
    let Some(connection) = connection(sock) else {
        return;
    };
    let request = &connection.request;
    let mut number_of_service = request.service;
    if !is_known(number_of_service) && request.process != 0 {
        number_of_service = service::handler(entry_of(request.process));
    }
    let place = slot(number_of_service).unwrap_or(service::slot(SERVICE_UNKNOWN));
    if let Some(counters) = TROUBLE.get_ptr_mut(place) {
        // SAFETY: this CPU's element, and an index of it.
        unsafe { *counters.cast::<u64>().add(what) += number };
    }
}
