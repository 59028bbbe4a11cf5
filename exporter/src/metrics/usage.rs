//! The families of how services and the host use what they have.

use std::rc::Rc;

use super::{
    labels::{identity, identity_and},
    model::{Family, Kind, Metric, Pair, counter, family, pair},
};
use crate::observe::identity::Identity;
use crate::observe::usage::{
    CgroupUsage, HostUsage, KINDS, MODES, PortUsage, Pressure, ProcessUsage, RESOURCES, ServiceUsage, Trouble,
    UsageSnapshot,
};

const NANOSECONDS: f64 = 1e9;
const MICROSECONDS: f64 = 1e6;
const MILLISECONDS: f64 = 1e3;

/// The two ways through a network interface.
const DIRECTIONS: [&str; 2] = ["receive", "transmit"];

/// A family while its metrics are collected.
struct Collected<'a> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    metrics: Vec<Metric<'a>>,
}

// === impl Collected ===

impl<'a> Collected<'a> {
    fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            help,
            metrics: Vec::new(),
        }
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            kind: Kind::Gauge,
            ..Self::counter(name, help)
        }
    }

    fn push(&mut self, labels: Vec<Pair<'a>>, value: f64) {
        self.metrics.push(counter(labels, value));
    }

    fn push_some(&mut self, labels: Vec<Pair<'a>>, value: Option<f64>) {
        if let Some(value) = value {
            self.push(labels, value);
        }
    }
}

/// All families of this part.
pub fn families(snapshot: &UsageSnapshot) -> Vec<Family<'_>> {
    let UsageSnapshot {
        services,
        trouble,
        ports,
        waits,
        host,
    } = snapshot;
    let mut collected = of_services(services.iter());
    collected.extend(of_trouble(trouble.iter()));
    collected.extend(of_ports(ports.iter()));
    collected.extend(of_host(host, waits));
    collected
        .into_iter()
        .map(
            |Collected {
                 name,
                 kind,
                 help,
                 metrics,
             }| family(name, kind, help, metrics),
        )
        .collect()
}

fn of_services<'a>(services: impl Iterator<Item = (&'a Rc<Identity>, &'a ServiceUsage)>) -> Vec<Collected<'a>> {
    let mut count = Collected::gauge("service_processes", "Processes of a service.");
    let mut threads = Collected::gauge("service_threads", "Threads of a service's processes.");
    let mut resident = Collected::gauge(
        "service_resident_memory_bytes",
        "Resident memory of a service's processes; what they share counts for each.",
    );
    let mut open = Collected::gauge("service_open_fds", "Open files of a service's processes.");
    let mut max = Collected::gauge(
        "service_max_fds",
        "The soft limit of open files of the service's process that has used the largest share of its own.",
    );
    let mut share = Collected::gauge(
        "service_open_fds_ratio",
        "The largest share of its limit of open files that a process of the service has used.",
    );
    let mut read = Collected::counter(
        "service_disk_read_bytes_total",
        "Bytes that a service's processes had read from storage, the dead ones included.",
    );
    let mut written = Collected::counter(
        "service_disk_written_bytes_total",
        "Bytes that a service's processes had written to storage, the dead ones included.",
    );
    let mut throttled_time = Collected::counter(
        "service_cpu_throttled_seconds_total",
        "Time that the cgroups around a service were held back because a CPU quota was used up.",
    );
    let mut periods = Collected::counter(
        "service_cpu_periods_total",
        "Periods of CPU quotas in which the cgroups around a service ran.",
    );
    let mut throttled = Collected::counter(
        "service_cpu_throttled_periods_total",
        "Periods of CPU quotas in which the cgroups around a service used the quota up.",
    );
    let mut cores = Collected::gauge(
        "service_cpu_limit_cores",
        "How many CPUs a service may use by its quota.",
    );
    let mut memory = Collected::gauge(
        "service_memory_limit_bytes",
        "How much memory a service may use by the limits of its cgroups.",
    );
    let mut pressure = Collected::counter(
        "service_pressure_seconds_total",
        "Time that some, or all, tasks of a service's cgroup were held up for want of a resource.",
    );
    for (name, ServiceUsage { processes, cgroup }) in services {
        let service = || identity(name);
        let ProcessUsage {
            processes,
            threads: number_of_threads,
            resident: bytes,
            fds,
            nearest_limit,
            read: bytes_read,
            written: bytes_written,
        } = processes;
        count.push(service(), *processes as f64);
        threads.push(service(), *number_of_threads as f64);
        resident.push(service(), *bytes as f64);
        open.push(service(), *fds as f64);
        if let Some((fds, limit)) = nearest_limit {
            max.push(service(), *limit as f64);
            share.push(service(), *fds as f64 / *limit as f64);
        }
        read.push(service(), *bytes_read as f64);
        written.push(service(), *bytes_written as f64);
        let CgroupUsage {
            cpu_limit,
            throttled: quota,
            memory_limit,
            pressure: held_up,
        } = cgroup;
        cores.push_some(service(), *cpu_limit);
        memory.push_some(service(), *memory_limit);
        if let Some(quota) = quota {
            throttled_time.push(service(), quota.nanoseconds as f64 / NANOSECONDS);
            periods.push(service(), quota.periods as f64);
            throttled.push(service(), quota.throttled as f64);
        }
        push_pressure(&mut pressure, held_up, &service());
    }
    vec![
        count,
        threads,
        resident,
        open,
        max,
        share,
        read,
        written,
        throttled_time,
        periods,
        throttled,
        cores,
        memory,
        pressure,
    ]
}

