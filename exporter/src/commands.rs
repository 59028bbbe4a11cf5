//! The subcommands, a file for each.

pub mod doctor;
pub mod serve;
pub mod trace;
