//! From measurements to Prometheus families, and to their text.

pub mod clients;
pub mod families;
pub mod format;
pub mod labels;
pub mod model;
mod openmetrics;
mod phases;
mod profile;
mod protobuf;
mod routes;
pub mod scrapers;
mod services;
mod text;
pub mod traces;
pub mod usage;
