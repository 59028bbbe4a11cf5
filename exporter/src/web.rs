//! The web side: the metrics and the pages around them.

mod connections;
pub mod page;
pub mod pages;
pub mod server;
pub mod trace;
