//! Which service a process is of.
//!
//! The kernel side tells of a process when it listens, or reads a request and is not known. By the time that user space looks, its id may be
//! another's, or it may have become another program. So an event says when its process was made, and what was found out is written
//! down for a process only as long as it is the one that was looked at.

use std::num::NonZeroUsize;

use anyhow::Result;
use vigie_ebpf::{
    service::{self, CHILD},
    types::{ProcessEvent, SERVICE_IGNORED, SERVICE_UNKNOWN, event},
};

use super::Ledger;
use crate::observe::{
    process::{ProcessInfo, children, has_thread, run_the_same, share_cgroups, ticks},
    usage::living,
};

/// How many processes are remembered that were met last.
pub const MET: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

impl Ledger {
    /// A process listens, or has read a request and is not known.
    pub(super) fn meet(&mut self, event: &ProcessEvent) -> Result<()> {
        let ProcessEvent {
            kind,
            process,
            command,
            port,
            reserved: _,
            start,
        } = *event;
        if process == std::process::id() {
            return Ok(());
        }
        if kind == event::LISTEN {
            self.events.listen += 1;
        } else {
            self.events.process += 1;
        }
        let info = ProcessInfo::read(process).ok();
        let command = command.split(|byte| *byte == 0).next().unwrap_or_default();
        let command = String::from_utf8_lossy(command);
        // A tick is long enough for one process to serve and to end, and for another to get its id.
        let is_it = |info: &ProcessInfo| info.start_ticks == ticks(start) && has_thread(info, &command);
        let Some(info) = info.filter(is_it) else {
            // It is gone, and maybe its id is another's. What it has answered is its own all the same.
            let gone = ProcessInfo::from_parts(process, &command, Vec::new());
            let service = self.identify(&gone, port)?;
            self.met.put(process, service);
            return Ok(());
        };
        if kind == event::LISTEN {
            self.services.add_port(process, port);
            if self.ports.insert(port) {
                self.books.adopt_ports(self.ports.iter().copied())?;
            }
            if self.services.has_port_rules() && self.books.processes.get(process) != SERVICE_IGNORED {
                // A rule may name it now that did not before.
                self.books.processes.set(process, SERVICE_UNKNOWN);
            }
        }
        self.name(&info, port).map(drop)
    }

    /// Names a process that listens since before Vigie did.
    pub(super) fn meet_process(&mut self, process: u32, port: u16) -> Result<()> {
        match ProcessInfo::read(process) {
            Ok(info) => self.name(&info, port).map(drop),
            // It has ended since.
            Err(_) => Ok(()),
        }
    }

    /// The service of a process that was read, or has answered, a request.
    pub(super) fn service_of(&mut self, process: u32, port: u16) -> Result<u16> {
        // An event of it came first: whoever has its id by now comes later in the ring buffer.
        if let Some(service) = self
            .met
            .get(&process)
            .copied()
            .filter(|service| self.is_known(*service))
        {
            return Ok(service);
        }
        let info =
            ProcessInfo::read(process).unwrap_or_else(|_| ProcessInfo::from_parts(process, "unknown", Vec::new()));
        self.name(&info, port)
    }

    /// The service of a process, which is named if it has none yet.
    fn name(&mut self, info: &ProcessInfo, port: u16) -> Result<u16> {
        let known = service::handler(self.books.processes.get(info.pid));
        if (self.is_known(known) && info.is_unchanged()) || known == SERVICE_IGNORED {
            self.met.put(info.pid, known);
            return Ok(known);
        }
        let service = self.identify(info, port)?;
        self.met.put(info.pid, service);
        if !info.is_unchanged() {
            // It has ended meanwhile, or is another program: what it has answered is its own all the same.
            return Ok(service);
        }
        self.books.processes.set(info.pid, service);
        if !info.is_unchanged() {
            self.books.processes.replace(info.pid, service, SERVICE_UNKNOWN);
        }
        self.adopt_workers(info.pid, service);
        Ok(service)
    }

    fn identify(&mut self, info: &ProcessInfo, port: u16) -> Result<u16> {
        let table = &self.books.processes;
        let is_running =
            |number: u16| living(table, |_| true).is_ok_and(|living| living.handlers.contains_key(&number));
        let service = self.services.identify(info, port, is_running);
        self.settle()?;
        Ok(service)
    }

    /// Workers that a process has forked before it was named are of its service, too. Those that it forks from now on are from the start.
    fn adopt_workers(&self, process: u32, service: u16) {
        for child in children(process) {
            let entry = self.books.processes.get(child);
            let is_named = self.is_known(service::handler(entry)) || entry == SERVICE_IGNORED;
            if !is_named && run_the_same(process, child) {
                self.books.processes.set(child, service);
                // It may have become another program just before, and the kernel side has cleared its entry in vain.
                if !run_the_same(process, child) {
                    self.books.processes.set(child, SERVICE_UNKNOWN);
                    continue;
                }
                self.adopt_workers(child, service);
            }
        }
    }

    /// A service has answered for the first time: what its processes have started before belongs to it, too.
    pub(super) fn adopt_children(&self, process: u32, service: u16) {
        for child in children(process) {
            if self.books.processes.get(child) == SERVICE_UNKNOWN && share_cgroups(process, child) {
                self.books.processes.set(child, service | CHILD);
                self.adopt_children(child, service);
            }
        }
    }
}
