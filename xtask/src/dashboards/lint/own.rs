//! Our own rules: what Grafana would not say, or would show as a mess.

use super::{Rule, each_panel, list, panels, targets, text, variables};
use crate::dashboards::grafana::{SCHEMA_VERSION, TAG};
use crate::dashboards::layout::COLUMNS;
use crate::dashboards::promql::selectors;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rules that are about one dashboard each.
pub fn rules() -> Vec<Rule> {
    let rule = |name, check| Rule { name, check };
    vec![
        rule("dashboard-fields", dashboard_fields),
        rule("panel-ids", panel_ids),
        rule("panel-places", panel_places),
        rule("panel-kinds", panel_kinds),
        rule("target-letters", target_letters),
        rule("target-legends", target_legends),
        rule("target-quantiles", target_quantiles),
        rule("variables-defined", variables_defined),
        rule("thresholds-in-order", thresholds_in_order),
    ]
}

/// What is wrong between the dashboards.
pub fn together(dashboards: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for dashboard in dashboards {
        if !uids.insert(text(&dashboard["uid"])) || !titles.insert(text(&dashboard["title"])) {
            problems.push(format!(
                "{}: another dashboard has this uid or title",
                text(&dashboard["uid"])
            ));
        }
    }
    for dashboard in dashboards {
        for link in data_links(dashboard) {
            let uid = link
                .strip_prefix("/d/")
                .and_then(|rest| rest.split('?').next())
                .unwrap_or_default();
            let target = dashboards.iter().find(|dashboard| dashboard["uid"] == uid);
            let name = link
                .split(['?', '&'])
                .find_map(|part| part.strip_prefix("var-")?.split('=').next());
            let has_variable = |target: &Value| variables(target).any(|variable| variable["name"].as_str() == name);
            if !target.is_some_and(has_variable) {
                problems.push(format!(
                    "{}: a link to what is not there: {link}",
                    text(&dashboard["uid"])
                ));
            }
        }
    }
    problems
}

fn data_links(dashboard: &Value) -> impl Iterator<Item = &str> {
    let overrides = panels(dashboard).flat_map(|panel| list(&panel["fieldConfig"]["overrides"]));
    let properties = overrides
        .flat_map(|one| list(&one["properties"]))
        .filter(|property| property["id"] == "links");
    properties
        .flat_map(|property| list(&property["value"]))
        .map(|link| text(&link["url"]))
}

fn dashboard_fields(dashboard: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |is_right: bool, problem: &str| {
        if !is_right {
            problems.push(problem.to_owned());
        }
    };
    let uid = text(&dashboard["uid"]);
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    expect(
        !uid.is_empty() && uid.len() <= 40 && uid.chars().all(is_word),
        "the uid is none",
    );
    expect(dashboard["id"].is_null(), "the id is for Grafana to give");
    expect(
        dashboard["schemaVersion"] == SCHEMA_VERSION,
        "the schema has another version",
    );
    expect(
        list(&dashboard["tags"]).any(|tag| tag == TAG),
        "the tag is missing by which the others find it",
    );
    expect(!text(&dashboard["description"]).is_empty(), "there is no description");
    let links =
        list(&dashboard["links"]).any(|link| link["type"] == "dashboards" && list(&link["tags"]).any(|tag| tag == TAG));
    expect(links, "there are no links to the others");
    expect(
        !text(&dashboard["time"]["from"]).is_empty() && !text(&dashboard["refresh"]).is_empty(),
        "there is no time, or no refresh",
    );
    problems
}

fn panel_ids(dashboard: &Value) -> Vec<String> {
    let mut known = BTreeSet::new();
    let wrong =
        list(&dashboard["panels"]).filter(|panel| panel["id"].as_u64().is_none_or(|id| id == 0 || !known.insert(id)));
    wrong
        .map(|panel| format!("'{}' has no id of its own", text(&panel["title"])))
        .collect()
}

/// Left, top, right and bottom of a panel.
fn place(panel: &Value) -> Option<[u64; 4]> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|field| panel["gridPos"][field].as_u64());
    let (x, y, w, h) = (x?, y?, w?, h?);
    (w > 0 && h > 0 && x + w <= u64::from(COLUMNS)).then_some([x, y, x + w, y + h])
}

fn panel_places(dashboard: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken: Vec<(&str, [u64; 4])> = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        let Some(own) = place(panel) else {
            problems.push(format!("'{title}' is not within the grid"));
            continue;
        };
        let overlaps =
            |other: &[u64; 4]| own[0] < other[2] && other[0] < own[2] && own[1] < other[3] && other[1] < own[3];
        let others = taken.iter().filter(|(_, other)| overlaps(other));
        problems.extend(others.map(|(other, _)| format!("'{title}' lies on '{other}'")));
        taken.push((title, own));
    }
    problems
}

