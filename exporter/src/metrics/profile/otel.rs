//! The family of OpenTelemetry's semantic conventions for HTTP servers, named and labelled as Prometheus sees it.

use super::{Latency, Shown, Table, is_aborted, is_request};
use crate::{
    metrics::model::{Family, Kind, family},
    observe::{
        ledger::Snapshot,
        routes::{NONE, OTHER},
    },
};

/// The methods that the conventions know. All others are [`OTHER_METHOD`].
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];
const OTHER_METHOD: &str = "_OTHER";
/// From here on an answer is an error of the server.
const SERVER_ERROR: u16 = 500;
/// The kind of error of a request whose connection was closed before it was answered: the conventions leave it to who measures.
const ABORTED: &str = "aborted";

/// The families.
pub(super) fn families<'a>(snapshot: &'a Snapshot, latency: &Latency, shown: Shown) -> Vec<Family<'a>> {
    let names = [
        "http_request_method",
        "http_response_status_code",
        "http_route",
        "url_scheme",
        "error_type",
    ];
    let mut durations = Table::new(names, snapshot, shown);
    for (labels, counted) in &snapshot.requests {
        let Some(timed) = snapshot.timed(labels, counted).filter(|_| is_request(labels)) else {
            continue;
        };
        let status = labels.status.to_string();
        let (status, error) = match labels.status {
            _ if is_aborted(labels) => (String::new(), ABORTED.into()),
            SERVER_ERROR.. => (status.clone(), status.into()),
            _ => (status, "".into()),
        };
        let method = match METHODS.contains(&labels.method) {
            true => labels.method,
            false => OTHER_METHOD,
        };
        // A path that no route is known for has none.
        let route = match &*labels.handler {
            NONE | OTHER => "",
            handler => handler,
        };
        let scheme = "http".into();
        durations.add(
            labels,
            &timed,
            [method.into(), status.into(), route.into(), scheme, error],
        );
    }
    vec![family(
        "http_server_request_duration_seconds",
        Kind::Histogram,
        "Duration of HTTP server requests.",
        durations.metrics(|labels, sums| latency.all(labels, sums)),
    )]
}
