//! What Grafana is provisioned with: it must find its dashboards, and its data source.

use super::mount::Mount;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const PROVISIONING: &str = "/etc/grafana/provisioning";

/// What is wrong with the provisioning that these mounts give, where `dir` is the Compose file's.
pub fn problems(mounts: &[Mount], dir: &Path, services: &[&str]) -> Result<Vec<String>> {
    let Some(provisioning) = on_host(mounts, dir, PROVISIONING) else {
        return Ok(vec![format!("nothing is mounted on {PROVISIONING}")]);
    };
    let mut problems = Vec::new();
    let mut sources = 0;
    for file in files(&provisioning.join("datasources"))? {
        for source in file["datasources"].as_array().into_iter().flatten() {
            sources += 1;
            let url = source["url"].as_str().unwrap_or_default();
            let host = url.split("://").nth(1).and_then(|rest| rest.split([':', '/']).next());
            if !host.is_some_and(|host| services.contains(&host)) {
                problems.push(format!("data source '{url}' is no service"));
            }
        }
    }
    let mut dashboards = 0;
    for file in files(&provisioning.join("dashboards"))? {
        for provider in file["providers"].as_array().into_iter().flatten() {
            let path = provider["options"]["path"].as_str().unwrap_or_default();
            match on_host(mounts, dir, path) {
                Some(place) => dashboards += with_extension(&place, &["json"])?.len(),
                None => problems.push(format!("nothing is mounted on {path}, where dashboards should be")),
            }
        }
    }
    if sources == 0 {
        problems.push("it has no data source".to_owned());
    }
    if dashboards == 0 {
        problems.push("it has no dashboards".to_owned());
    }
    Ok(problems)
}

/// What a path of the container is on this host.
fn on_host(mounts: &[Mount], dir: &Path, path: &str) -> Option<PathBuf> {
    let within = mounts.iter().filter_map(|mount| {
        let rest = Path::new(path).strip_prefix(&mount.target).ok()?;
        Some((mount.target.len(), mount.source(dir)?.join(rest)))
    });
    // A mount within another one covers it.
    within.max_by_key(|(length, _)| *length).map(|(_, place)| place)
}

fn files(dir: &Path) -> Result<Vec<Value>> {
    let parse = |file: &PathBuf| {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", file.display()))
    };
    with_extension(dir, &["yml", "yaml"])?.iter().map(parse).collect()
}

fn with_extension(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let has = |path: &PathBuf| {
        path.extension()
            .is_some_and(|one| extensions.iter().any(|other| one == *other))
    };
    Ok(paths.into_iter().filter(has).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TempDir;

    fn mounts(dashboards: &str) -> Vec<Mount> {
        let texts = [
            "./provisioning:/etc/grafana/provisioning:ro".to_owned(),
            format!("./boards:{dashboards}"),
        ];
        texts.iter().map(|text| Mount::parse(text).unwrap()).collect()
    }

    #[test]
    fn dashboards_and_source_must_be_there() {
        let dir = TempDir::new().unwrap();
        dir.write(
            "provisioning/datasources/a.yml",
            b"datasources: [{ name: p, url: 'http://prometheus:9090' }]",
        )
        .unwrap();
        dir.write(
            "provisioning/dashboards/a.yaml",
            b"providers: [{ options: { path: /boards/vigie } }]",
        )
        .unwrap();
        dir.write("boards/vigie/a.json", b"{}").unwrap();
        let found = |target: &str, services: &[&str]| problems(&mounts(target), dir.path(), services).unwrap();
        assert!(found("/boards", &["prometheus"]).is_empty());
        assert_eq!(
            found("/boards", &["other"]),
            ["data source 'http://prometheus:9090' is no service"]
        );
        let lost = [
            "nothing is mounted on /boards/vigie, where dashboards should be",
            "it has no dashboards",
        ];
        assert_eq!(found("/elsewhere", &["prometheus"]), lost);
    }
}
