//! What the demo prints.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use super::compare::{Comparison, mean};
use super::servers::Servers;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use testkit::Scrape;
use testkit::scrape::REQUESTS;
use testkit::table::{Table, milliseconds};

const ABORTED: &str = "http_requests_aborted_total";
const LOST: &str = "vigie_lost_total";
const WAIT: &str = "service_runqueue_wait_seconds";
const CPU: &str = "service_cpu_seconds_total";

/// Where everything is.
pub fn servers(servers: &Servers) {
    println!(
        "the store is on {}, Vigie's metrics are on {}",
        servers.store.address(),
        url(servers)
    );
}

fn url(servers: &Servers) -> String {
    format!("http://{}/metrics", servers.vigie.server.address())
}

/// The table of counts and times, and what no row of it holds.
pub fn comparison(comparison: &Comparison) {
    let mut table = Table::new(2, ["", "", "", "", "count", "", "mean ms", "", "p95 ms", ""]);
    let [client, vigie] = ["client", "Vigie"];
    table.add(
        [
            "handler", "method", "status", client, vigie, client, vigie, client, vigie, "",
        ]
        .map(str::to_owned),
    );
    for row in &comparison.rows {
        table.add([
            row.handler.clone(),
            row.method.clone(),
            row.status.to_string(),
            row.client.count.to_string(),
            row.vigie.count.to_string(),
            milliseconds(row.client.mean),
            milliseconds(row.vigie.mean),
            milliseconds(row.client.p95),
            milliseconds(row.vigie.p95),
            if row.differs() { "differs" } else { "" }.to_owned(),
        ]);
    }
    let (client, vigie) = totals(comparison);
    table.add(["all", "", "", &client.to_string(), &vigie.to_string()].map(str::to_owned));
    println!("\nRequests, as their clients and as Vigie counted and timed them (Vigie's p95 is from its buckets):\n");
    println!("{}", table.render());

    let unread = comparison.unread;
    println!("{unread} requests met a closing connection and were never read by the store: they are not compared");
    if comparison.unexpected > 0 {
        println!(
            "{} answers had another status than the store should give",
            comparison.unexpected
        );
    }
}

fn totals(comparison: &Comparison) -> (u64, u64) {
    let rows = &comparison.rows;
    (
        rows.iter().map(|row| row.client.count).sum(),
        rows.iter().map(|row| row.vigie.count).sum(),
    )
}

/// The phases of a request, and their columns.
const PHASES: [(&str, &str); 6] = [
    ("queue", "queue"),
    ("runqueue", "runqueue"),
    ("cpu", "cpu"),
    ("blocked", "blocked"),
    ("send", "send"),
    ("unattributed", "?"),
];

/// Where the time of the requests on this port went, by route, in percent.
pub fn phases(scrape: &Scrape, port: u16) {
    let port = port.to_string();
    let routes: BTreeSet<(String, String)> = scrape
        .counts(REQUESTS, &[("port", &port)])
        .into_keys()
        .map(|(handler, method, _)| (handler, method))
        .collect();
    let [queue, runqueue, cpu, blocked, send, unknown] = PHASES.map(|(_, column)| column);
    let mut table = Table::new(2, ["handler", "method", queue, runqueue, cpu, blocked, send, unknown]);
    for (handler, method) in routes {
        let phases = scrape.phases(&[("port", &port), ("handler", &handler), ("method", &method)]);
        let all: f64 = phases.values().sum();
        let share = |phase: &str| {
            let part = phases.get(phase).copied().unwrap_or_default();
            format!("{:.1}", if all > 0.0 { part / all * 100.0 } else { 0.0 })
        };
        let [queue, runqueue, cpu, blocked, send, unknown] = PHASES.map(|(phase, _)| share(phase));
        table.add([handler, method, queue, runqueue, cpu, blocked, send, unknown]);
    }
    println!("Where their time went, in percent (?: not known to be one request's):\n");
    println!("{}", table.render());
}

/// What Vigie says about the service on this port, beside its requests.
pub fn service(scrape: &Scrape, port: u16) {
    let aborted = scrape.sum(ABORTED, &[("port", &port.to_string())]);
    println!(
        "Vigie: {aborted} requests aborted, {} events lost{}",
        scrape.sum(LOST, &[]),
        lost_reasons(scrape)
    );
    for service in services(scrape, port) {
        let labels = [("service", &*service)];
        let (mean, p99) = (mean(scrape, WAIT, &labels), scrape.quantile(WAIT, &labels, 0.99));
        println!(
            "{service}: waited for a CPU {} ms in the mean, {} ms at p99; used {:.1} s of CPU time",
            precise_milliseconds(mean),
            precise_milliseconds(p99),
            scrape.sum(CPU, &labels),
        );
    }
}

/// The names under which Vigie knows the service on this port.
fn services(scrape: &Scrape, port: u16) -> BTreeSet<String> {
    let port = Some(port.to_string());
    let samples = scrape
        .samples(REQUESTS)
        .filter(|sample| sample.labels.get("port") == port.as_ref());
    samples
        .filter_map(|sample| sample.labels.get("service").cloned())
        .collect()
}

fn lost_reasons(scrape: &Scrape) -> String {
    let samples = scrape.samples(LOST).filter(|sample| sample.value > 0.0);
    let reasons = samples.map(|sample| {
        let reason = sample.labels.get("reason").map_or("", String::as_str);
        format!("{reason} {}", sample.value)
    });
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" on the whole host ({})", reasons.join(", "))
    }
}

/// For what is often far below a millisecond.
fn precise_milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.3}", seconds * 1e3))
}

/// Fails if a count differs, with each one that does.
pub fn verdict(comparison: &Comparison) -> Result<()> {
    let differences: Vec<String> = comparison
        .differences()
        .map(|row| {
            let (client, vigie) = (row.client.count, row.vigie.count);
            format!(
                "  {{{}, {}, {}}}: client {client}, Vigie {vigie}",
                row.handler, row.method, row.status
            )
        })
        .collect();
    if !differences.is_empty() {
        bail!("the counts of client and Vigie differ:\n{}", differences.join("\n"));
    }
    let (client, _) = totals(comparison);
    println!(
        "all counts are equal: {client} requests, {} series",
        comparison.rows.len()
    );
    Ok(())
}

/// What remains after the comparison.
pub fn goes_on(servers: &Servers, users: usize) {
    println!(
        "\nThe store goes on with {users} users, until Ctrl-C. See {}",
        url(servers)
    );
}

#[cfg(test)]
mod tests {
    use super::super::compare::{Figures, Row};
    use super::*;

    fn row(client: u64, vigie: u64) -> Row {
        let figures = |count| Figures {
            count,
            ..Figures::default()
        };
        let (handler, method) = ("/a/{id}".to_owned(), "GET".to_owned());
        Row {
            handler,
            method,
            status: 404,
            client: figures(client),
            vigie: figures(vigie),
        }
    }

    #[test]
    fn each_difference_is_named() {
        let comparison = |rows| Comparison {
            rows,
            unread: 0,
            unexpected: 0,
        };
        assert!(verdict(&comparison(vec![row(3, 3)])).is_ok());
        let error = verdict(&comparison(vec![row(3, 3), row(7, 8)]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the counts of client and Vigie differ:\n  {/a/{id}, GET, 404}: client 7, Vigie 8"
        );
    }
}
