//! What Vigie holds: memory of its process, memory of its maps, series. And what is left of the connections.

use super::targets::Target;
use crate::process::{map_bytes, status};
use anyhow::Result;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use testkit::Vigie;
use testkit::table::Table;

/// By how much the process may grow, in bytes. It allocates when a series, a route or a service is new, and for a scrape; in
/// steady load nothing is new. What is left is how the allocator lays out what scrapes come and go with: 1 MiB in ten minutes is
/// some bytes for each connection of the load, less than any record of one would take.
const PROCESS_SLACK: u64 = 1 << 20;
/// What a series may add to the process: its records are small, but a scrape makes 25 samples of it, as structures and as text.
const SERIES_IN_PROCESS: u64 = 16 << 10;
/// What a series may add to the maps, for each CPU, and once: 280 bytes, rounded up by the kernel's allocator.
const SERIES_IN_MAPS: u64 = 512;
/// How long the servers may take to close what the clients have left.
const CLOSE: Duration = Duration::from_secs(20);

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    process: u64,
    maps: u64,
    series: u64,
}

// === impl Footprint ===

impl Footprint {
    /// After some scrapes, which leave their buffers behind.
    pub fn measure(vigie: &Vigie) -> Result<Self> {
        let mut series = 0;
        for _ in 0..5 {
            series = vigie.scrape()?.sum("vigie_series", &[]) as u64;
        }
        Ok(Self {
            process: status(vigie.pid(), "VmRSS:")? * 1024,
            maps: map_bytes(vigie.pid())?,
            series,
        })
    }
}

pub fn table(warm: &Footprint, end: &Footprint) -> String {
    let mut table = Table::new(1, ["Vigie", "warm", "at the end"]);
    let mut line = |name: &str, value: fn(&Footprint) -> u64| {
        table.add([name.to_owned(), value(warm).to_string(), value(end).to_string()]);
    };
    line("bytes of the process", |footprint| footprint.process);
    line("bytes of its maps", |footprint| footprint.maps);
    line("series, of the whole host", |footprint| footprint.series);
    table.render()
}

/// What has grown beyond what new series of other services of this host explain.
pub fn growth(warm: &Footprint, end: &Footprint) -> Vec<String> {
    let new_series = end.series.saturating_sub(warm.series);
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let allowed = [
        (
            "process",
            warm.process,
            end.process,
            PROCESS_SLACK + new_series * SERIES_IN_PROCESS,
        ),
        ("maps", warm.maps, end.maps, new_series * SERIES_IN_MAPS * (cpus + 1)),
    ];
    let grown = allowed.into_iter().filter_map(|(name, before, after, slack)| {
        let growth = after.saturating_sub(before);
        (growth > slack).then(|| format!("Vigie's {name} grew by {growth} bytes; {slack} may be"))
    });
    grown.collect()
}

/// The servers' connections that are still there after a while, and so the state that Vigie keeps with them.
pub fn open_connections(targets: &[Target]) -> Result<Vec<String>> {
    let end = Instant::now() + CLOSE;
    loop {
        let text = fs::read_to_string("/proc/net/tcp")?;
        let open = targets
            .iter()
            .map(|target| (target.name, open(&text, target.server.port())));
        let open: Vec<String> = open
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name}: {count} connections are still there"))
            .collect();
        if open.is_empty() || Instant::now() > end {
            return Ok(open);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// How many sockets of `/proc/net/tcp` are connections with this local port. A socket that waits for the end of its time
/// (TIME_WAIT) is none any more: the kernel has freed it, and has kept its addresses.
fn open(text: &str, port: u16) -> usize {
    const TIME_WAIT: &str = "06";
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| {
            let is_local = fields.get(1).is_some_and(|address| address.ends_with(&port));
            is_local && fields.get(3).is_some_and(|state| ![TIME_WAIT, LISTEN].contains(state))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM: Footprint = Footprint {
        process: 10 << 20,
        maps: 5 << 20,
        series: 30,
    };

    #[test]
    fn growth_is_a_problem_unless_series_explain_it() {
        assert_eq!(growth(&WARM, &WARM), [""; 0]);
        let one_page = Footprint {
            maps: WARM.maps + 4096,
            ..WARM
        };
        assert_eq!(growth(&WARM, &one_page), ["Vigie's maps grew by 4096 bytes; 0 may be"]);
        let with_series = Footprint { series: 40, ..one_page };
        assert_eq!(growth(&WARM, &with_series), [""; 0]);
        let leak = Footprint {
            process: WARM.process + PROCESS_SLACK + 1,
            ..WARM
        };
        assert_eq!(growth(&WARM, &leak).len(), 1);
    }

    #[test]
    fn connections_are_counted_and_listeners_are_not() {
        let text = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:1F90 00000000:0000 0A 0:0\n\
            1: 0100007F:1F90 0100007F:C350 01 0:0\n\
            2: 0100007F:C350 0100007F:1F90 01 0:0\n\
            3: 0100007F:1F90 0100007F:C351 06 0:0\n\
            4: 0100007F:1F90 0100007F:C352 08 0:0\n";
        assert_eq!(open(text, 8080), 2);
        assert_eq!(open(text, 8081), 0);
    }
}
