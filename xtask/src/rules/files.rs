//! The files that are checked, and what of them matters here.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

/// Where everything is.
#[derive(Debug)]
pub struct Files {
    /// The directory of the workspace.
    pub root: PathBuf,
    /// Rules for Prometheus.
    pub rules: Vec<PathBuf>,
    /// Tests of these rules.
    pub tests: Vec<PathBuf>,
}

/// A file of rules.
#[derive(Debug, Deserialize)]
pub struct RuleFile {
    pub groups: Vec<Group>,
}

/// A group of rules.
#[derive(Debug, Deserialize)]
pub struct Group {
    pub rules: Vec<Rule>,
}

/// A recording rule or an alert.
#[derive(Debug, Deserialize)]
pub struct Rule {
    pub alert: Option<String>,
    pub record: Option<String>,
    pub expr: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A file of tests for `promtool`.
#[derive(Debug, Deserialize)]
pub struct TestFile {
    pub evaluation_interval: String,
    pub tests: Vec<Test>,
}

/// One test: series, and what the rules make of them.
#[derive(Debug, Deserialize)]
pub struct Test {
    #[serde(default)]
    pub alert_rule_test: Vec<Check>,
}

/// What fires at a time.
#[derive(Debug, Deserialize)]
pub struct Check {
    pub eval_time: String,
    pub alertname: String,
    pub exp_alerts: Vec<Expected>,
}

/// One alert that fires.
#[derive(Debug, Deserialize)]
pub struct Expected {
    pub exp_labels: BTreeMap<String, String>,
}

// === impl Files ===

impl Files {
    /// Finds the files of a workspace.
    pub fn find(root: &Path) -> Result<Self> {
        let prometheus = root.join("dashboards/prometheus");
        Ok(Self {
            root: root.to_owned(),
            rules: list(&prometheus.join("rules"), "yml")?,
            tests: list(&prometheus.join("tests"), "yml")?,
        })
    }

    /// The directory of the runbooks.
    pub fn runbooks(&self) -> PathBuf {
        self.root.join("docs/runbooks")
    }

    /// The directory of Alertmanager's configuration.
    pub fn alertmanager(&self) -> PathBuf {
        self.root.join("dashboards/alertmanager")
    }
}

/// The files of a directory with that extension, in order. None at all is an error.
pub fn list(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension() == Some(OsStr::new(extension)));
    files.sort();
    ensure!(!files.is_empty(), "no .{extension} in {}", directory.display());
    Ok(files)
}

/// Reads a file.
pub fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Reads a file of YAML.
pub fn yaml<T: DeserializeOwned>(file: &Path) -> Result<T> {
    serde_saphyr::from_str(&text(file)?).with_context(|| format!("in {}", file.display()))
}
