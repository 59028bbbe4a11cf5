//! The name of the label that names the service.
//!
//! It is `service`, unless a scraper has a label of that name for its targets and cannot be told to keep Vigie's own.

use serde_saphyr::Spanned;

use super::{error::Place, text::quoted};

/// Its name by default.
pub const SERVICE: &str = "service";

/// All other labels of Vigie's families, in every profile; and those of every target. A test compares them with the documents.
const TAKEN: [&str; 35] = [
    "arch",
    "class",
    "container",
    "cpu",
    "device",
    "direction",
    "error_type",
    "handler",
    "hook",
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "instance",
    "job",
    "kind",
    "le",
    "looks_like",
    "method",
    "mode",
    "name",
    "namespace",
    "path",
    "phase",
    "pod",
    "port",
    "probe",
    "quantile",
    "reason",
    "resource",
    "status",
    "status_code",
    "trace_id",
    "type",
    "url_scheme",
    "version",
];

/// Checks a name. It lives as long as the program, as the names of all labels do.
pub(super) fn check(name: &Spanned<String>) -> Result<&'static str, Place> {
    let text = name.value.as_str();
    let is_begin = |character: char| character.is_ascii_alphabetic() || character == '_';
    let is_name = text.starts_with(is_begin) && text.chars().all(|c| is_begin(c) || c.is_ascii_digit());
    let refuse = |problem: &str, hint: &str| {
        let problem = format!("service_label {} {problem}", quoted(text));
        Err(Place::at(name, &problem, hint))
    };
    if !is_name {
        return refuse(
            "is no name of a label",
            "use letters, digits and '_', and no digit first",
        );
    }
    if text.starts_with("__") {
        return refuse("begins as Prometheus' own labels do", "use a name such as app");
    }
    if TAKEN.contains(&text) {
        return refuse("is the name of another label", "use a name such as app");
    }
    Ok(match text {
        SERVICE => SERVICE,
        other => other.to_owned().leak(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels in the tables of the document.
    fn documented(document: &str) -> Vec<&str> {
        let lines = document.lines().filter(|line| line.starts_with("| `"));
        let rows = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        let families = rows.filter(|row| ["counter", "gauge", "histogram", "summary"].contains(&row[2]));
        families.flat_map(|row| row[3].split('`').skip(1).step_by(2)).collect()
    }

    #[test]
    fn no_label_of_vigie_is_free() {
        let labels = documented(include_str!("../../../docs/metrics.md"));
        assert!(labels.len() > 50, "{labels:?}");
        for label in labels {
            assert!(label == SERVICE || TAKEN.contains(&label), "{label}");
        }
        assert!(TAKEN.is_sorted());
    }
}
