//! The configuration files of `demo/`, as they are in its containers, with this host's addresses in them.
//!
//! The containers cannot run everywhere; their files run here, each time the lab does.

use crate::paths;
use anyhow::{Context as _, Result, ensure};
use std::fs;

/// The ports that the store's instances have in the files.
const INSTANCES: [u16; 3] = [8001, 8002, 8003];
/// The port that nginx has there.
pub const BALANCER: u16 = 8081;

/// A file of `demo/`.
fn read(name: &str) -> Result<String> {
    let file = paths::root()?.join("demo").join(name);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Replaces a text that must be there once.
fn replace(text: &str, old: &str, new: &str) -> Result<String> {
    let places = text.matches(old).count();
    ensure!(places == 1, "'{old}' is there {places} times instead of once");
    Ok(text.replace(old, new))
}

/// nginx's site: it listens on `port` of 127.0.0.1, before the instances on these ports.
pub fn nginx(port: u16, instances: &[u16]) -> Result<String> {
    fill(
        &read("nginx.conf")?,
        instances,
        |number, known| format!("server store-{number}:{known};"),
        |port| format!("server 127.0.0.1:{port};"),
    )
    .and_then(|text| {
        replace(
            &text,
            &format!("listen {BALANCER};"),
            &format!("listen 127.0.0.1:{port};"),
        )
    })
    .context("in demo/nginx.conf")
}

/// Vigie's rules, by which each instance and nginx has a name.
pub fn vigie(port: u16, instances: &[u16]) -> Result<String> {
    fill(
        &read("vigie.yml")?,
        instances,
        |_, known| format!("port: {known}\n"),
        |port| format!("port: {port}\n"),
    )
    .and_then(|text| replace(&text, &format!("port: {BALANCER}\n"), &format!("port: {port}\n")))
    .context("in demo/vigie.yml")
}

/// Prometheus' configuration: it scrapes Vigie on a port of this host.
///
/// `alertmanager` is where alerts go; without it they go nowhere.
pub fn prometheus(vigie: u16, interval: &str, alertmanager: Option<u16>) -> Result<String> {
    let alertmanager = alertmanager.map_or_else(String::new, |port| format!("\"127.0.0.1:{port}\""));
    replace(
        &read("prometheus.yml")?,
        "\"vigie:10190\"",
        &format!("\"127.0.0.1:{vigie}\""),
    )
    .and_then(|text| replace(&text, "\"alertmanager:9093\"", &alertmanager))
    .and_then(|text| replace(&text, "scrape_interval: 5s", &format!("scrape_interval: {interval}")))
    .and_then(|text| {
        replace(
            &text,
            "evaluation_interval: 5s",
            &format!("evaluation_interval: {interval}"),
        )
    })
    .context("in demo/prometheus.yml")
}

/// Replaces what stands for each instance.
fn fill(
    text: &str,
    instances: &[u16],
    old: impl Fn(usize, u16) -> String,
    new: impl Fn(u16) -> String,
) -> Result<String> {
    ensure!(
        instances.len() == INSTANCES.len(),
        "the files are for {} instances",
        INSTANCES.len()
    );
    let mut text = text.to_owned();
    for (index, (known, port)) in INSTANCES.into_iter().zip(instances).enumerate() {
        text = replace(&text, &old(index + 1, known), &new(*port))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_and_nothing_else() {
        let nginx = nginx(18_081, &[1, 2, 3]).unwrap();
        assert!(
            nginx.contains("listen 127.0.0.1:18081;") && nginx.contains("server 127.0.0.1:3;"),
            "{nginx}"
        );
        assert!(!nginx.contains("store-"), "{nginx}");
        let vigie = vigie(18_081, &[1, 2, 3]).unwrap();
        assert!(
            vigie.contains("name: store-2\n    port: 2\n") && vigie.contains("port: 18081\n"),
            "{vigie}"
        );
        let prometheus = prometheus(10_200, "1s", None).unwrap();
        assert!(
            prometheus.contains("[\"127.0.0.1:10200\"]") && prometheus.contains("targets: []"),
            "{prometheus}"
        );
        assert!(prometheus.contains("scrape_interval: 1s"), "{prometheus}");
    }

    #[test]
    fn a_file_that_has_changed_is_refused() {
        let error = replace("a b a", "a", "c").unwrap_err().to_string();
        assert_eq!(error, "'a' is there 2 times instead of once");
        assert!(nginx(1, &[1]).is_err());
    }
}
