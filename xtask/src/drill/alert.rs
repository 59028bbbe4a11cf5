//! The alert that says that the store is down, found in the rules by what it looks at.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The metric that says whether somebody listens.
const METRIC: &str = "service_listening";
const LEVEL: &str = "p1";

/// An alert of a rule file.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub name: String,
    pub severity: String,
    /// How long it is pending.
    pub pending: String,
}

/// The alert of the first level on `service_listening`, in these texts of rule files.
pub fn find<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<Alert> {
    for text in files {
        let file: Value = serde_saphyr::from_str(text).context("a rule file is no YAML")?;
        let groups = file["groups"].as_array().into_iter().flatten();
        for rule in groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
            if let Some(alert) = alert(rule) {
                return Ok(alert);
            }
        }
    }
    bail!("no rule file has an alert of level P1 on {METRIC}");
}

fn alert(rule: &Value) -> Option<Alert> {
    let severity = rule["labels"]["severity"].as_str()?;
    let is_it = severity.eq_ignore_ascii_case(LEVEL) && rule["expr"].as_str()?.contains(METRIC);
    is_it.then(|| Alert {
        name: rule["alert"].as_str().unwrap_or_default().to_owned(),
        severity: severity.to_owned(),
        pending: rule["for"].as_str().unwrap_or("0s").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
groups:
  - name: api
    rules:
      - record: a:b
        expr: service_listening
      - alert: Slow
        expr: vigie_up == 0
        labels: { severity: P1 }
      - alert: Down
        expr: service_listening == 0
        for: 1m
        labels: { severity: P1 }
"#;

    #[test]
    fn it_is_found_by_its_metric_and_level() {
        let alert = find([RULES]).unwrap();
        let (name, severity, pending) = ("Down".to_owned(), "P1".to_owned(), "1m".to_owned());
        assert_eq!(
            alert,
            Alert {
                name,
                severity,
                pending
            }
        );
        assert!(find([RULES.replace("P1", "P2").as_str()]).is_err());
    }
}
