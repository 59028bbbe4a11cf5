//! The web side: the metrics and the pages around them.

pub mod connections;
pub mod page;
pub mod pages;
pub mod server;
pub mod trace;
