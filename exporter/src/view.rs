//! What a person at the node sees: the metrics, read back from their own text.
//!
//! [`source`] gets the text, from a running `vigie serve` or from programs of its own. [`sample`] and [`scrape`] read it,
//! [`interval`] takes the difference of two, in the types of [`work`], [`histogram`] and [`phase`]. Two things show that:
//! [`terminal`] a table that lives, for `vigie top`, and [`page`] one that lasts, for `vigie report`.

pub mod fetch;
pub mod histogram;
pub mod host;
pub mod interval;
pub mod number;
pub mod page;
pub mod phase;
pub mod sample;
pub mod scrape;
pub mod source;
pub mod terminal;
pub mod work;
