//! The rules of grafana/dashboard-linter, by their names there: each written anew from what its documentation asks.
//!
//! Those for logs (`target-logql-rule`, `target-logql-auto-rule`) have nothing to say here: there are no logs.

use super::{Rule, each_panel, list, targets, text, variables};
use crate::dashboards::promql::{Selector, selectors};
use serde_json::Value;

/// The rules that are about one dashboard each.
pub fn rules() -> Vec<Rule> {
    let rule = |name, check| Rule { name, check };
    vec![
        rule("template-datasource-rule", template_datasource),
        rule("template-job-rule", |dashboard| template(dashboard, "job", "Job")),
        rule("template-instance-rule", |dashboard| {
            template(dashboard, "instance", "Instance")
        }),
        rule("template-label-promql-rule", template_label_promql),
        rule("template-on-time-change-reload-rule", template_on_time_change_reload),
        rule("panel-datasource-rule", panel_datasource),
        rule("panel-title-description-rule", panel_title_description),
        rule("panel-units-rule", panel_units),
        rule("panel-no-targets-rule", panel_no_targets),
        rule("target-promql-rule", target_promql),
        rule("target-rate-interval-rule", target_rate_interval),
        rule("target-job-rule", |dashboard| target_matcher(dashboard, "job")),
        rule("target-instance-rule", |dashboard| {
            target_matcher(dashboard, "instance")
        }),
        rule("target-counter-agg-rule", target_counter_agg),
        rule("uneditable-dashboard", uneditable),
    ]
}

const DATA_SOURCE: &str = "${datasource}";

fn template_datasource(dashboard: &Value) -> Vec<String> {
    let sources: Vec<&Value> = variables(dashboard)
        .filter(|variable| variable["type"] == "datasource")
        .collect();
    let [source] = sources.as_slice() else {
        return vec![format!("{} data source variables instead of one", sources.len())];
    };
    let expected = [
        ("name", "datasource"),
        ("label", "Data source"),
        ("query", "prometheus"),
    ];
    let wrong = expected.into_iter().filter(|(field, value)| source[*field] != *value);
    wrong
        .map(|(field, value)| format!("its {field} is not '{value}'"))
        .collect()
}

/// There is such a variable, for several values, and all of them are what has any value.
fn template(dashboard: &Value, name: &str, label: &str) -> Vec<String> {
    let Some(variable) = variables(dashboard).find(|variable| variable["name"] == name) else {
        return vec![format!("there is no variable '{name}'")];
    };
    let mut problems = Vec::new();
    if variable["type"] != "query" || variable["datasource"]["uid"] != DATA_SOURCE {
        problems.push("it is no query of the data source".to_owned());
    }
    if variable["label"] != label {
        problems.push(format!("its label is not '{label}'"));
    }
    if variable["multi"] != true || variable["includeAll"] != true || variable["allValue"] != ".+" {
        problems.push("several values, and all, cannot be chosen".to_owned());
    }
    problems
}

/// The text of a variable's query, which is a text or an object.
pub fn variable_query(variable: &Value) -> &str {
    match &variable["query"] {
        Value::String(query) => query,
        other => text(&other["query"]),
    }
}

/// The series and the label of `label_values(series, label)`.
pub fn label_values(query: &str) -> Option<(&str, &str)> {
    let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (series, label) = inner.rsplit_once(',')?;
    Some((series.trim(), label.trim()))
}

fn template_label_promql(dashboard: &Value) -> Vec<String> {
    let queries = variables(dashboard).filter(|variable| variable["type"] == "query");
    let wrong = queries.filter_map(|variable| {
        let query = variable_query(variable);
        let understood =
            label_values(query).is_some_and(|(series, _)| selectors(series).is_ok_and(|found| found.len() == 1));
        (!understood || variable["definition"] != query).then(|| format!("'{}': {query}", text(&variable["name"])))
    });
    wrong.collect()
}

fn template_on_time_change_reload(dashboard: &Value) -> Vec<String> {
    let queries = variables(dashboard).filter(|variable| variable["type"] == "query");
    let wrong = queries.filter(|variable| variable["refresh"] != 2);
    wrong
        .map(|variable| {
            format!(
                "'{}' is not asked for again when the time changes",
                text(&variable["name"])
            )
        })
        .collect()
}

