//! The kernel side: where the members of its structures are, loading and attaching the programs, reading their maps.

mod batches;
pub mod books;
pub mod btf;
pub mod load;
pub mod missed;
pub mod native_counts;
pub mod offsets;
pub mod preemption;
pub mod process_table;
pub mod traces;
