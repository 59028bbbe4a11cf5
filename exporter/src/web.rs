//! The web side: the metrics and the pages around them.

pub mod connections;
mod moment;
pub mod page;
pub mod pages;
mod requests;
pub mod server;
pub mod trace;
pub mod trace_socket;
