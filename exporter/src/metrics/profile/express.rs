//! The family of `express-prom-bundle`, with `includeMethod` and `includePath`.

mod value;

use std::borrow::Cow;

use super::{Latency, Shown, Table, is_aborted, is_request};
use crate::{
    metrics::model::{Family, Kind, family},
    observe::ledger::Snapshot,
};

/// The status of a request whose client has left before the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// What stands for a value in a path.
const VALUE: &str = "#val";

/// The families.
pub(super) fn families<'a>(snapshot: &'a Snapshot, latency: &Latency, shown: Shown) -> Vec<Family<'a>> {
    let mut durations = Table::new(["status_code", "method", "path"], snapshot, shown);
    for (labels, counted) in &snapshot.requests {
        let Some(timed) = snapshot.timed(labels, counted).filter(|_| is_request(labels)) else {
            continue;
        };
        let status = match is_aborted(labels) {
            true => CLIENT_CLOSED_REQUEST,
            false => labels.status,
        };
        let row = [status.to_string().into(), labels.method.into(), path(&labels.handler)];
        durations.add(labels, &timed, row);
    }
    vec![family(
        "http_request_duration_seconds",
        Kind::Histogram,
        "Durations of requests by status code, method and path.",
        durations.metrics(|labels, sums| latency.all(labels, sums)),
    )]
}

/// The path as the library has it: without empty segments, and with a name for those that look like values.
fn path(handler: &str) -> Cow<'_, str> {
    if !handler.starts_with('/') {
        return handler.into();
    }
    let mut path = String::with_capacity(handler.len());
    for segment in handler.split('/').filter(|segment| !segment.is_empty()) {
        let is_parameter = segment.starts_with('{') && segment.ends_with('}');
        path.push('/');
        path.push_str(if is_parameter || value::is_value(segment) {
            VALUE
        } else {
            segment
        });
    }
    match path.is_empty() {
        true => "/".into(),
        false => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_library() {
        for (handler, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/items/{id}", "/items/#val"),
            ("/items/{id}/", "/items/#val"),
            ("//items//{item-name}", "/items/#val"),
            ("/at/2024-01-02/abcdef1", "/at/#val/#val"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("none", "none"),
            ("other", "other"),
        ] {
            assert_eq!(path(handler), expected);
        }
    }
}
