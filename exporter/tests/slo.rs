//! `vigie slo generate`: what it writes, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use testkit::TempDir;

const OBJECTIVE: &str = "slos: [{service: store, name: fast, objective: 95, faster_than: 3s}]";

fn generate(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vigie"));
    command
        .args(["slo", "generate", "--config"])
        .args(arguments)
        .output()
        .unwrap()
}

/// The one line on standard error of a run that has failed, and has written nothing else.
fn failure(arguments: &[&Path]) -> String {
    let output = generate(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(output.stdout.is_empty());
    error
}

#[test]
fn the_example_gives_what_is_committed() {
    let prometheus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/prometheus");
    let output = generate(&[&prometheus.join("slo.yml")]);
    let committed = fs::read(prometheus.join("rules/slo.yml")).unwrap();
    assert!(output.status.success());
    assert!(
        output.stdout == committed,
        "dashboards/prometheus/rules/slo.yml is not up to date"
    );
}

#[test]
fn a_threshold_must_be_one_of_the_buckets_that_are_configured() {
    let dir = TempDir::new().unwrap();
    let slo = dir.write("slo.yml", OBJECTIVE.as_bytes()).unwrap();
    let vigie = dir.write("vigie.yml", b"buckets: [0.1, 3]").unwrap();
    let rules = dir.path().join("rules.yml");
    let error = failure(&[&slo, Path::new("-o"), &rules]);
    assert!(
        error.contains("slo.yml:1:") && error.contains("faster_than \"3s\" is no bound"),
        "{error}"
    );
    assert!(!rules.exists());
    let output = generate(&[&slo, Path::new("--config.file"), &vigie, Path::new("-o"), &rules]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(fs::read_to_string(&rules).unwrap().contains("le=\"3.0\""));
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let dir = TempDir::new().unwrap();
    let error = failure(&[&dir.path().join("none.yml")]);
    assert!(error.contains("none.yml: cannot read the configuration"), "{error}");
    let slo = dir.write("slo.yml", OBJECTIVE.replace("3s", "2s").as_bytes()).unwrap();
    let error = failure(&[&slo, Path::new("-o"), &dir.path().join("no/such/rules.yml")]);
    assert!(
        error.contains("cannot write") && error.contains("no/such/rules.yml"),
        "{error}"
    );
}
