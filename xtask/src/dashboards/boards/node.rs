//! What is wrong with this host?

use crate::dashboards::model::{Color, Dashboard, Panel, Unit};
use crate::dashboards::panels::{host_variables, lines, row, stacked, stat};

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: super::NODE,
        title: "Vigie / Node troubleshooting",
        description: "What is wrong with this host? Utilisation, saturation and errors of its CPUs, memory, disks and network, and whether Vigie itself sees all.",
        variables: host_variables(),
        rows: vec![
            row("Now", now()),
            row("CPU", cpu()),
            row("Memory", memory()),
            row("Disks", disks()),
            row("Network", network()),
            row("Vigie itself", vigie()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        stat("CPU", "Which share of the time of the busiest host's CPUs was used.", Unit::Share)
            .query(r#"max(1 - avg by (instance) (sum by (instance, cpu) (rate(vigie_host_cpu_seconds_total{<host>, mode=~"idle|iowait|steal"}[<rate>]))))"#, "CPU")
            .from(0.85, Color::Orange)
            .from(0.95, Color::Red),
        stat("Run queue", "Threads that run or wait, for each CPU, on the host that has the most of them: above 1 some wait.", Unit::Plain)
            .query("max(avg by (instance) (vigie_host_runqueue_length{<host>}))", "run queue")
            .from(1.0, Color::Yellow)
            .from(3.0, Color::Red),
        stat("Memory", "Which share of the memory programs cannot have any more, on the fullest host.", Unit::Share)
            .query("max(1 - vigie_host_memory_available_bytes{<host>} / vigie_host_memory_total_bytes{<host>})", "memory")
            .from(0.8, Color::Orange)
            .from(0.9, Color::Red),
        stat("Disks", "The share of the time that the busiest disk had something to do.", Unit::Share)
            .query("max(rate(vigie_host_disk_io_seconds_total{<host>}[<rate>]))", "disks")
            .from(0.8, Color::Orange)
            .from(0.95, Color::Red),
        stat("Network errors", "Packets with errors, and packets that were dropped.", Unit::PacketsPerSecond)
            .query("sum(rate(vigie_host_network_errors_total{<host>}[<rate>])) + sum(rate(vigie_host_network_drops_total{<host>}[<rate>]))", "errors and drops")
            .from(1.0, Color::Yellow)
            .from(100.0, Color::Red),
        stat("Lost by Vigie", "What Vigie could not see, match or keep.", Unit::PerSecond)
            .query("sum(rate(vigie_lost_total{<host>}[<rate>]))", "lost")
            .from(0.1, Color::Yellow)
            .from(10.0, Color::Red),
    ]
}

fn cpu() -> Vec<Panel> {
    vec![
        stacked("What the CPUs do", "What the time of a host's CPUs went to, in the mean. iowait is idle time in which a disk had something to do; steal was another guest's turn.", Unit::Share)
            .query(r#"avg by (instance, mode) (rate(vigie_host_cpu_seconds_total{<host>, mode!="idle"}[<rate>]))"#, "{{mode}} ({{instance}})")
            .axis_to_one(),
        lines("Each CPU", "Utilisation of each CPU: one that is full beside idle ones is a single thread that cannot be faster.", Unit::Share)
            .query(r#"1 - sum by (instance, cpu) (rate(vigie_host_cpu_seconds_total{<host>, mode=~"idle|iowait|steal"}[<rate>]))"#, "CPU {{cpu}} ({{instance}})")
            .axis_to_one(),
        lines("Run queue of each CPU", "Threads that run on a CPU or wait for it, at the moment of the scrape.", Unit::Count)
            .query("vigie_host_runqueue_length{<host>}", "CPU {{cpu}} ({{instance}})")
            .axis_at_zero(),
        lines("Waiting for each CPU", "How many threads waited for each CPU in the mean: those of the services, and all of the host's.", Unit::Plain)
            .query("sum by (instance, cpu) (rate(vigie_services_runqueue_wait_seconds_total{<host>}[<rate>]))", "services, CPU {{cpu}} ({{instance}})")
            .query("sum by (instance, cpu) (rate(vigie_host_runqueue_wait_seconds_total{<host>}[<rate>]))", "all, CPU {{cpu}} ({{instance}})")
            .may_be_absent("kernels without CONFIG_SCHEDSTATS do not say")
            .axis_at_zero(),
        lines("Who uses the CPUs", "CPUs that each service uses.", Unit::Plain)
            .query("sum by (instance, namespace, service) (rate(service_cpu_seconds_total{<host>}[<rate>]))", "{{namespace}} {{service}} ({{instance}})")
            .axis_at_zero(),
        lines("Who waits", "How many threads of each service wait for a CPU; and the pressure of the host (PSI): the share of the time in which some task was held up for want of CPU, memory or a disk.", Unit::Plain)
            .query("sum by (instance, namespace, service) (rate(service_runqueue_wait_seconds_sum{<host>}[<rate>]))", "{{namespace}} {{service}} ({{instance}})")
            .query(r#"sum by (instance, resource) (rate(vigie_host_pressure_seconds_total{<host>, kind="some"}[<rate>]))"#, "pressure, {{resource}} ({{instance}})")
            .may_be_absent("some kernels have PSI off until they are booted with psi=1")
            .axis_at_zero(),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        lines(
            "Memory of the host",
            "How much there is, and how much programs could still have without swapping.",
            Unit::Bytes,
        )
        .query("vigie_host_memory_total_bytes{<host>}", "total ({{instance}})")
        .query("vigie_host_memory_available_bytes{<host>}", "available ({{instance}})")
        .query(
            "vigie_host_swap_total_bytes{<host>} - vigie_host_swap_free_bytes{<host>}",
            "swap used ({{instance}})",
        )
        .axis_at_zero(),
        lines("Who has the memory", "Resident memory of each service.", Unit::Bytes)
            .query(
                "sum by (instance, namespace, service) (service_resident_memory_bytes{<host>})",
                "{{namespace}} {{service}} ({{instance}})",
            )
            .axis_at_zero(),
        lines(
            "Swapping",
            "Bytes read back from swap, and written to it: memory that is short shows here first.",
            Unit::BytesPerSecond,
        )
        .query(
            "rate(vigie_host_swap_in_bytes_total{<host>}[<rate>])",
            "in ({{instance}})",
        )
        .query(
            "rate(vigie_host_swap_out_bytes_total{<host>}[<rate>])",
            "out ({{instance}})",
        )
        .axis_at_zero(),
        lines(
            "Killed for want of memory",
            "Processes that the kernel has killed, over the time of each point.",
            Unit::Count,
        )
        .query(
            "increase(vigie_host_oom_kills_total{<host>}[<rate>])",
            "killed ({{instance}})",
        )
        .axis_at_zero(),
    ]
}

fn disks() -> Vec<Panel> {
    vec![
        lines(
            "Utilisation of each disk",
            "The share of the time that a disk had something to do.",
            Unit::Share,
        )
        .query(
            "rate(vigie_host_disk_io_seconds_total{<host>}[<rate>])",
            "{{device}} ({{instance}})",
        )
        .axis_to_one(),
        lines(
            "Queue of each disk",
            "How many requests a disk deals with, or has waiting, in the mean.",
            Unit::Plain,
        )
        .query(
            "rate(vigie_host_disk_io_weighted_seconds_total{<host>}[<rate>])",
            "{{device}} ({{instance}})",
        )
        .axis_at_zero(),
        lines("Read and written", "Bytes of each disk.", Unit::BytesPerSecond)
            .query(
                "rate(vigie_host_disk_read_bytes_total{<host>}[<rate>])",
                "{{device}}, read ({{instance}})",
            )
            .query(
                "rate(vigie_host_disk_written_bytes_total{<host>}[<rate>])",
                "{{device}}, written ({{instance}})",
            )
            .axis_at_zero(),
        lines(
            "Who uses the disks",
            "Bytes that each service reads and writes.",
            Unit::BytesPerSecond,
        )
        .query(
            "sum by (instance, namespace, service) (rate(service_disk_read_bytes_total{<host>}[<rate>]))",
            "{{namespace}} {{service}}, read ({{instance}})",
        )
        .query(
            "sum by (instance, namespace, service) (rate(service_disk_written_bytes_total{<host>}[<rate>]))",
            "{{namespace}} {{service}}, written ({{instance}})",
        )
        .axis_at_zero(),
    ]
}

fn network() -> Vec<Panel> {
    vec![
        lines(
            "Traffic of each interface",
            "Bytes that passed, and how many may pass in each direction.",
            Unit::BytesPerSecond,
        )
        .query(
            "rate(vigie_host_network_bytes_total{<host>}[<rate>])",
            "{{device}}, {{direction}} ({{instance}})",
        )
        .query(
            "vigie_host_network_speed_bytes{<host>}",
            "{{device}}, at most ({{instance}})",
        )
        .may_be_absent("virtual interfaces often have no speed")
        .axis_at_zero(),
        lines(
            "Packets of each interface",
            "Packets that passed.",
            Unit::PacketsPerSecond,
        )
        .query(
            "rate(vigie_host_network_packets_total{<host>}[<rate>])",
            "{{device}}, {{direction}} ({{instance}})",
        )
        .axis_at_zero(),
        lines(
            "Errors and drops",
            "Packets with errors, and packets that were dropped.",
            Unit::PacketsPerSecond,
        )
        .query(
            "rate(vigie_host_network_errors_total{<host>}[<rate>])",
            "{{device}}, errors, {{direction}} ({{instance}})",
        )
        .query(
            "rate(vigie_host_network_drops_total{<host>}[<rate>])",
            "{{device}}, drops, {{direction}} ({{instance}})",
        )
        .axis_at_zero(),
        lines(
            "Segments sent again",
            "Segments of the services' connections that the kernel had to send again: packets get lost.",
            Unit::PacketsPerSecond,
        )
        .query(
            "sum by (instance, namespace, service) (rate(service_tcp_retransmits_total{<host>}[<rate>]))",
            "{{namespace}} {{service}} ({{instance}})",
        )
        .axis_at_zero(),
    ]
}

fn vigie() -> Vec<Panel> {
    vec![
        lines("Scraped", "Whether Prometheus can scrape each Vigie, and the share of its probes that are attached: below 1 it does not see all.", Unit::Share)
            .query("up{<host>}", "scraped ({{instance}})")
            .query("avg by (instance) (vigie_probe_attached{<host>})", "probes attached ({{instance}})")
            .axis_to_one(),
        lines("Lost, by reason", "What Vigie could not see, match or keep. The reasons are in docs/metrics.md.", Unit::PerSecond)
            .query("sum by (instance, reason) (rate(vigie_lost_total{<host>}[<rate>]))", "{{reason}} ({{instance}})")
            .axis_at_zero(),
        lines("Unattributed, by reason", "Time of requests that is not known to belong to one of them, in seconds for each second.", Unit::Plain)
            .query("sum by (instance, reason) (rate(vigie_unattributed_seconds_total{<host>}[<rate>]))", "{{reason}} ({{instance}})")
            .axis_at_zero(),
        lines("Records from the kernel", "What came from the kernel one by one. In steady traffic none of these grows: that is why Vigie costs little.", Unit::PerSecond)
            .query("sum by (instance, kind) (rate(vigie_events_total{<host>}[<rate>]))", "{{kind}} ({{instance}})")
            .axis_at_zero(),
        lines("What Vigie uses", "CPUs that Vigie itself uses.", Unit::Plain)
            .query("rate(process_cpu_seconds_total{<host>}[<rate>])", "CPUs ({{instance}})")
            .axis_at_zero(),
        lines("Memory of Vigie", "Resident memory of Vigie, without what it keeps in the kernel.", Unit::Bytes)
            .query("process_resident_memory_bytes{<host>}", "resident ({{instance}})")
            .axis_at_zero(),
        lines("Series", "Request series that Vigie keeps, and samples in each scrape.", Unit::Count)
            .query("vigie_series{<host>}", "request series ({{instance}})")
            .query("scrape_samples_scraped{<host>}", "samples ({{instance}})")
            .axis_at_zero(),
        lines("A scrape", "How long Prometheus takes to scrape Vigie.", Unit::Seconds)
            .query("scrape_duration_seconds{<host>}", "scrape ({{instance}})")
            .axis_at_zero(),
    ]
}
