//! What happens beside the store: processes, listeners, containers, deployments, a kill.

use super::account::Account;
use super::cgroups::{Container, Maker, Mounts, SHORT, Shape};
use super::load::{self, Statuses};
use super::plan::Round;
use super::programs::{PREFIX, Programs, Small, Start, run};
use super::stand::{STORE, Stand};
use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Random, Scrape, free_port};
use testkit::{process_ids, scrape::Labels};

/// What the name of the service that is killed contains.
pub const VICTIM: &str = "churn-victim";
/// The name of this program.
const OWN: &str = "xtask";
/// Applications whose containers are replaced again and again.
const APPLICATIONS: u64 = 10;
/// Requests that each of the lasting small servers gets in a round.
const SHARE: u64 = 5;
/// How long it may take until everything that was sent is counted.
const SETTLE: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_millis(50);

/// The work, and what is known of it.
#[derive(Debug)]
pub struct Work<'a> {
    stand: &'a Stand,
    stop: &'a AtomicBool,
    programs: Programs,
    mounts: Mounts,
    maker: Maker,
    random: Random,
    /// What was sent to small servers, and counted.
    pub account: Account,
    /// What was answered to those who invent.
    pub invented: Statuses,
    /// What has ended.
    pub dead: Dead,
    /// All ports that the churn has listened on.
    pub ports: BTreeSet<u16>,
    /// What was wrong meanwhile.
    pub problems: Vec<String>,
    containers: u64,
    /// Ports whose counts are known to be wrong.
    known_wrong: usize,
    shop: Option<Small>,
    cart: Option<Small>,
    victim: Option<Small>,
    /// The containers of each application; the last one of each stays until there is another.
    fleet: BTreeMap<u64, Vec<Small>>,
}

/// What has ended, by which its series are known.
#[derive(Debug, Default)]
pub struct Dead {
    /// The short ids of containers.
    pub containers: BTreeSet<String>,
    /// Ports that nobody listens on any more.
    pub ports: BTreeSet<u16>,
}

/// Whether a service is none of the churn's. `other` may hold some of its, and so is not; nor is this program, which looks for free
/// ports by listening.
pub fn is_foreign(service: &str) -> bool {
    !service.contains(PREFIX) && ![STORE, "other", OWN].contains(&service)
}

// === impl Work ===

impl<'a> Work<'a> {
    /// Starts the small servers that last.
    pub fn start(stand: &'a Stand, seed: u64, stop: &'a AtomicBool) -> Result<Self> {
        let mut work = Self {
            stand,
            stop,
            programs: Programs::new()?,
            mounts: Mounts::find()?,
            maker: Maker::default(),
            random: Random::new(seed),
            account: Account::default(),
            invented: Statuses::new(),
            dead: Dead::default(),
            ports: BTreeSet::from([stand.store.port()]),
            problems: Vec::new(),
            containers: 0,
            known_wrong: 0,
            shop: None,
            cart: None,
            victim: None,
            fleet: BTreeMap::new(),
        };
        let port = work.port()?;
        work.shop = Some(work.programs.start("churn-shop", port, Start::Shared, None)?);
        let (port, container) = (work.port()?, work.container()?);
        work.cart = Some(
            work.programs
                .start("churn-cart", port, Start::AtOnce, Some(container))?,
        );
        let (port, container) = (work.port()?, work.container()?);
        work.victim = Some(work.programs.start(VICTIM, port, Start::AtOnce, Some(container))?);
        work.ask_all()?;
        Ok(work)
    }

    /// The hierarchies of cgroups that containers are in.
    pub fn hierarchies(&self) -> usize {
        self.mounts.hierarchies().len()
    }

    /// A part of the run.
    pub fn round(&mut self, round: &Round) -> Result<()> {
        self.run_processes(round.processes)?;
        self.run_listeners(round.listeners)?;
        let other = self.programs.path("churn-exec-b")?;
        run(self
            .programs
            .command("churn-exec-a", &["exec", &round.execs.to_string()], None)?
            .arg(&other))?;
        self.run_containers(round.containers)?;
        for _ in 0..round.returns {
            self.go_on()?;
            self.return_id()?;
        }
        self.ask_all()?;
        let invented = load::invent(self.stand.store.address(), round.invented, &mut self.random)?;
        load::add(&mut self.invented, &invented);
        self.settle()?;
        self.stand.check()
    }

    /// Fails if it is told to stop: what was started and made is ended and removed then.
    fn go_on(&self) -> Result<()> {
        ensure!(
            !self.stop.load(Ordering::Relaxed),
            "stopped before the churn was over: nothing is compared"
        );
        Ok(())
    }

