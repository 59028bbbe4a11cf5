//! The subcommands, a file for each.

pub mod doctor;
pub mod report;
pub mod serve;
pub mod slo;
pub mod top;
pub mod trace;
