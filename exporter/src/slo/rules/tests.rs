use std::path::Path;

use super::*;
use crate::config::Buckets;

fn rules(text: &str) -> String {
    super::text(&Objectives::parse(text, "slo.yml", &Buckets::default()).unwrap())
}

#[test]
fn the_committed_rules_are_what_the_example_gives() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/prometheus");
    let objectives = Objectives::load(&dir.join("slo.yml"), &Buckets::default()).unwrap();
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
