//! The queries in the runbooks and in docs/alerts.md: each one is PromQL, and asks for something that there is.

use anyhow::Result;
use serde_json::json;
use testkit::TempDir;

use std::{path::Path, process::Command};

use super::files::{self, Files};
use crate::command;

/// The lines of the blocks of PromQL in all runbooks, with the runbook's name.
pub fn queries(files: &Files) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for file in files::list(&files.runbooks(), "md")? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        queries.extend(of_text(&files::text(&file)?).map(|query| (name.clone(), query)));
    }
    Ok(queries)
}

/// Lets `promtool` read all of them, as rules.
pub fn check(promtool: &Path, files: &Files) -> Result<()> {
    let rules = queries(files)?.into_iter().enumerate();
    let rules =
        rules.map(|(number, (name, query))| json!({ "record": format!("runbook:{name}:{number}"), "expr": query }));
    // JSON is YAML.
    let file = json!({ "groups": [{ "name": "runbooks", "rules": rules.collect::<Vec<_>>() }] });
    let dir = TempDir::new()?;
    let path = dir.write("runbooks.yml", file.to_string().as_bytes())?;
    command::output(Command::new(promtool).args(["check", "rules"]).arg(path)).map(drop)
}

fn of_text(text: &str) -> impl Iterator<Item = String> {
    let blocks = text.split("```promql\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines
        // Prometheus takes comments, but our own reader of names does not.
        .map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_promql() {
        let text = "a\n```sh\nb\n```\n```promql\nup == 0   # down\n\nup\n```\nc\n```promql\nd\n```\n";
        assert_eq!(of_text(text).collect::<Vec<_>>(), ["up == 0", "up", "d"]);
    }
}
