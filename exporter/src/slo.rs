//! Service level objectives: from a YAML file to recording rules and alerts for Prometheus.
//!
//! [`objectives`] reads and checks the file, [`windows`] knows over which times a budget's burning is looked at, [`queries`]
//! asks for bad and for all requests, [`rules`] makes rules of the three, and [`yaml`] writes them.

pub mod objectives;
mod queries;
mod raw;
pub mod rules;
mod windows;
mod yaml;
