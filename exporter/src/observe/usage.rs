//! How the services and the host use what they have: utilisation, saturation, errors.
//!
//! Nothing here is a count of events: it is read at each scrape from `/proc`, the cgroups and the sockets, through buffers
//! that are kept. What a scrape cannot read is left out of it.

mod cgroups;
mod diag;
mod disks;
mod growing;
mod host;
mod limits;
mod listening;
mod mounts;
mod network;
mod pressure;
pub mod processes;
mod reading;
mod socket_files;
mod unix_listening;

use std::{collections::BTreeMap, rc::Rc};

use anyhow::Result;
use vigie_ebpf::{
    service,
    trouble::{RESETS_RECEIVED, RESETS_SENT, RETRANSMITS},
    types::SERVICE_UNKNOWN,
};

pub use self::{
    cgroups::CgroupUsage,
    host::{HostUsage, MODES},
    listening::PortUsage,
    pressure::{KINDS, Pressure, RESOURCES},
    processes::{Living, ProcessUsage, living},
};
use self::{cgroups::Cgroups, host::Host, listening::Listening, processes::Processes};
use super::{identity::Identity, services::Services};
use crate::kernel::books::Books;

/// What connections without a request belong to.
const NOBODY: &str = "unknown";

/// What one service uses.
#[derive(Clone, Debug, Default)]
pub struct ServiceUsage {
    /// Its processes.
    pub processes: ProcessUsage,
    /// Its cgroups.
    pub cgroup: CgroupUsage,
}

/// What went wrong on the connections of a service. `None`: no probe tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Segments sent again.
    pub retransmits: Option<u64>,
    /// Connections that the service's side reset.
    pub resets_sent: Option<u64>,
    /// Connections that the other side reset.
    pub resets_received: Option<u64>,
}

/// Everything that a scrape shows of usage.
#[derive(Debug, Default)]
pub struct UsageSnapshot {
    /// By service.
    pub services: BTreeMap<Rc<Identity>, ServiceUsage>,
    /// By service; [`NOBODY`] for connections without a request, if there was one.
    pub trouble: BTreeMap<Rc<Identity>, Trouble>,
    /// By service and port; port 0 for unix sockets.
    pub ports: BTreeMap<(Rc<Identity>, u16), PortUsage>,
    /// How long the threads of all services waited for a CPU, in nanoseconds, by CPU.
    pub waits: Vec<(u32, u64)>,
    /// The host.
    pub host: HostUsage,
}

/// What is kept between scrapes.
#[derive(Debug)]
pub struct Usage {
    processes: Processes,
    cgroups: Cgroups,
    listening: Listening,
    host: Host,
}

/// Whether a service number is one that was given to a service.
fn is_service(number: u16) -> bool {
    service::is_number(number)
}

// === impl Usage ===

impl Usage {
    /// Nothing was looked at yet.
    pub fn new() -> Self {
        Self {
            processes: Processes::start(),
            cgroups: Cgroups::new(),
            listening: Listening::new(),
            host: Host::new(),
        }
    }

    /// Counts begin with what the processes of the services have done up to now.
    pub fn start(&mut self, books: &Books) {
        self.processes
            .collect(|process| books.processes.get(process), |_, _| ());
    }

    /// A service is no more.
    pub fn forget(&mut self, service: u16) {
        self.processes.forget(service);
        self.cgroups.forget(service);
        self.listening.forget(service);
    }

    /// Everything as it is now. `cpus`: those online.
    ///
    /// # Errors
    ///
    /// If the kernel side's maps cannot be read.
    pub fn collect(&mut self, books: &Books, services: &mut Services, cpus: &[u32]) -> Result<UsageSnapshot> {
        let entry_of = |process: u32| books.processes.get(process);
        self.cgroups.begin();
        let cgroups = &mut self.cgroups;
        let by_service = self
            .processes
            .collect(entry_of, |service, cgroup| cgroups.meet(service, cgroup));
        let handler_of = |process: u32| service::handler(books.processes.get(process));
        let ports = self.listening.collect(services, handler_of, &self.processes);
        let mut snapshot = UsageSnapshot {
            host: self.host.collect(),
            ..UsageSnapshot::default()
        };
        let mut numbers = Vec::new();
        for (number, service) in services.iter() {
            numbers.push(number);
            let usage = snapshot.services.entry(Rc::clone(&service.identity)).or_default();
            usage.processes.add(by_service.get(&number));
            // What turned out to be another service has no process any more.
            let cgroup = self.cgroups.usage(number);
            if service.is_alive() || usage.cgroup == CgroupUsage::default() {
                usage.cgroup = cgroup;
            }
            let trouble = trouble(books, number)?;
            snapshot
                .trouble
                .entry(Rc::clone(&service.identity))
                .or_default()
                .add(&trouble);
        }
        self.cgroups.end();
        let nobody = trouble(books, SERVICE_UNKNOWN)?;
        if [nobody.retransmits, nobody.resets_sent, nobody.resets_received]
            .into_iter()
            .flatten()
            .any(|count| count > 0)
        {
            snapshot.trouble.entry(Rc::new(Identity::of(NOBODY))).or_insert(nobody);
        }
        for ((number, port), usage) in ports {
            if let Some(service) = services.get(number) {
                let key = (Rc::clone(&service.identity), port);
                snapshot.ports.entry(key).or_default().add(&usage);
            }
        }
        let waits = books.waits_by_cpu(numbers.into_iter())?;
        let wait = |cpu: &u32| Some((*cpu, *waits.get(*cpu as usize)?));
        snapshot.waits = cpus.iter().filter_map(wait).collect();
        Ok(snapshot)
    }
}

// === impl Trouble ===

impl Trouble {
    fn add(&mut self, other: &Self) {
        let Self {
            retransmits,
            resets_sent,
            resets_received,
        } = other;
        for (sum, count) in [
            (&mut self.retransmits, retransmits),
            (&mut self.resets_sent, resets_sent),
            (&mut self.resets_received, resets_received),
        ] {
            if let Some(count) = count {
                *sum.get_or_insert(0) += count;
            }
        }
    }
}

fn trouble(books: &Books, service: u16) -> Result<Trouble> {
    let counts = books.trouble(service)?;
    Ok(Trouble {
        retransmits: counts[RETRANSMITS],
        resets_sent: counts[RESETS_SENT],
        resets_received: counts[RESETS_RECEIVED],
    })
}
