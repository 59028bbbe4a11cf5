//! `vigie report`: one page that needs nothing else, to attach to a ticket.
//!
//! [`record`] keeps what was seen, [`run`] fills it for a while. [`document`] puts the page together, of [`charts`] and
//! [`tables`]; [`plot`] draws, and [`escape`] keeps values from being markup.

pub mod charts;
pub mod document;
pub mod escape;
pub mod plot;
pub mod record;
pub mod run;
pub mod tables;
