//! `vigie top`: a table of services and routes that is drawn anew with every scrape.
//!
//! [`data`] keeps what was seen, [`rows`] makes rows of it and [`columns`] their cells. [`app`] is what the keys change.
//! [`draw`] and [`detail`] put it on a screen, [`plain`] on paper, and [`run`] brings scrapes, keys and signals together.

pub mod app;
pub mod columns;
pub mod data;
pub mod detail;
pub mod draw;
pub mod help;
pub mod plain;
pub mod rows;
pub mod run;
pub mod theme;
