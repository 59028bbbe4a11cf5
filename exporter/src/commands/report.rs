//! `vigie report`: stub.
use anyhow::Result;
use clap::Args;
/// The flags of `vigie report`.
#[derive(Args, Debug)]
pub struct Report {}
impl Report {
    /// Runs.
    pub fn run(self) -> Result<()> { Ok(()) }
}
