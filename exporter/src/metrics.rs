//! From measurements to Prometheus families, and to their text.

pub mod families;
pub mod model;
mod phases;
mod profile;
mod routes;
pub mod text;
pub mod traces;
pub mod usage;