    /// Three of four run `true`, the fourth a thread.
    fn run_processes(&self, number: u64) -> Result<()> {
        for index in 0..number {
            self.go_on()?;
            match index % 4 {
                3 => run(&mut self.programs.command("churn-worker", &["worker"], None)?)?,
                _ => run(Command::new("true").stdin(Stdio::null()))?,
            }
        }
        Ok(())
    }

    /// New containers of all applications come, in turn, and each one that was there before them goes: there is always one of each.
    fn run_containers(&mut self, number: u64) -> Result<()> {
        for _ in 0..number {
            self.go_on()?;
            let application = self.containers % APPLICATIONS;
            let requests = 1 + self.containers / APPLICATIONS % 2;
            let (port, container) = (self.port()?, self.container()?);
            let name = format!("churn-app-{application}");
            let new = self.programs.start(&name, port, Start::AtOnce, Some(container))?;
            self.ask(&new, requests)?;
            self.fleet.entry(application).or_default().push(new);
        }
        let old: Vec<Small> = self
            .fleet
            .values_mut()
            .flat_map(|all| all.drain(..all.len().saturating_sub(1)))
            .collect();
        for server in old {
            self.end(server, libc::SIGTERM)?;
        }
        self.settle()
    }

    /// Every other one is in a container.
    fn run_listeners(&mut self, number: u64) -> Result<()> {
        for index in 0..number {
            self.go_on()?;
            let container = match index % 2 {
                0 => None,
                _ => Some(self.container()?),
            };
            run(&mut self
                .programs
                .command("churn-listener", &["listen"], container.as_ref())?)?;
            if let Some(container) = container {
                self.dead.containers.insert(container.short_id().to_owned());
                container.remove()?;
            }
        }
        Ok(())
    }

    /// A server ends, and its process id comes again as that of another one.
    fn return_id(&mut self) -> Result<()> {
        let (first, second) = (self.port()?, self.port()?);
        let server = self.programs.start("churn-dev", first, Start::AtOnce, None)?;
        self.ask(&server, 2)?;
        let id = server.pid();
        self.end(server, libc::SIGINT)?;
        let programs = &self.programs;
        let child = process_ids::spawn_as(id, || programs.server("churn-next", second, Start::WhenTold, None))?;
        let mut next = Small::waiting(child, second);
        next.go().context("churn-next does not listen")?;
        self.ask(&next, 3)?;
        self.settle()?;
        let scrape = self.stand.vigie.scrape()?;
        let first = first.to_string();
        let wrong = scrape.every().find(|sample| {
            let has = |name: &str, value: &str| sample.labels.get(name).is_some_and(|label| label.contains(value));
            has("service", "churn-next") && sample.labels.get("port") == Some(&first)
        });
        if let Some(sample) = wrong {
            self.problems.push(format!(
                "a process id came again with the port of its first service: {sample:?}"
            ));
        }
        self.end(next, libc::SIGTERM)
    }

    /// A new instance of a plain service comes on the same port, and the old one goes.
    pub fn deploy_on_the_same_port(&mut self) -> Result<()> {
        let old = self.shop.take().context("there is no shop")?;
        let new = self.programs.start("churn-shop", old.port, Start::Shared, None)?;
        self.ask(&new, SHARE)?;
        old.end(libc::SIGTERM)?;
        self.ask(&new, SHARE)?;
        self.shop = Some(new);
        Ok(())
    }

    /// A new container of a service comes on another port, and the old one goes.
    pub fn deploy_on_another_port(&mut self) -> Result<()> {
        let old = self.cart.take().context("there is no cart")?;
        let (port, container) = (self.port()?, self.container()?);
        let new = self
            .programs
            .start("churn-cart", port, Start::AtOnce, Some(container))?;
        self.ask(&new, SHARE)?;
        self.end(old, libc::SIGTERM)?;
        self.cart = Some(new);
        Ok(())
    }

    /// A service in a container is killed, and nothing comes in its place.
    pub fn kill(&mut self) -> Result<()> {
        let victim = self.victim.take().context("there is no victim")?;
        self.end(victim, libc::SIGKILL)
    }