fn panel_datasource(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let sources = [panel]
            .into_iter()
            .chain(list(&panel["targets"]))
            .map(|value| &value["datasource"]);
        let mut other = sources.filter(|source| source["uid"] != DATA_SOURCE || source["type"] != "prometheus");
        other.next().map(|source| format!("has the data source {source}"))
    })
}

fn panel_title_description(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let is_there = |field: &str| !text(&panel[field]).trim().is_empty();
        (!is_there("title") || !is_there("description")).then(|| "has no title or no description".to_owned())
    })
}

/// Of Grafana's units the ones that our dashboards use.
const UNITS: [&str; 10] = [
    "short",
    "cps",
    "reqps",
    "pps",
    "bytes",
    "binBps",
    "s",
    "d",
    "percentunit",
    "none",
];

fn panel_units(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        let config = &panel["fieldConfig"];
        let properties = list(&config["overrides"]).flat_map(|one| list(&one["properties"]));
        let overridden = properties
            .filter(|property| property["id"] == "unit")
            .map(|property| &property["value"]);
        let mut units = [&config["defaults"]["unit"]].into_iter().chain(overridden);
        let unknown = units.find(|unit| !UNITS.contains(&text(unit)))?;
        Some(format!("has the unit {unknown}"))
    })
}

fn panel_no_targets(dashboard: &Value) -> Vec<String> {
    each_panel(dashboard, |panel| {
        list(&panel["targets"])
            .next()
            .is_none()
            .then(|| "has no queries".to_owned())
    })
}

fn target_promql(dashboard: &Value) -> Vec<String> {
    let wrong = targets(dashboard).filter_map(|(title, target)| {
        let error = selectors(text(&target["expr"])).err()?;
        Some(format!("'{title}': {error}: {}", text(&target["expr"])))
    });
    wrong.collect()
}

/// Calls `check` for each selection of each query.
fn each_selector(dashboard: &Value, check: impl Fn(&Selector) -> Option<String>) -> Vec<String> {
    let found = targets(dashboard).flat_map(|(title, target)| {
        // A query that is not understood is against another rule.
        let selectors = selectors(text(&target["expr"])).unwrap_or_default();
        let problems: Vec<String> = selectors
            .iter()
            .filter_map(|selector| Some(format!("'{title}': {} {}", selector.name, check(selector)?)))
            .collect();
        problems
    });
    found.collect()
}

/// Rates have the interval that suits the scrapes; only what has grown may be asked for the whole time.
fn target_rate_interval(dashboard: &Value) -> Vec<String> {
    each_selector(dashboard, |selector| {
        let range = selector.range.as_deref()?;
        let function = selector.around.last().map_or("", String::as_str);
        let is_right = match range {
            "$__rate_interval" => ["rate", "irate", "increase"].contains(&function),
            "$__range" => function == "increase",
            _ => false,
        };
        (!is_right).then(|| format!("has the range [{range}] in '{function}'"))
    })
}

fn target_matcher(dashboard: &Value, label: &str) -> Vec<String> {
    each_selector(dashboard, |selector| {
        let value = format!("${label}");
        let mut matchers = selector.matchers.iter();
        let is_there =
            matchers.any(|matcher| matcher.label == label && matcher.operator == "=~" && matcher.value == value);
        (!is_there).then(|| format!("has no {label}=~\"{value}\""))
    })
}

/// A counter, or a part of a histogram or a summary, says nothing as it is.
fn target_counter_agg(dashboard: &Value) -> Vec<String> {
    each_selector(dashboard, |selector| {
        let is_counter = ["_total", "_bucket", "_sum", "_count"]
            .iter()
            .any(|end| selector.name.ends_with(end));
        let function = selector.around.last().map_or("", String::as_str);
        let is_counted = selector.range.is_some() && ["rate", "irate", "increase"].contains(&function);
        (is_counter && !is_counted).then(|| "is a counter, without rate or increase".to_owned())
    })
}

/// Changes in Grafana would be overwritten by the files.
fn uneditable(dashboard: &Value) -> Vec<String> {
    let mut problems = each_panel(dashboard, |panel| {
        (panel["editable"] == true).then(|| "can be edited".to_owned())
    });
    if dashboard["editable"] != false {
        problems.push("it can be edited".to_owned());
    }
    problems
}