/// Kinds of panels that current versions of Grafana have, each with the options that it cannot do without.
const KINDS: [(&str, &[&str]); 6] = [
    ("timeseries", &["legend", "tooltip"]),
    ("stat", &["reduceOptions", "colorMode", "graphMode", "textMode"]),
    ("bargauge", &["reduceOptions", "displayMode", "orientation"]),
    ("heatmap", &["calculate", "color", "yAxis", "filterValues", "tooltip"]),
    ("state-timeline", &["mergeValues", "rowHeight", "showValue", "legend"]),
    ("table", &["showHeader", "cellHeight", "footer"]),
];

fn panel_kinds(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let Some((_, options)) = KINDS.iter().find(|(kind, _)| panel["type"] == *kind) else {
            return Some(format!("is of the kind {}", panel["type"]));
        };
        let missing: Vec<&&str> = options
            .iter()
            .filter(|option| panel["options"][**option].is_null())
            .collect();
        if !missing.is_empty() {
            return Some(format!("has no {missing:?}"));
        }
        let is_heat_map = panel["type"] == "heatmap";
        let has_format = list(&panel["targets"]).any(|target| target["format"] == "heatmap");
        (is_heat_map != has_format).then(|| "is a heat map in its kind or its query alone".to_owned())
    })
}

fn target_letters(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let mut known = BTreeSet::new();
        let mut letters = list(&panel["targets"]).map(|target| text(&target["refId"]));
        letters
            .any(|letter| letter.is_empty() || !known.insert(letter))
            .then(|| "has queries without a letter of their own".to_owned())
    })
}

/// The labels in a legend.
fn legend_labels(legend: &str) -> Vec<&str> {
    legend
        .split("{{")
        .skip(1)
        .filter_map(|part| part.split("}}").next())
        .map(str::trim)
        .collect()
}

/// A legend says what its series are: all labels of the outermost `by` that the query has, and no others.
fn target_legends(dashboard: &Value) -> Vec<String> {
    let wrong = targets(dashboard)
        .filter(|(_, target)| target["format"] != "table")
        .filter_map(|(title, target)| {
            let (query, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
            if legend.is_empty() {
                return Some(format!("'{title}' has a query without a legend: {query}"));
            }
            let kept: Option<BTreeSet<&str>> = query.split_once(" by (").and_then(|(_, rest)| {
                let labels = rest.split(')').next()?.split(',').map(str::trim);
                Some(
                    labels
                        .filter(|label| *label != "le" || legend.contains("{{le}}"))
                        .collect(),
                )
            });
            let kept = kept?;
            // What is added up further shows fewer labels, or none.
            let shown: BTreeSet<&str> = legend_labels(legend).into_iter().collect();
            let is_outermost = ["sum by", "max by", "min by", "avg by", "histogram_quantile"]
                .iter()
                .any(|start| query.starts_with(start));
            let is_right = if is_outermost {
                shown == kept
            } else {
                shown.is_subset(&kept)
            };
            (!is_right).then(|| format!("'{title}': the legend {legend} does not show {kept:?}"))
        });
    wrong.collect()
}

/// A quantile is computed from buckets that are still told apart.
fn target_quantiles(dashboard: &Value) -> Vec<String> {
    let wrong = targets(dashboard).filter_map(|(title, target)| {
        let query = text(&target["expr"]);
        let buckets = selectors(query).unwrap_or_default();
        let has_buckets = buckets.iter().any(|selector| selector.name.ends_with("_bucket"));
        let keeps = |query: &str| {
            let labels = query.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
            labels
                .flat_map(|labels| labels.split(','))
                .any(|label| label.trim() == "le")
        };
        (has_buckets && !keeps(query)).then(|| format!("'{title}' adds up the buckets: {query}"))
    });
    wrong.collect()
}

/// The names of variables that a text refers to, as `$name` or `${name}` or `${name:format}`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(rest.len());
        // A number is a group of a regular expression, two underscores begin Grafana's own.
        let name = &rest[..end];
        (name.starts_with(|first: char| first.is_ascii_alphabetic())).then_some(name)
    })
}

/// Each variable is there before it is used, and is used.
fn variables_defined(dashboard: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for variable in variables(dashboard) {
        let query = super::linter::variable_query(variable);
        let name = text(&variable["name"]);
        problems.extend(
            references(query)
                .filter(|used| !known.contains(used))
                .map(|used| format!("${used} in '{name}'")),
        );
        used.extend(references(query));
        known.insert(name);
    }
    for (title, target) in targets(dashboard) {
        for name in references(text(&target["expr"])).chain(references(text(&target["datasource"]["uid"]))) {
            used.insert(name);
            if !known.contains(name) {
                problems.push(format!("${name} in '{title}'"));
            }
        }
    }
    problems.extend(known.difference(&used).map(|name| format!("${name} is not used")));
    problems
}

/// Grafana takes the first step that is too high for the end.
fn thresholds_in_order(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let steps: Vec<Option<f64>> = list(&panel["fieldConfig"]["defaults"]["thresholds"]["steps"])
            .map(|step| step["value"].as_f64())
            .collect();
        let is_right = steps.first() == Some(&None) && steps[1..].iter().all(Option::is_some) && steps.is_sorted();
        (!is_right).then(|| format!("has thresholds at {steps:?}"))
    })
}
