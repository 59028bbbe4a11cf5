//! From measurements to Prometheus families, and to their text.

pub mod families;
pub mod text;
pub mod traces;
