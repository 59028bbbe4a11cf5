//! The containers of `demo/compose.yaml`, checked as far as that goes without running one: what they mount is there, who they talk to is
//! there, nothing listens beyond this host, versions are pinned, and Prometheus and Alertmanager accept their files.
//!
//! The files themselves run without containers, too, in the lab and the drill.

mod dockerfile;
mod grafana;
mod mount;

use crate::setup::Monitoring;
use crate::{command, paths};
use anyhow::{Context as _, Result, bail, ensure};
use mount::Mount;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::TempDir;

const FILE: &str = "demo/compose.yaml";

/// A service, as far as it is checked.
#[derive(Clone, Debug, Default, PartialEq)]
struct Service {
    name: String,
    image: String,
    /// The directory of the build, relative to the file's, and the Dockerfile in it.
    build: Option<(String, String)>,
    ports: Vec<String>,
    mounts: Vec<Mount>,
    needs: Vec<String>,
}

/// Checks the files, then lets the tools of both Debian releases check what they know of.
pub fn check(monitoring: &[Monitoring]) -> Result<()> {
    let root = paths::root()?;
    let services = services(&read(&root.join(FILE))?)?;
    let problems = problems(&root.join("demo"), &services)?;
    if !problems.is_empty() {
        bail!("{FILE}:\n  {}", problems.join("\n  "));
    }
    for one in monitoring {
        check_with(one, &root, &services).with_context(|| format!("with Debian {}'s tools", one.suite))?;
    }
    Ok(())
}

/// Puts what Prometheus and Alertmanager mount where they find it in their containers, and lets their own tools look.
fn check_with(monitoring: &Monitoring, root: &Path, services: &[Service]) -> Result<()> {
    let mut promtool = Command::new(monitoring.promtool());
    promtool.args(["check", "config"]);
    let mut amtool = Command::new(monitoring.amtool());
    amtool.arg("check-config");
    for (service, file, mut tool) in [
        ("prometheus", "/etc/prometheus/prometheus.yml", promtool),
        ("alertmanager", "/etc/alertmanager/alertmanager.yml", amtool),
    ] {
        let service = services
            .iter()
            .find(|one| one.name == service)
            .with_context(|| format!("no {service}"))?;
        let container = TempDir::new()?;
        for mount in &service.mounts {
            if let Some(source) = mount.source(&root.join("demo")) {
                let place = container.path().join(mount.target.trim_start_matches('/'));
                let parent = place.parent().context("a mount over everything")?;
                fs::create_dir_all(parent)?;
                std::os::unix::fs::symlink(source, &place)?;
            }
        }
        let file = container.path().join(file.trim_start_matches('/'));
        command::output(tool.arg(file))?;
    }
    Ok(())
}

/// All that is wrong.
fn problems(dir: &Path, services: &[Service]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    for service in services {
        let mut add = |problem: String| problems.push(format!("{}: {problem}", service.name));
        if !is_pinned(&service.image) {
            add(format!("image '{}' has no version", service.image));
        }
        if let Some((context, file)) = &service.build {
            let context = dir.join(context);
            match fs::read_to_string(context.join(file)) {
                Ok(text) => dockerfile::problems(&text, &context).into_iter().for_each(&mut add),
                Err(error) => add(format!("cannot read its {file}: {error}")),
            }
        }
        for port in service.ports.iter().filter(|port| !port.starts_with("127.0.0.1:")) {
            add(format!("port {port} is open to other hosts"));
        }
        for mount in &service.mounts {
            if mount.source(dir).is_some_and(|source| !source.exists()) {
                add(format!("{} is not there", mount.from));
            }
        }
        for need in service.needs.iter().filter(|need| !names.contains(&need.as_str())) {
            add(format!("there is no service {need}, which it depends on"));
        }
    }
    for service in services.iter().filter(|service| service.name == "grafana") {
        let found = grafana::problems(&service.mounts, dir, &names)?;
        problems.extend(found.into_iter().map(|problem| format!("grafana: {problem}")));
    }
    for file in ["nginx.conf", "prometheus.yml"] {
        for host in hosts(&read(&dir.join(file))?) {
            if !names.contains(&host.as_str()) {
                problems.push(format!("{file}: there is no service {host}"));
            }
        }
    }
    Ok(problems)
}

