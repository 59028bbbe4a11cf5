//! The rules that dashboards have to keep: those of grafana/dashboard-linter by their names, and our own.

pub mod linter;
mod own;

use serde_json::Value;

/// A rule, and what in a dashboard is against it.
pub struct Rule {
    pub name: &'static str,
    check: fn(&Value) -> Vec<String>,
}

/// A rule that does not apply to a dashboard, and why.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    pub rule: &'static str,
    pub uid: &'static str,
    pub title: &'static str,
    pub reason: &'static str,
}

/// The objectives are about services, and not about the hosts that these run on.
const SLO_REASON: &str = "the recording rules of objectives add up all jobs and instances";

const fn slo(rule: &'static str) -> Exception {
    Exception {
        rule,
        uid: "vigie-slo",
        title: "Vigie / SLO",
        reason: SLO_REASON,
    }
}

const fn overview(rule: &'static str) -> Exception {
    Exception {
        rule,
        uid: "vigie-overview",
        title: "Vigie / Overview",
        reason: "ALERTS has the labels of each alert: an alert on sums has no job and no instance",
    }
}

/// What is excepted. The file `.lint` tells the original linter the same.
pub const EXCEPTIONS: [Exception; 6] = [
    slo("template-job-rule"),
    slo("template-instance-rule"),
    slo("target-job-rule"),
    slo("target-instance-rule"),
    overview("target-job-rule"),
    overview("target-instance-rule"),
];

/// All rules.
pub fn rules() -> Vec<Rule> {
    let mut rules = linter::rules();
    rules.extend(own::rules());
    rules
}

/// What is against the rules in this dashboard, with the rule's name before it.
pub fn problems(dashboard: &Value) -> Vec<String> {
    let uid = dashboard["uid"].as_str().unwrap_or_default();
    let mut problems = Vec::new();
    for rule in rules() {
        let is_excepted = EXCEPTIONS
            .iter()
            .any(|exception| exception.uid == uid && exception.rule == rule.name);
        let found = (rule.check)(dashboard);
        // An exception that nothing needs any more hides what comes later.
        if is_excepted && found.is_empty() {
            problems.push(format!("{uid}: {}: excepted without need", rule.name));
        } else if !is_excepted {
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("{uid}: {}: {problem}", rule.name)),
            );
        }
    }
    problems
}

/// What is against the rules that concern all dashboards together.
pub fn problems_together(dashboards: &[Value]) -> Vec<String> {
    own::together(dashboards)
}

/// The exceptions, for the original linter.
pub fn exceptions_file() -> String {
    let mut text =
        "# For grafana/dashboard-linter. Written by `cargo xtask dashboards --write`.\nexclusions:\n".to_owned();
    let mut rules: Vec<&str> = EXCEPTIONS.iter().map(|exception| exception.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    for rule in rules {
        let of_rule: Vec<&Exception> = EXCEPTIONS.iter().filter(|exception| exception.rule == rule).collect();
        let reasons: Vec<String> = of_rule
            .iter()
            .map(|exception| format!("{}: {}", exception.title, exception.reason))
            .collect();
        text.push_str(&format!(
            "  {rule}:\n    reason: \"{}\"\n    entries:\n",
            reasons.join("; ")
        ));
        for exception in of_rule {
            text.push_str(&format!("      - dashboard: {}\n", exception.title));
        }
    }
    text
}

// === What rules ask ===

/// The panels that show something: all but the headings.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row")
}

fn variables(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["templating"]["list"])
}