fn push_pressure<'a>(family: &mut Collected<'a>, pressure: &Pressure, labels: &[Pair<'a>]) {
    for (resource, kinds) in RESOURCES.iter().zip(pressure) {
        for (kind, microseconds) in KINDS.iter().zip(kinds) {
            let mut labels = labels.to_vec();
            labels.extend([pair("resource", *resource), pair("kind", *kind)]);
            family.push_some(labels, microseconds.map(|time| time as f64 / MICROSECONDS));
        }
    }
}

fn of_trouble<'a>(services: impl Iterator<Item = (&'a Rc<Identity>, &'a Trouble)>) -> [Collected<'a>; 2] {
    let mut retransmits = Collected::counter(
        "service_tcp_retransmits_total",
        "Segments that had to be sent again on a service's connections.",
    );
    let mut resets = Collected::counter(
        "service_tcp_resets_total",
        "Resets on a service's connections, sent by its side or received.",
    );
    for (name, trouble) in services {
        let Trouble {
            retransmits: again,
            resets_sent,
            resets_received,
        } = trouble;
        retransmits.push_some(identity(name), again.map(|count| count as f64));
        for (direction, count) in [("sent", resets_sent), ("received", resets_received)] {
            let labels = identity_and(name, pair("direction", direction));
            resets.push_some(labels, count.map(|count| count as f64));
        }
    }
    [retransmits, resets]
}

fn of_ports<'a>(ports: impl Iterator<Item = (&'a (Rc<Identity>, u16), &'a PortUsage)>) -> [Collected<'a>; 5] {
    let mut listening = Collected::gauge(
        "service_listening",
        "1 while a service listens on a port, 0 once it has stopped.",
    );
    let mut backlog = Collected::gauge(
        "service_listen_backlog",
        "Connections that wait to be accepted, over all sockets that listen on the port.",
    );
    let mut limit = Collected::gauge(
        "service_listen_backlog_limit",
        "How many connections may wait to be accepted, over all sockets that listen on the port.",
    );
    let mut overflows = Collected::counter(
        "service_listen_overflows_total",
        "Connections, and attempts at one, that the listening sockets of a port have dropped.",
    );
    let mut open = Collected::gauge(
        "service_connections_open",
        "Connections to a port that a service listens on, those in the backlog included.",
    );
    for ((name, port), usage) in ports {
        let labels = || identity_and(name, pair("port", super::routes::port(*port)));
        let PortUsage {
            is_listening,
            backlog: waiting,
            limit: most,
            overflows: dropped,
            open: connections,
        } = usage;
        let is_listening = is_listening.map(|is_listening| f64::from(u8::from(is_listening)));
        listening.push_some(labels(), is_listening);
        backlog.push_some(labels(), waiting.map(|count| count as f64));
        limit.push_some(labels(), most.map(|count| count as f64));
        overflows.push_some(labels(), dropped.map(|count| count as f64));
        open.push_some(labels(), connections.map(|count| count as f64));
    }
    [listening, backlog, limit, overflows, open]
}

fn of_host<'a>(host: &'a HostUsage, service_waits: &[(u32, u64)]) -> Vec<Collected<'a>> {
    let HostUsage {
        cpus,
        ticks,
        waits,
        memory: _,
        swapping: _,
        page: _,
        pressure: held_up,
        disks: _,
        interfaces: _,
    } = host;
    let mut time = Collected::counter(
        "vigie_host_cpu_seconds_total",
        "What each CPU's time went to; steal is what the hypervisor gave to others.",
    );
    for cpu in cpus {
        for (mode, count) in MODES.iter().zip(cpu.ticks) {
            let labels = vec![pair("cpu", cpu.cpu.to_string()), pair("mode", *mode)];
            time.push(labels, count as f64 / *ticks as f64);
        }
    }
    let mut wait = Collected::counter(
        "vigie_host_runqueue_wait_seconds_total",
        "Time that threads waited for each CPU.",
    );
    let mut services = Collected::counter(
        "vigie_services_runqueue_wait_seconds_total",
        "Time that the threads of services waited for each CPU.",
    );
    for (family, waits) in [(&mut wait, waits.as_slice()), (&mut services, service_waits)] {
        for (cpu, nanoseconds) in waits {
            family.push(vec![pair("cpu", cpu.to_string())], *nanoseconds as f64 / NANOSECONDS);
        }
    }
    let mut pressure = Collected::counter(
        "vigie_host_pressure_seconds_total",
        "Time that some, or all, tasks of the host were held up for want of a resource.",
    );
    push_pressure(&mut pressure, held_up, &[]);
    let mut collected = vec![time, wait, services, pressure];
    collected.extend(of_memory(host));
    collected.extend(of_disks(host));
    collected.extend(of_interfaces(host));
    collected
}

