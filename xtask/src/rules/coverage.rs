//! No alert without a level, annotations, a runbook, and a test that it fires, that it does not a step before, and that it resolves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use super::{
    expression,
    files::{self, Check, Files, Rule, RuleFile, TestFile},
    runbooks,
};

/// The labels that tell rules of the same name apart, besides the name.
const KEY: [&str; 2] = ["severity", "sloth_id"];
const LEVELS: [&str; 3] = ["P1", "P2", "P3"];

/// Checks all rules, and says how many alerts there are.
///
/// # Errors
///
/// All that is missing.
pub fn check(files: &Files) -> Result<usize> {
    let rules = rules(files)?;
    let tests = files
        .tests
        .iter()
        .map(|file| files::yaml::<TestFile>(file))
        .collect::<Result<Vec<_>>>()?;
    let catalogue = expression::catalogue(&files::text(&files.root.join("docs/metrics.md"))?);
    let page = files::text(&files.root.join("docs/alerts.md"))?;
    let recorded: BTreeSet<String> = rules.iter().filter_map(|rule| rule.record.clone()).collect();
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let mut count = 0;
    for rule in &rules {
        let name = rule
            .alert
            .as_ref()
            .or(rule.record.as_ref())
            .context("a rule without a name")?;
        for unknown in expression::unknown(&rule.expr, &catalogue, &recorded) {
            problems.push(format!("{name} asks for {unknown}, which there is not"));
        }
        let Some(alert) = &rule.alert else { continue };
        count += 1;
        names.insert(alert.clone());
        problems.extend(of_rule(rule, alert));
        if !page.contains(&format!("(runbooks/{alert}.md)")) {
            problems.push(format!("docs/alerts.md does not list {alert}"));
        }
        let is_tested = tests
            .iter()
            .map(|file| is_tested(rule, alert, file))
            .collect::<Result<Vec<_>>>()?;
        if !is_tested.contains(&true) {
            problems.push(format!(
                "{} has no test that it fires, not a step before, and resolves",
                shown(rule, alert)
            ));
        }
    }
    problems.extend(of_runbooks(&files.runbooks(), &names)?);
    for (runbook, query) in runbooks::queries(files)? {
        let unknown = expression::unknown(&query, &catalogue, &recorded);
        problems.extend(
            unknown
                .iter()
                .map(|name| format!("the runbook {runbook} asks for {name}, which there is not")),
        );
    }
    if !problems.is_empty() {
        problems.dedup();
        bail!("{}", problems.join("\n"));
    }
    Ok(count)
}

fn rules(files: &Files) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for file in &files.rules {
        let file: RuleFile = files::yaml(file)?;
        rules.extend(file.groups.into_iter().flat_map(|group| group.rules));
    }
    Ok(rules)
}

/// What an alert lacks in itself.
fn of_rule(rule: &Rule, alert: &str) -> Vec<String> {
    let shown = shown(rule, alert);
    let mut problems = Vec::new();
    if !rule
        .labels
        .get("severity")
        .is_some_and(|level| LEVELS.contains(&level.as_str()))
    {
        problems.push(format!("{shown} has no severity P1, P2 or P3"));
    }
    if !rule.labels.contains_key("category") {
        problems.push(format!("{shown} has no category"));
    }
    for annotation in ["summary", "description"] {
        if rule.annotations.get(annotation).is_none_or(String::is_empty) {
            problems.push(format!("{shown} has no {annotation}"));
        }
    }
    if !rule
        .annotations
        .get("description")
        .is_some_and(|text| text.contains("$value"))
    {
        problems.push(format!("the description of {shown} does not say the value"));
    }
    let runbook = format!("docs/runbooks/{alert}.md");
    if rule.annotations.get("runbook_url") != Some(&runbook) {
        problems.push(format!("the runbook_url of {shown} is not {runbook}"));
    }
    problems
}

/// Runbooks that are missing, and those of no alert.
fn of_runbooks(directory: &Path, alerts: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut found = BTreeSet::new();
    for file in files::list(directory, "md")? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !files::text(&file)?.starts_with(&format!("# {name}\n")) {
            problems.push(format!("the runbook {name} does not begin with its name"));
        }
        found.insert(name);
    }
    problems.extend(alerts.difference(&found).map(|name| format!("{name} has no runbook")));
    problems.extend(
        found
            .difference(alerts)
            .map(|name| format!("the runbook {name} is of no alert")),
    );
    Ok(problems)
}

/// Whether one of the tests sees it begin and end.
fn is_tested(rule: &Rule, alert: &str, file: &TestFile) -> Result<bool> {
    let step = seconds(&file.evaluation_interval)?;
    for test in &file.tests {
        let checks = test.alert_rule_test.iter().filter(|check| check.alertname == alert);
        let fires: BTreeMap<u64, bool> = checks
            .map(|check| Ok((seconds(&check.eval_time)?, does_fire(rule, check))))
            .collect::<Result<_>>()?;
        let begins = |time: u64| time >= step && fires.get(&(time - step)) == Some(&false);
        let ends = |time: u64| fires.range(time..).any(|(_, fires)| !fires);
        if fires.iter().any(|(&time, &fires)| fires && begins(time) && ends(time)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn does_fire(rule: &Rule, check: &Check) -> bool {
    let is_it = |labels: &BTreeMap<String, String>| KEY.iter().all(|key| labels.get(*key) == rule.labels.get(*key));
    check.exp_alerts.iter().any(|alert| is_it(&alert.exp_labels))
}

fn shown(rule: &Rule, alert: &str) -> String {
    let labels = KEY.iter().filter_map(|key| rule.labels.get(*key).map(String::as_str));
    [alert].into_iter().chain(labels).collect::<Vec<_>>().join(" ")
}

/// A duration as Prometheus writes it: `1d2h3m4s`.
fn seconds(text: &str) -> Result<u64> {
    let mut total = 0;
    let mut number = String::new();
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => bail!("'{text}' is no duration"),
        };
        total += number
            .parse::<u64>()
            .with_context(|| format!("'{text}' is no duration"))?
            * unit;
        number.clear();
    }
    if !number.is_empty() || text.is_empty() {
        bail!("'{text}' is no duration");
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
