//! From measurements to Prometheus families, and to their text.

pub mod families;
mod phases;
pub mod text;
pub mod traces;
pub mod usage;
