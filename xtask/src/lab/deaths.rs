//! What was lost when an instance ended.

use super::agreement::OWN;
use super::figures::BALANCER;
use super::window::View;
use anyhow::Result;
use std::time::Instant;
use testkit::Records;
use testkit::scrape::REQUESTS;

const ABORTED: &str = "http_requests_aborted_total";

/// An instance ended while the load went on.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    pub name: String,
    /// Requests that it had read and did not answer, by Vigie.
    pub cut_off: u64,
    /// nginx' own answers from then on (502, 503, 504), by Vigie.
    pub own_answers: u64,
    /// Requests that got no answer, or one that the store would not have given, by the client.
    pub lost: u64,
}

// === impl Death ===

impl Death {
    /// `view` is from the last scrape before the end of this instance to the last one before the next; `begin` and `end` are the same
    /// times on the client's clock.
    pub fn ask(view: &View, name: &str, records: &Records, begin: Instant, end: Instant) -> Result<Self> {
        let own = OWN.map(|status| status.to_string()).join("|");
        let own_answers = view.grown(REQUESTS, &format!("service=\"{BALANCER}\",status=~\"{own}\""))?;
        let cut_off = view.grown(ABORTED, &format!("service=\"{name}\""))?;
        let within = records
            .list
            .iter()
            .filter(|record| begin <= record.end && record.end < end);
        Ok(Self {
            name: name.to_owned(),
            cut_off: cut_off as u64,
            own_answers: own_answers as u64,
            lost: within.filter(|record| !record.is_expected()).count() as u64,
        })
    }
}
