//! What goes wrong on the way to a client: the counters of one service, on one CPU.

/// Segments that TCP sent again.
pub const RETRANSMITS: usize = 0;
/// Connections that this side reset.
pub const RESETS_SENT: usize = 1;
/// Connections that the other side reset.
pub const RESETS_RECEIVED: usize = 2;
/// How many counters there are.
pub const TROUBLES: usize = 3;
