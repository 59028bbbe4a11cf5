//! From what the kernel side says to measurements: processes become services, paths become routes, maps become counts.

pub mod cgroup;
pub mod containers;
pub mod filter;
pub mod handler;
pub mod identity;
pub mod ledger;
pub mod listeners;
pub mod naming;
pub mod process;
pub mod routes;
mod secret;
pub mod services;
pub mod template;
pub mod traced;
pub mod tracers;
pub mod usage;
pub mod waits;
