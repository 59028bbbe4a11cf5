use super::*;
use testkit::TempDir;

const RULES: &str = "
groups:
  - name: g
    rules:
      - alert: Down
        expr: service_listening == 0
        labels: { severity: P1, category: availability }
        annotations:
          summary: down
          description: 'is {{ $value }}'
          runbook_url: docs/runbooks/Down.md
";
const TESTS: &str = "
evaluation_interval: 30s
tests:
  - alert_rule_test:
      - { eval_time: 30s, alertname: Down, exp_alerts: [] }
      - { eval_time: 1m, alertname: Down, exp_alerts: [{ exp_labels: { severity: P1 } }] }
      - { eval_time: 2m, alertname: Down, exp_alerts: [] }
";

/// What the check says of a workspace in which these texts are replaced.
fn checked(changes: &[(&str, &str)]) -> Result<usize, String> {
    let dir = TempDir::new().unwrap();
    let files = [
        ("docs/metrics.md", "| `service_listening` | gauge | | |\n"),
        ("docs/alerts.md", "[Down](runbooks/Down.md)\n"),
        ("docs/runbooks/Down.md", "# Down\n```promql\nservice_listening\n```\n"),
        ("dashboards/prometheus/rules/a.yml", RULES),
        ("dashboards/prometheus/tests/a.yml", TESTS),
    ];
    for (name, text) in files {
        let text = changes
            .iter()
            .fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
        dir.write(name, text.as_bytes()).unwrap();
    }
    check(&Files::find(dir.path()).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_complete_alert_passes() {
    assert_eq!(checked(&[]), Ok(1));
}

#[test]
fn what_is_missing_is_named() {
    for (old, new, expected) in [
        (
            "severity: P1, category",
            "severity: high, category",
            "Down high has no severity P1, P2 or P3",
        ),
        (", category: availability", "", "Down P1 has no category"),
        ("summary: down", "title: down", "Down P1 has no summary"),
        ("description: ", "text: ", "Down P1 has no description"),
        (
            "$value",
            "$labels.x",
            "the description of Down P1 does not say the value",
        ),
        (
            "docs/runbooks/Down.md",
            "docs/runbooks/Other.md",
            "the runbook_url of Down P1 is not docs/runbooks/Down.md",
        ),
        ("# Down", "# Other", "the runbook Down does not begin with its name"),
        ("(runbooks/Down.md)", "", "docs/alerts.md does not list Down"),
        (
            "service_listening ==",
            "service_listens ==",
            "Down asks for service_listens, which there is not",
        ),
    ] {
        let problems = checked(&[(old, new)]).unwrap_err();
        assert!(problems.contains(expected), "{problems}");
    }
    let renamed = checked(&[("alert: Down", "alert: Gone"), ("alertname: Down", "alertname: Gone")]).unwrap_err();
    assert!(
        renamed.contains("Gone has no runbook") && renamed.contains("the runbook Down is of no alert"),
        "{renamed}"
    );
}

#[test]
fn a_test_must_see_the_beginning_and_the_end() {
    let expected = "Down P1 has no test that it fires, not a step before, and resolves";
    for (old, new) in [
        ("eval_time: 30s", "eval_time: 0s"),
        ("eval_time: 2m", "eval_time: 10s"),
        ("exp_labels: { severity: P1 }", "exp_labels: { severity: P2 }"),
        ("eval_time: 30s, alertname: Down", "eval_time: 30s, alertname: Other"),
        ("[{ exp_labels: { severity: P1 } }]", "[]"),
    ] {
        assert_eq!(checked(&[(old, new)]).unwrap_err(), expected, "{new}");
    }
}

#[test]
fn durations_are_those_of_prometheus() {
    assert_eq!(seconds("1d2h3m4s").unwrap(), 93_784);
    for text in ["", "5", "m", "5x", "1.5h"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}
