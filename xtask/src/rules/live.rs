//! The rules on a real Vigie's metrics, in a real Prometheus: every one can be evaluated, and every series is recorded.
//!
//! `promtool` knows only the series that a test gives it. Here the labels are those that Vigie has.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::{Client, Prometheus, Request, TempDir, Webhook, vigie};

use super::files::{self, Files, RuleFile};

const LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(100);
/// How often the groups of rules are evaluated. Here it is every second.
const SLOW: [&str; 2] = ["interval: 15s", "interval: 30s"];

/// Watches a service that this process is, and looks at what the rules make of it.
pub fn check(prometheus: &Path, vigie_program: &Path, files: &Files) -> Result<()> {
    let service = Webhook::start()?;
    let dir = TempDir::new()?;
    // As the example of the objectives has it.
    let name = format!("services: [{{name: store, port: {}}}]", service.address().port());
    let config = dir.write("vigie.yml", name.as_bytes())?;
    let vigie = vigie(vigie_program, &["--config.file", &config.to_string_lossy()])?;
    let mut recorded = BTreeSet::new();
    let place = TempDir::new()?;
    for file in &files.rules {
        let text = files::text(file)?;
        let fast = SLOW
            .iter()
            .fold(text.clone(), |text, slow| text.replace(slow, "interval: 1s"));
        ensure!(fast != text, "none of {SLOW:?} in {}", file.display());
        let name = file.file_name().context("a file without a name")?.to_string_lossy();
        place.write(&format!("rules/{name}"), fast.as_bytes())?;
        let groups = files::yaml::<RuleFile>(file)?.groups;
        recorded.extend(
            groups
                .into_iter()
                .flat_map(|group| group.rules)
                .filter_map(|rule| rule.record),
        );
    }
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules/*.yml]\n\
         scrape_configs:\n\
         - {{job_name: vigie, honor_labels: true, static_configs: [{{targets: ['{address}'], labels: {{service: vigie}}}}]}}\n\
         - {{job_name: hidden, static_configs: [{{targets: ['{address}'], labels: {{service: vigie}}}}]}}\n",
        address = vigie.server.address()
    );
    let prometheus = Prometheus::start(prometheus, place, &config, &[])?;
    wait(|| {
        for _ in 0..5 {
            Client::connect(service.address())?.send(&Request::post("/some/path", "{}"))?;
        }
        missing(&prometheus, &recorded)
    })?;
    healthy(&prometheus.api("/api/v1/rules")?)?;
    labels_are_honoured(&prometheus)?;
    // And one alert, as far as it comes without a minute's wait.
    drop(service);
    wait(|| {
        let pending = prometheus.query("ALERTS{alertname='ServiceDown', service='store', severity='P1'}")?;
        Ok(pending
            .is_empty()
            .then(|| "ServiceDown of a service that has stopped listening".to_owned()))
    })
}

/// A target label `service` hides that of Vigie, unless it is honoured: README's first query finds the service or not, and the alert is for the one job
/// alone.
fn labels_are_honoured(prometheus: &Prometheus) -> Result<()> {
    wait(|| {
        let hidden = prometheus.query("ALERTS{alertname='VigieLabelsHidden'}")?;
        Ok(hidden.is_empty().then(|| "VigieLabelsHidden".to_owned()))
    })?;
    let hidden = prometheus.query("ALERTS{alertname='VigieLabelsHidden'}")?;
    ensure!(hidden.iter().all(|alert| alert.label("job") == "hidden"), "{hidden:?}");
    for (job, expected) in [("vigie", true), ("hidden", false)] {
        let query = format!("sum by (service) (service_http_requests_total{{job='{job}'}})");
        let services = prometheus.query(&query)?;
        let is_found = services.iter().any(|sample| sample.label("service") == "store");
        ensure!(is_found == expected, "{query}: {services:?}");
    }
    Ok(())
}

/// Waits until nothing is missing any more.
fn wait(mut missing: impl FnMut() -> Result<Option<String>>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while let Some(what) = missing()? {
        ensure!(Instant::now() < end, "did not come: {what}");
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Recorded series that are not there.
fn missing(prometheus: &Prometheus, recorded: &BTreeSet<String>) -> Result<Option<String>> {
    let found = prometheus.query("count by (__name__) ({__name__=~'.+:.+|sloth_slo_info'})")?;
    let found: BTreeSet<String> = found.iter().map(|sample| sample.label("__name__").to_owned()).collect();
    let missing: Vec<&str> = recorded.difference(&found).map(String::as_str).collect();
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

/// Fails if a rule could not be evaluated, for instance because series could not be matched.
fn healthy(rules: &Value) -> Result<()> {
    let mut count = 0;
    for group in rules["groups"].as_array().context("no groups")? {
        for rule in group["rules"].as_array().context("no rules")? {
            if rule["health"] != "ok" {
                bail!("{} is {}: {}", rule["name"], rule["health"], rule["lastError"]);
            }
            count += 1;
        }
    }
    ensure!(count > 0, "no rules");
    Ok(())
}