/// Whether an image's name has a tag with a version in it.
fn is_pinned(image: &str) -> bool {
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|name| name.split_once(':'))
        .map(|(_, tag)| tag);
    tag.is_some_and(|tag| tag.chars().filter(char::is_ascii_digit).count() >= 3)
}

/// What nginx and Prometheus connect to: `server HOST:PORT;` and `targets: ["HOST:PORT"]`.
fn hosts(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let targets = lines.filter_map(|line| {
        let line = line.strip_prefix("- ").unwrap_or(line);
        line.strip_prefix("server ").or_else(|| line.strip_prefix("targets: "))
    });
    let hosts = targets.filter_map(|target| {
        let (host, port) = target.trim_matches(['[', ']', '"', ';', ' ']).split_once(':')?;
        port.parse::<u16>().is_ok().then(|| host.to_owned())
    });
    hosts.collect()
}

/// The services of a Compose file.
fn services(text: &str) -> Result<Vec<Service>> {
    let file: Value = serde_saphyr::from_str(text).with_context(|| format!("{FILE} is no YAML"))?;
    let list = file["services"].as_object().context("no services")?;
    let volumes: BTreeMap<&String, &Value> = file["volumes"].as_object().into_iter().flatten().collect();
    let services = list.iter().map(|(name, service)| {
        let mounts = texts(&service["volumes"])
            .iter()
            .map(|text| Mount::parse(text))
            .collect::<Result<Vec<_>>>()?;
        for mount in mounts.iter().filter(|mount| mount.is_volume()) {
            ensure!(
                volumes.contains_key(&mount.from),
                "{name}: there is no volume '{}'",
                mount.from
            );
        }
        Ok(Service {
            name: name.clone(),
            image: service["image"].as_str().unwrap_or_default().to_owned(),
            build: build(&service["build"]),
            ports: texts(&service["ports"]),
            mounts,
            needs: texts(&service["depends_on"]),
        })
    });
    services.collect()
}

fn build(value: &Value) -> Option<(String, String)> {
    let context = value.as_str().or_else(|| value["context"].as_str())?;
    let file = value["dockerfile"].as_str().unwrap_or("Dockerfile");
    Some((context.to_owned(), file.to_owned()))
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edit: impl Fn(&str) -> String) -> String {
        let root = paths::root().unwrap();
        let text = edit(&read(&root.join(FILE)).unwrap());
        match services(&text) {
            Ok(services) => problems(&root.join("demo"), &services).unwrap().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_file_of_this_project_is_fine() {
        assert_eq!(found(str::to_owned), "");
    }

    #[test]
    fn each_mistake_is_found() {
        for (old, new, problem) in [
            (
                "nginx:1.28.0-bookworm",
                "nginx:latest",
                "balancer: image 'nginx:latest' has no version",
            ),
            (
                "prom/alertmanager:v0.28.1",
                "prom/alertmanager",
                "alertmanager: image 'prom/alertmanager' has no version",
            ),
            (
                "\"127.0.0.1:9093:9093\"",
                "\"9093:9093\"",
                "alertmanager: port 9093:9093 is open to other hosts",
            ),
            ("./nginx.conf", "./nginx.cfg", "balancer: ./nginx.cfg is not there"),
            (
                "deploy/Dockerfile",
                "deploy/Containerfile",
                "vigie: cannot read its deploy/Containerfile",
            ),
            (
                "[prometheus]",
                "[prometeus]",
                "grafana: there is no service prometeus, which it depends on",
            ),
            ("  grafana: {}\n", "", "grafana: there is no volume 'grafana'"),
            (
                "  store-3:\n",
                "  store-4:\n",
                "nginx.conf: there is no service store-3",
            ),
            ("  vigie:\n", "  vigil:\n", "prometheus.yml: there is no service vigie"),
        ] {
            let found = found(|text| {
                assert!(text.contains(old), "{old}");
                text.replace(old, new)
            });
            assert!(found.contains(problem), "{old}: {found}");
        }
    }

    #[test]
    fn hosts_are_found_where_nginx_and_prometheus_name_them() {
        let text = "server a:80;\n# server b:80;\nserver {\n- targets: [\"c:9\"]\nserver unix:/x;\n";
        assert_eq!(hosts(text), ["a", "c"]);
    }
}
