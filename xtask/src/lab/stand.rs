//! What the lab starts: three instances of the store on one database, nginx before them, Vigie, and Prometheus.

use super::files;
use crate::setup::{Monitoring, Tools};
use crate::{paths, port};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, iter};
use testkit::{Prometheus, Server, TempDir, Vigie, free_port, nginx_with, servers, vigie};

/// How many instances there are at the beginning.
pub const INSTANCES: usize = 3;
/// Enough for what this load asks of nginx, as on a machine of two CPUs.
const NGINX_WORKERS: usize = 2;
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What a stand is made of.
#[derive(Debug)]
pub struct Plan<'a> {
    pub tools: &'a Tools,
    /// The program `vigie`.
    pub vigie: &'a Path,
    pub monitoring: &'a Monitoring,
    /// nginx's port; without one it is 8081 or the next free one.
    pub port: Option<u16>,
    /// How often Prometheus scrapes and evaluates, as Prometheus writes it.
    pub interval: &'a str,
    /// Rule files.
    pub rules: &'a [PathBuf],
    /// The port of the Alertmanager that gets the alerts.
    pub alertmanager: Option<u16>,
}

/// All of it. Everything ends when this is dropped.
#[derive(Debug)]
pub struct Stand {
    // Dropped in this order: who asks ends before who answers.
    pub prometheus: Prometheus,
    pub vigie: Vigie,
    pub balancer: Server,
    pub instances: Vec<Instance>,
    maker: Maker,
}

/// An instance of the store.
#[derive(Debug)]
pub struct Instance {
    /// Its name in Vigie.
    pub name: String,
    pub port: u16,
    /// None while it is stopped.
    server: Option<Server>,
}

/// How an instance is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum End {
    /// As a crash: SIGKILL
    Kill,
    /// As a deployment: SIGTERM, upon which uvicorn answers what it has begun
    Term,
}

/// Starts instances on one database.
#[derive(Debug)]
struct Maker {
    python: PathBuf,
    store: PathBuf,
    database: TempDir,
}

// === impl Stand ===

impl Stand {
    /// Starts everything, and waits until each part is ready.
    pub fn start(plan: &Plan<'_>) -> Result<Self> {
        let port = port::choose(plan.port, files::BALANCER)?;
        let maker = Maker {
            python: plan.tools.python.clone(),
            store: paths::root()?.join("demo"),
            database: TempDir::new()?,
        };
        let ports: Vec<u16> = iter::repeat_with(free_port).take(INSTANCES).collect::<Result<_>>()?;
        // All begin at once, and then are waited for: an interpreter takes its time.
        let started: Vec<Server> = ports.iter().map(|port| maker.begin(*port)).collect::<Result<_>>()?;
        let instances = ports.iter().zip(started).enumerate().map(|(index, (port, server))| {
            servers::wait_for_store(&server)
                .with_context(|| format!("cannot start instance {} of the store", index + 1))?;
            Ok(Instance {
                name: format!("store-{}", index + 1),
                port: *port,
                server: Some(server),
            })
        });
        let instances = instances.collect::<Result<Vec<_>>>()?;
        let balancer = nginx_with(TempDir::new()?, port, &files::nginx(port, &ports)?, NGINX_WORKERS)
            .context("cannot start nginx")?;

        // Vigie comes behind the requests that asked whether the instances are ready: no client of the load sent them.
        let config = TempDir::new()?;
        let file = config.write("vigie.yml", files::vigie(port, &ports)?.as_bytes())?;
        let vigie = vigie(plan.vigie, &["--config.file", &file.display().to_string()]).context("cannot start Vigie")?;
        let config = files::prometheus(vigie.server.port(), plan.interval, plan.alertmanager)?;
        let prometheus = start_prometheus(plan, &config).context("cannot start Prometheus")?;
        let has_scraped = || {
            prometheus
                .query("vigie_build_info")
                .is_ok_and(|samples| !samples.is_empty())
        };
        prometheus
            .server
            .wait_for(READY_TIMEOUT, || has_scraped().then_some(()))
            .context("Prometheus does not scrape Vigie")?;
        Ok(Self {
            prometheus,
            vigie,
            balancer,
            instances,
            maker,
        })
    }

    /// Ends an instance.
    pub fn end(&mut self, index: usize, how: End) -> Result<()> {
        let instance = self.instances.get_mut(index).context("there is no such instance")?;
        let mut server = instance.server.take().context("the instance has ended before")?;
        if how == End::Kill {
            server
                .signal(libc::SIGKILL)
                .with_context(|| format!("cannot kill {}", instance.name))?;
        }
        server
            .stop()
            .with_context(|| format!("cannot stop {}", instance.name))?;
        Ok(())
    }

    /// Starts an instance again that was ended, on its port.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        let instance = self.instances.get_mut(index).context("there is no such instance")?;
        ensure!(instance.server.is_none(), "{} runs", instance.name);
        let server = self.maker.begin(instance.port)?;
        servers::wait_for_store(&server).with_context(|| format!("cannot start {} again", instance.name))?;
        instance.server = Some(server);
        Ok(())
    }

    /// Sends a signal to an instance.
    pub fn signal(&self, index: usize, signal: i32) -> Result<()> {
        let server = self.instances.get(index).and_then(|instance| instance.server.as_ref());
        Ok(server.context("the instance does not run")?.signal(signal)?)
    }

    /// Fails if something has ended that was not made to, with the end of its log.
    pub fn check(&self) -> Result<()> {
        let check = |server: &Server| server.wait_for(Duration::ZERO, || Some(()));
        for instance in &self.instances {
            if let Some(server) = &instance.server {
                check(server).with_context(|| format!("{} has ended", instance.name))?;
            }
        }
        check(&self.balancer).context("nginx has ended")?;
        check(&self.vigie.server).context("Vigie has ended")?;
        check(&self.prometheus.server).context("Prometheus has ended")
    }
}

// === impl Maker ===

impl Maker {
    fn begin(&self, port: u16) -> Result<Server> {
        let command = servers::store_command(&self.python, &self.store, self.database.path(), port);
        Server::start(command, TempDir::new()?, port)
    }
}

fn start_prometheus(plan: &Plan<'_>, config: &str) -> Result<Prometheus> {
    let dir = TempDir::new()?;
    for rules in plan.rules {
        let name = rules.file_name().context("a rule file without a name")?;
        let text = fs::read(rules).with_context(|| format!("cannot read {}", rules.display()))?;
        dir.write(&format!("rules/{}", name.to_string_lossy()), &text)?;
    }
    Prometheus::start(&plan.monitoring.prometheus(), dir, config, &[])
}