/// Each query, with the title of its panel.
fn targets(dashboard: &Value) -> impl Iterator<Item = (&str, &Value)> {
    panels(dashboard).flat_map(|panel| list(&panel["targets"]).map(|target| (text(&panel["title"]), target)))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Calls `check` for each panel, and puts its title before what it says.
fn each_panel<'a>(dashboard: &'a Value, check: impl Fn(&'a Value) -> Option<String>) -> Vec<String> {
    let found = panels(dashboard).filter_map(|panel| Some(format!("'{}' {}", text(&panel["title"]), check(panel)?)));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboards::{boards, grafana};
    use serde_json::json;

    fn overview() -> Value {
        grafana::dashboard(&boards::all()[0])
    }

    #[test]
    fn our_dashboards_keep_the_rules() {
        let dashboards: Vec<Value> = boards::all().iter().map(grafana::dashboard).collect();
        let problems: Vec<String> = dashboards
            .iter()
            .flat_map(problems)
            .chain(problems_together(&dashboards))
            .collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// Breaks one thing for each rule: it alone, and no other, has to say so.
    #[test]
    fn each_rule_sees_what_is_against_it() {
        type Break = fn(&mut Value);
        let broken: Vec<(&str, Break)> = vec![
            ("template-datasource-rule", |d| {
                d["templating"]["list"][0]["label"] = json!("Prometheus")
            }),
            ("template-job-rule", |d| {
                d["templating"]["list"][1]["multi"] = json!(false)
            }),
            ("template-instance-rule", |d| {
                d["templating"]["list"][2]["allValue"] = json!(".*")
            }),
            ("template-label-promql-rule", |d| {
                d["templating"]["list"][3]["query"]["query"] = json!("labels(a)")
            }),
            ("template-on-time-change-reload-rule", |d| {
                d["templating"]["list"][3]["refresh"] = json!(1)
            }),
            ("panel-datasource-rule", |d| {
                d["panels"][1]["datasource"]["uid"] = json!("prometheus")
            }),
            ("panel-title-description-rule", |d| {
                d["panels"][1]["description"] = json!("")
            }),
            ("panel-units-rule", |d| {
                d["panels"][1]["fieldConfig"]["defaults"]["unit"] = json!("seconds")
            }),
            ("panel-no-targets-rule", |d| d["panels"][1]["targets"] = json!([])),
            ("target-promql-rule", |d| {
                set_query(
                    d,
                    r#"sum(rate(a_total{job=~"$job", instance=~"$instance"}[$__rate_interval])"#,
                )
            }),
            ("target-rate-interval-rule", |d| {
                set_query(d, r#"rate(a_total{job=~"$job", instance=~"$instance"}[5m])"#)
            }),
            ("target-counter-agg-rule", |d| {
                set_query(d, r#"a_total{job=~"$job", instance=~"$instance"}"#)
            }),
            ("uneditable-dashboard", |d| d["editable"] = json!(true)),
            ("panel-ids", |d| d["panels"][2]["id"] = json!(2)),
            ("panel-places", |d| d["panels"][2]["gridPos"]["x"] = json!(3)),
            ("panel-places", |d| d["panels"][2]["gridPos"]["w"] = json!(25)),
            ("panel-kinds", |d| d["panels"][1]["type"] = json!("graph")),
            ("target-letters", |d| d["panels"][1]["targets"][0]["refId"] = json!("")),
            ("target-legends", |d| {
                d["panels"][8]["targets"][0]["legendFormat"] = json!("")
            }),
            ("target-legends", |d| {
                d["panels"][8]["targets"][0]["legendFormat"] = json!("{{handler}}")
            }),
            ("target-quantiles", |d| {
                set_query(
                    d,
                    r#"histogram_quantile(0.9, sum(rate(a_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))"#,
                )
            }),
            ("variables-defined", |d| {
                set_query(d, r#"a{job=~"$job", instance=~"$instance", b="$other"}"#)
            }),
            ("thresholds-in-order", |d| {
                d["panels"][3]["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] = json!(7)
            }),
            ("dashboard-fields", |d| d["schemaVersion"] = json!(16)),
            ("dashboard-fields", |d| d["tags"] = json!([])),
        ];
        for (rule, change) in broken {
            let mut dashboard = overview();
            change(&mut dashboard);
            let problems = problems(&dashboard);
            let prefix = format!("vigie-overview: {rule}: ");
            assert!(
                problems.iter().any(|problem| problem.starts_with(&prefix)),
                "{rule}: {problems:?}"
            );
            assert!(
                problems.iter().all(|problem| problem.starts_with(&prefix)),
                "{rule}: {problems:?}"
            );
        }
    }

    fn set_query(dashboard: &mut Value, query: &str) {
        dashboard["panels"][1]["targets"][0]["expr"] = json!(query);
    }

    /// The overview is excepted from these, for the sake of its alerts.
    #[test]
    fn queries_without_a_job_or_an_instance_are_seen() {
        let mut dashboard = overview();
        dashboard["uid"] = json!("another");
        dashboard["panels"] = json!([dashboard["panels"][1]]);
        assert!(problems(&dashboard).is_empty());
        set_query_of_first(&mut dashboard, r#"sum(a{job=~"$job"})"#);
        let found = problems(&dashboard);
        assert!(found[0].starts_with("another: target-instance-rule: "), "{found:?}");
        set_query_of_first(&mut dashboard, r#"sum(a{job="$job", instance=~"$instance"})"#);
        let found = problems(&dashboard);
        assert!(found[0].starts_with("another: target-job-rule: "), "{found:?}");
    }

    fn set_query_of_first(dashboard: &mut Value, query: &str) {
        dashboard["panels"][0]["targets"][0]["expr"] = json!(query);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_seen() {
        let mut dashboard = overview();
        dashboard["panels"] = json!([dashboard["panels"][1]]);
        let found = problems(&dashboard);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with(": excepted without need"), "{found:?}");
    }

    #[test]
    fn what_concerns_all_together_is_seen() {
        let mut dashboards = vec![overview(), overview()];
        assert!(
            problems_together(&dashboards)
                .iter()
                .any(|problem| problem.contains("vigie-overview"))
        );
        dashboards.truncate(1);
        // Its table links to the dashboard of performance, which is not there.
        let found = problems_together(&dashboards);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("vigie-performance"), "{found:?}");
    }
}
