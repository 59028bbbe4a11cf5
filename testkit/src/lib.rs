//! The ground truth for tests and tools: real servers, a load generator with its own clock,
//! a strict reader of the Prometheus text format, and tables to show them beside each other.
//!
//! Durations are seconds (`f64`) or [`std::time::Duration`]; sizes are bytes; quantiles are in 0..=1.

pub mod alertmanager;
pub mod counts;
pub mod host;
pub mod http;
pub mod load;
pub mod namespace;
pub mod process;
pub mod process_ids;
pub mod prometheus;
pub mod random;
pub mod sched;
pub mod schedule;
pub mod scrape;
pub mod servers;
pub mod socket;
pub mod stop;
pub mod stopwatch;
pub mod store;
pub mod table;
pub mod temp_dir;
pub mod webhook;

pub use alertmanager::Alertmanager;
pub use counts::{CountKey, Counts};
pub use http::{Client, Request, Response};
pub use load::{Record, Records, Shot, closed_loop, run_stages, shared_loop};
pub use process::{Server, free_port};
pub use prometheus::Prometheus;
pub use random::Random;
pub use sched::Sched;
pub use scrape::Scrape;
pub use servers::{Vigie, nginx, nginx_with, python_app, uvicorn_store, vigie, vigie_as, vigie_with};
pub use stopwatch::{Measured, Stopwatch};
pub use temp_dir::TempDir;
pub use webhook::Webhook;
