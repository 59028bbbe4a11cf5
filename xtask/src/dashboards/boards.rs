//! The dashboards, a file for each.

mod load_balancer;
mod node;
mod overview;
mod performance;
mod slo;

use super::model::Dashboard;

const OVERVIEW: &str = "vigie-overview";
const PERFORMANCE: &str = "vigie-performance";
const LOAD_BALANCER: &str = "vigie-load-balancer";
const SLO: &str = "vigie-slo";
const NODE: &str = "vigie-node";

/// Where nothing has failed yet there is no series with such a status: that is a share of 0, and not unknown.
const ERRORS_5XX: &str = r#"(sum(rate(http_requests_total{<service>, status=~"5.."}[<rate>])) or vector(0)) / sum(rate(http_requests_total{<service>}[<rate>]))"#;
const ERRORS_4XX: &str = r#"(sum(rate(http_requests_total{<service>, status=~"4.."}[<rate>])) or vector(0)) / sum(rate(http_requests_total{<service>}[<rate>]))"#;

/// All of them, in the order in which one looks at them.
pub fn all() -> Vec<Dashboard> {
    vec![
        overview::dashboard(),
        performance::dashboard(),
        load_balancer::dashboard(),
        slo::dashboard(),
        node::dashboard(),
    ]
}
