//! The rules that Prometheus evaluates meanwhile: those of `dashboards/prometheus/`, and what the dashboards need besides.

use crate::paths;
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use testkit::TempDir;

/// An alert that fires, so that there is one.
const DRILL: &str = r#"groups:
  - name: drill
    rules:
      - alert: DashboardsDrill
        expr: sum by (service) (http_requests_total{status=~"5.."}) > 0
        labels: { severity: P3 }
        annotations: { summary: "{{ $labels.service }} has failed" }
"#;
/// A rule of objectives, by which it is known whether there are any.
const OBJECTIVES: &str = "slo:period_error_budget_remaining:ratio";

/// Writes the rule files to `rules/` in this directory. All are evaluated as often as the configuration says.
pub fn write(dir: &TempDir) -> Result<()> {
    dir.write("rules/drill.yml", DRILL.as_bytes())?;
    let mut has_objectives = false;
    for (name, text) in committed()? {
        has_objectives |= text.contains(OBJECTIVES);
        dir.write(&format!("rules/{name}"), without_intervals(&text).as_bytes())?;
    }
    if !has_objectives {
        dir.write("rules/objectives.yml", objective()?.as_bytes())?;
    }
    Ok(())
}

/// The rule files of the project: their names and texts.
fn committed() -> Result<Vec<(String, String)>> {
    let dir = paths::root()?.join("dashboards/prometheus");
    let mut files = Vec::new();
    // Where there is no such directory there are no rules.
    let entries = [dir.clone(), dir.join("rules")]
        .into_iter()
        .filter_map(|dir| fs::read_dir(dir).ok());
    for path in entries.flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yml" || extension == "yaml");
        if !is_yaml {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Beside rules there may be what they are made from.
        if text.lines().any(|line| line.starts_with("groups:")) {
            files.push((
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                text,
            ));
        }
    }
    Ok(files)
}

/// Half a minute is a long time here.
fn without_intervals(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("interval:"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// One objective, as Sloth would write it: 99.9 % of the answers of the stores are no failures, in 30 days.
fn objective() -> Result<String> {
    const ID: &str = "sloth_id: store-availability, sloth_service: store, sloth_slo: availability";
    const OF: &str = r#"{sloth_id="store-availability", sloth_service="store", sloth_slo="availability"}"#;
    const ON: &str = "on(sloth_id, sloth_slo, sloth_service) group_left";
    let mut text = "groups:\n  - name: objectives\n    rules:\n".to_owned();
    let mut rule = |record: &str, expression: &str, more: &str| {
        writeln!(
            text,
            "      - record: {record}\n        expr: '{expression}'\n        labels: {{ {ID}{more} }}"
        )
    };
    for window in ["5m", "30m", "1h", "2h", "6h", "1d", "3d"] {
        let failed = format!(r#"sum(rate(http_requests_total{{service=~"store.*", status=~"5.."}}[{window}]))"#);
        let all = format!(r#"sum(rate(http_requests_total{{service=~"store.*"}}[{window}]))"#);
        let labels = format!(", sloth_window: {window}");
        rule(
            &format!("slo:sli_error:ratio_rate{window}"),
            &format!("{failed} / {all}"),
            &labels,
        )?;
    }
    let short = format!("slo:sli_error:ratio_rate5m{OF}");
    let mean = format!("sum_over_time({short}[30d]) / ignoring(sloth_window) count_over_time({short}[30d])");
    rule("slo:sli_error:ratio_rate30d", &mean, ", sloth_window: 30d")?;
    rule("slo:objective:ratio", "vector(0.999)", "")?;
    rule("slo:error_budget:ratio", "vector(1-0.999)", "")?;
    rule("slo:time_period:days", "vector(30)", "")?;
    let burn = |window: &str| format!("slo:sli_error:ratio_rate{window}{OF} / {ON} slo:error_budget:ratio{OF}");
    rule("slo:current_burn_rate:ratio", &burn("5m"), "")?;
    rule("slo:period_burn_rate:ratio", &burn("30d"), "")?;
    rule(OBJECTIVES, &format!("1 - slo:period_burn_rate:ratio{OF}"), "")?;
    rule("sloth_slo_info", "vector(1)", r#", sloth_objective: "99.9""#)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_groups_are_left_out_alone() {
        let text = "groups:\n  - name: a\n    interval: 30s\n    rules:\n      - record: b:interval:c\n";
        assert_eq!(
            without_intervals(text),
            "groups:\n  - name: a\n    rules:\n      - record: b:interval:c\n"
        );
    }
}
