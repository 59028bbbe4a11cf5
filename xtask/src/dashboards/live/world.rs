//! Two instances of the store behind nginx, the Vigie that watches them, and the Prometheus servers that scrape it.

use super::rules;
use crate::paths;
use crate::setup::Monitoring;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::time::Duration;
use testkit::{Prometheus, Server, TempDir, Vigie, free_port, nginx_with, uvicorn_store, vigie};

/// All of them end when this is dropped, in this order.
#[derive(Debug)]
pub struct World {
    /// Each with the name of the Debian release that it is from.
    pub prometheus: Vec<(&'static str, Prometheus)>,
    watch: Vigie,
    pub nginx: Server,
    stores: [Server; 2],
    _config: TempDir,
}

// === impl World ===

impl World {
    pub fn start(python: &Path, program: &Path, monitoring: &[Monitoring]) -> Result<Self> {
        let demo = paths::root()?.join("demo");
        let store = || uvicorn_store(python, &demo, 1).context("cannot start the store");
        let stores = [store()?, store()?];
        let nginx = balancer(&stores).context("cannot start nginx")?;
        let config = TempDir::new()?;
        let file = config.write("vigie.yml", services(&stores).as_bytes())?;
        let file = file.to_str().context("a path that is not UTF-8")?;
        let vigie = vigie(program, &["--config.file", file]).context("cannot start Vigie")?;
        let target = vigie.server.address().to_string();
        let prometheus = monitoring
            .iter()
            .map(|monitoring| Ok((monitoring.suite, scraper(monitoring, &target)?)));
        Ok(Self {
            prometheus: prometheus.collect::<Result<_>>()?,
            watch: vigie,
            nginx,
            stores,
            _config: config,
        })
    }

    /// Lets the first store stand still from the first time to the second.
    pub fn hold_up(&self, now: Duration, [from, to]: [Duration; 2]) {
        let is_stopped = (from..to).contains(&now);
        // It may have ended: that is found in the end.
        let _ = self.stores[0].signal(if is_stopped { libc::SIGSTOP } else { libc::SIGCONT });
    }

    /// Fails if one of them has ended, with the end of its log.
    pub fn check(&self) -> Result<()> {
        let servers = [&self.nginx, &self.watch.server].into_iter().chain(&self.stores);
        for server in servers.chain(self.prometheus.iter().map(|(_, prometheus)| &prometheus.server)) {
            server.wait_for(Duration::ZERO, || Some(()))?;
        }
        Ok(())
    }
}

fn balancer(stores: &[Server; 2]) -> Result<Server> {
    let port = free_port()?;
    let [first, second] = stores.each_ref().map(Server::address);
    let site = format!(
        "upstream store {{
server {first};
server {second};
keepalive 8;
}}
server {{
listen 127.0.0.1:{port};
location / {{
proxy_pass http://store;
proxy_http_version 1.1;
proxy_set_header Connection \"\";
}}
}}
"
    );
    nginx_with(TempDir::new()?, port, &site, 1)
}

/// A name for each store: two of the same name would be one service with two ports. The project's objectives are those of `store`.
fn services(stores: &[Server; 2]) -> String {
    let [first, second] = stores.each_ref().map(Server::port);
    format!("services:\n  - {{ name: store, port: {first} }}\n  - {{ name: store-2, port: {second} }}\n")
}

fn scraper(monitoring: &Monitoring, target: &str) -> Result<Prometheus> {
    let dir = TempDir::new()?;
    rules::write(&dir)?;
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: vigie
    static_configs: [{{ targets: ['{target}'] }}]
"
    );
    Prometheus::start(&monitoring.prometheus(), dir, &config, &[])
        .with_context(|| format!("cannot start Prometheus of Debian {}", monitoring.suite))
}