fn of_memory(host: &HostUsage) -> Vec<Collected<'_>> {
    let (memory, swapping, page) = (host.memory, host.swapping, host.page);
    let gauges = [
        (
            "vigie_host_memory_total_bytes",
            "Memory of the host.",
            memory.map(|memory| memory.total),
        ),
        (
            "vigie_host_memory_available_bytes",
            "Memory that programs could still have without swapping.",
            memory.map(|memory| memory.available),
        ),
        (
            "vigie_host_swap_total_bytes",
            "Swap space of the host.",
            memory.map(|memory| memory.swap_total),
        ),
        (
            "vigie_host_swap_free_bytes",
            "Swap space that is free.",
            memory.map(|memory| memory.swap_free),
        ),
    ];
    let counters = [
        (
            "vigie_host_swap_in_bytes_total",
            "Bytes read back from swap.",
            swapping.map(|swapping| swapping.pages_in * page),
        ),
        (
            "vigie_host_swap_out_bytes_total",
            "Bytes written to swap.",
            swapping.map(|swapping| swapping.pages_out * page),
        ),
        (
            "vigie_host_oom_kills_total",
            "Processes that the kernel has killed for want of memory.",
            swapping.map(|swapping| swapping.kills),
        ),
    ];
    let gauges = gauges.map(|(name, help, value)| (Collected::gauge(name, help), value));
    let counters = counters.map(|(name, help, value)| (Collected::counter(name, help), value));
    let filled = gauges.into_iter().chain(counters).map(|(mut family, value)| {
        family.push_some(vec![], value.map(|value| value as f64));
        family
    });
    filled.collect()
}

fn of_disks(host: &HostUsage) -> [Collected<'_>; 4] {
    let mut read = Collected::counter("vigie_host_disk_read_bytes_total", "Bytes read from a disk.");
    let mut written = Collected::counter("vigie_host_disk_written_bytes_total", "Bytes written to a disk.");
    let mut busy = Collected::counter(
        "vigie_host_disk_io_seconds_total",
        "Time that a disk had something to do: its rate is the utilisation.",
    );
    let mut weighted = Collected::counter(
        "vigie_host_disk_io_weighted_seconds_total",
        "The same, each request in it counting: its rate is the mean length of the queue.",
    );
    for disk in &host.disks {
        let device = || vec![pair("device", &disk.name)];
        read.push(device(), disk.read as f64);
        written.push(device(), disk.written as f64);
        busy.push(device(), disk.busy as f64 / MILLISECONDS);
        weighted.push(device(), disk.weighted as f64 / MILLISECONDS);
    }
    [read, written, busy, weighted]
}

fn of_interfaces(host: &HostUsage) -> [Collected<'_>; 5] {
    let mut bytes = Collected::counter(
        "vigie_host_network_bytes_total",
        "Bytes that passed a network interface.",
    );
    let mut packets = Collected::counter(
        "vigie_host_network_packets_total",
        "Packets that passed a network interface.",
    );
    let mut errors = Collected::counter(
        "vigie_host_network_errors_total",
        "Packets with errors at a network interface.",
    );
    let mut drops = Collected::counter(
        "vigie_host_network_drops_total",
        "Packets dropped at a network interface.",
    );
    let mut speed = Collected::gauge(
        "vigie_host_network_speed_bytes",
        "Bytes that may pass a network interface in a second, each way.",
    );
    for interface in &host.interfaces {
        let device = || pair("device", &interface.name);
        for (way, direction) in DIRECTIONS.iter().enumerate() {
            let labels = || vec![device(), pair("direction", *direction)];
            bytes.push(labels(), interface.bytes[way] as f64);
            packets.push(labels(), interface.packets[way] as f64);
            errors.push(labels(), interface.errors[way] as f64);
            drops.push(labels(), interface.drops[way] as f64);
        }
        speed.push_some(vec![device()], interface.speed.map(|speed| speed as f64));
    }
    [bytes, packets, errors, drops, speed]
}
