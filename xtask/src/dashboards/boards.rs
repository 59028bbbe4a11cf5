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

/// A class without requests is there, at 0: nothing has to be put in its place. Requests that were aborted have no answer.
const ERRORS_5XX: &str = r#"sum(rate(service_http_requests_total{<service>, class="5xx"}[<rate>])) / sum(rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#;
const ERRORS_4XX: &str = r#"sum(rate(service_http_requests_total{<service>, class="4xx"}[<rate>])) / sum(rate(service_http_requests_total{<service>, class!="aborted"}[<rate>]))"#;

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
