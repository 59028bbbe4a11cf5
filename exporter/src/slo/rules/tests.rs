use std::path::Path;

use super::*;
use crate::config::Config;

fn rules(text: &str) -> String {
    super::text(&Objectives::parse(text, "slo.yml", &Config::default()).unwrap())
}

#[test]
fn the_committed_rules_are_what_the_example_gives() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/prometheus");
    let objectives = Objectives::load(&dir.join("slo.yml"), &Config::default()).unwrap();
    let committed = std::fs::read_to_string(dir.join("rules/slo.yml")).unwrap();
    let hint = "vigie slo generate --config dashboards/prometheus/slo.yml -o dashboards/prometheus/rules/slo.yml";
    assert!(text(&objectives) == committed, "not what is committed: run {hint}");
}

#[test]
fn a_pair_that_cannot_fire_is_left_out() {
    let with = |objective| {
        rules(&format!(
            "slos: [{{service: a, name: b, objective: {objective}, errors: 5..}}]"
        ))
    };
    let factors = |text: &str| ["(14.4 *", "(6 *", "(3 *", "(1 *"].map(|factor| text.contains(factor));
    assert_eq!(factors(&with("99.9")), [true; 4]);
    assert_eq!(factors(&with("93")), [false, true, true, true]);
    assert_eq!(factors(&with("80")), [false, false, true, true]);
    assert!(!with("80").contains("severity: 'P1'"));
}

#[test]
fn names_cannot_break_out() {
    let text = rules("slos: [{service: \"a'b\\\"c{{d\", name: b, objective: 99, errors: 5..}]");
    assert!(
        text.contains(r#"service="a\"#) || text.contains(r#"service="a'b\"c{{d""#),
        "{text}"
    );
    assert!(text.contains("'a''b\"c{ {d burns the error budget"), "{text}");
}

#[test]
fn the_period_is_in_names_and_factors() {
    let text = rules("period: 28d\nslos: [{service: a, name: b, objective: 99, errors: 5..}]");
    for part in ["slo:sli_error:ratio_rate28d", "[28d]", "vector(28)", "(13.44 * 0.01)"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn the_families_of_services_are_asked_where_they_know_it() {
    let text = rules("slos: [{service: a, name: b, objective: 99, errors: 5..}]");
    let bad = r#"sum(rate(service_http_requests_total{service="a",class="5xx"}[5m]))"#;
    let all = r#"sum(rate(service_http_requests_total{service="a",class!="aborted"}[5m]))"#;
    // They are there at 0: nothing has to be put in the place of what is absent.
    let ratio = format!("          {bad}\n          /\n          ({all} > 0)\n");
    assert!(text.contains(&ratio), "{text}");
    assert!(!text.contains("{http_") && !text.contains("(http_"), "{text}");
    let text = rules("slos: [{service: a, name: b, objective: 99, errors: '[45]..', match: {namespace: shop}}]");
    assert!(
        text.contains(r#"{service="a",namespace=~"shop",class=~"4xx|5xx"}"#),
        "{text}"
    );
    assert_eq!(text.matches("          namespace: 'shop'\n").count(), 2, "{text}");
    let text = rules("slos: [{service: a, name: b, objective: 99, faster_than: 2s}]");
    for name in ["bucket{service=\"a\",le=\"2.0\"}", "count{service=\"a\"}"] {
        let name = format!("(service_http_request_duration_seconds_{name}[5m])");
        assert!(text.contains(&name), "no {name} in {text}");
    }
}

#[test]
fn the_families_of_routes_are_asked_for_what_only_they_know() {
    let text = rules("slos: [{service: a, name: b, objective: 99, errors: '5..|429'}]");
    let bad = r#"sum(rate(http_requests_total{service="a",status=~"5..|429"}[5m]))"#;
    let all = r#"sum(rate(http_requests_total{service="a"}[5m]))"#;
    let ratio = format!("          ({bad} or {all} * 0)\n          /\n          ({all} > 0)\n");
    assert!(text.contains(&ratio), "{text}");
    assert!(!text.contains("service_http_"), "{text}");
    let text = rules("slos: [{service: a, name: b, objective: 99, faster_than: 2s, match: {handler: /a}}]");
    assert!(
        text.contains(r#"(http_request_duration_seconds_bucket{service="a",handler=~"/a",le="2.0"}[5m])"#),
        "{text}"
    );
    assert!(!text.contains("service_http_"), "{text}");
}

#[test]
fn a_namespace_is_a_label_of_the_alerts_once() {
    let text = rules(
        "labels: {namespace: mine}\nslos: [{service: a, name: b, objective: 99, errors: 5.., match: {namespace: shop}}]",
    );
    assert!(!text.contains("namespace: 'shop'"), "{text}");
    assert!(text.contains("          namespace: 'mine'\n"), "{text}");
}

/// The requests of a service are found by the label that Vigie's configuration says.
#[test]
fn the_label_of_the_service_may_have_another_name() {
    let vigie = Config {
        service_label: "app",
        ..Config::default()
    };
    let file = "slos:\n  - {service: store, name: up, objective: 99, errors: '5..'}\n  - {service: store, name: fast, objective: 99, faster_than: 2s, match: {app: 'a.*'}}\n";
    let rules = text(&Objectives::parse(file, "slo.yml", &vigie).unwrap());
    assert!(
        rules.contains(r#"service_http_requests_total{app="store",class"#),
        "{rules}"
    );
    assert!(rules.contains(r#"_bucket{app=~"a.*",le="2.0"}"#), "{rules}");
    assert!(!rules.contains(r#"{service="#), "{rules}");
}