    /// Waits until all that was sent to small servers is counted. What is not by then is waited for no more.
    pub fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + SETTLE;
        loop {
            let scrape = self.stand.vigie.scrape()?;
            self.account.look(&scrape, is_own);
            let wrong = self.account.differences().count();
            if wrong <= self.known_wrong {
                return Ok(());
            }
            if Instant::now() > end {
                self.known_wrong = wrong;
                return Ok(());
            }
            thread::sleep(PERIOD);
        }
    }

    fn ask_all(&mut self) -> Result<()> {
        for server in [&self.shop, &self.cart, &self.victim].into_iter().flatten() {
            server.ask(SHARE)?;
            self.account.send(server.port, SHARE);
        }
        Ok(())
    }

    fn ask(&mut self, server: &Small, requests: u64) -> Result<()> {
        server.ask(requests)?;
        self.account.send(server.port, requests);
        Ok(())
    }

    fn end(&mut self, server: Small, signal: i32) -> Result<()> {
        self.dead.ports.insert(server.port);
        if let Some(container) = &server.container {
            self.dead.containers.insert(container.short_id().to_owned());
        }
        server.end(signal)
    }

    fn port(&mut self) -> Result<u16> {
        let port = free_port()?;
        ensure!(self.ports.insert(port), "port {port} came twice: there are too few");
        Ok(port)
    }

    /// The next container: all shapes in turn, in each version of cgroups that the host has.
    fn container(&mut self) -> Result<Container> {
        let versions = self.mounts.hierarchies();
        let number = self.containers as usize;
        self.containers += 1;
        let shape = Shape::ALL[number % Shape::ALL.len()];
        let hierarchies: &[&Path] = &versions[number / Shape::ALL.len() % versions.len()];
        self.maker.make(hierarchies, shape, &mut self.random)
    }
}

/// Whether a series can be one of the small servers: by the service's name, or by the path that only they are asked for.
fn is_own(labels: &Labels) -> bool {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    !is_foreign(label("service")) || label("handler").starts_with("/churn")
}

// === impl Dead ===

impl Dead {
    /// Series of what has ended: how many, with the first one.
    pub fn series(&self, scrape: &Scrape) -> Option<String> {
        let mut found = scrape.every().filter(|sample| self.is_of(&sample.labels));
        let first = found.next()?;
        Some(format!(
            "{} series of what has ended, as {}{:?} {}",
            1 + found.count(),
            first.name,
            first.labels,
            first.value
        ))
    }

    fn is_of(&self, labels: &Labels) -> bool {
        let service = labels.get("service").map_or("", String::as_str);
        let names = [
            "churn-dev",
            "churn-next",
            "churn-listener",
            "churn-worker",
            "churn-exec",
            VICTIM,
        ];
        let is_dead_service = names.iter().any(|name| service.contains(name)) || service == "other";
        let is_dead_port = || {
            let port = labels.get("port").and_then(|port| port.parse().ok());
            !is_foreign(service) && port.is_some_and(|port| self.ports.contains(&port))
        };
        // Only labels with a place for an id are looked at: a handler may have any text in it.
        let is_dead_container = || {
            let values = ["service", "container", "pod"].map(|name| labels.get(name).map_or("", String::as_str));
            let mut words = values
                .iter()
                .flat_map(|value| value.split(|letter: char| !letter.is_ascii_hexdigit()));
            words.any(|word| word.get(..SHORT).is_some_and(|id| self.containers.contains(id)))
        };
        is_dead_service || is_dead_port() || is_dead_container()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_dead_are_known_by_their_names_ports_and_ids() {
        let dead = Dead {
            containers: BTreeSet::from(["0123456789ab".to_owned()]),
            ports: BTreeSet::from([80]),
        };
        let of = |pairs: &[(&str, &str)]| dead.is_of(&labels(pairs));
        assert!(of(&[("service", "churn-dev")]));
        assert!(of(&[("service", "churn-cart"), ("port", "80")]));
        assert!(of(&[("service", "churn-cart"), ("container", "0123456789ab")]));
        assert!(of(&[("service", "churn-cart@0123456789ab")]));
        assert!(of(&[("service", "other")]));
        assert!(!of(&[
            ("service", "churn-cart"),
            ("port", "81"),
            ("container", "ba9876543210")
        ]));
        assert!(!of(&[("service", "nginx"), ("port", "80")]));
        assert!(!of(&[("cpu", "0")]));
    }

    #[test]
    fn series_of_small_servers_are_known_under_other_names() {
        assert!(is_own(&labels(&[("service", "churn-dev"), ("handler", "none")])));
        assert!(is_own(&labels(&[
            ("service", "xtask"),
            ("handler", "/churn/items/{id}")
        ])));
        assert!(!is_own(&labels(&[("service", "nginx"), ("handler", "/")])));
    }
}
