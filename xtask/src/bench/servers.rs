//! (b) What Vigie costs a server; (c) what it costs itself; (d) what a scrape takes.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testkit::{Client, Random, Request, Server, Shot, closed_loop, nginx, python_app, uvicorn_store, vigie};

use super::{
    Context,
    report::{Report, median},
};
use crate::{paths, process::status};

/// Rounds with and without Vigie, one after the other.
const ROUNDS: usize = 7;

/// CPU time of a process and its descendants, in nanoseconds, from the scheduler's books of their threads.
fn cpu(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        sum += text
            .split_whitespace()
            .next()
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_default();
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            sum += cpu(child.parse()?).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn shot(handler: &'static str, request: Request) -> Shot {
    Shot {
        handler,
        request,
        expected: Some(200),
    }
}

/// The server's CPU time for each request, with and without Vigie.
pub fn cost(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let static_files = nginx(&[("small.txt", b"hello\n")], "", 1)?;
    let store = uvicorn_store(&context.tools.python, &paths::root()?.join("demo"), 1)?;
    rounds(
        context,
        report,
        "nginx, a static file",
        &static_files,
        40_000,
        |_, _| shot("/small.txt", Request::get("/small.txt")),
    )?;
    rounds(context, report, "the store, one product", &store, 1_000, |_, i| {
        let product = Random::new(i as u64).range(1..500);
        shot(
            "/api/produits/{id}",
            Request::get(format!("/api/produits/{product}")).header("x-token", testkit::store::TOKEN),
        )
    })
}

fn rounds(
    context: &Context<'_>,
    report: &mut Report,
    title: &str,
    server: &Server,
    requests: usize,
    next: impl Fn(usize, usize) -> Shot + Sync,
) -> Result<()> {
    let round = || -> Result<f64> {
        let before = cpu(server.pid())?;
        let records = closed_loop(server.address(), 2, requests / 2, true, &next)?;
        ensure!(
            records.unexpected().is_empty(),
            "{title}: an answer that was not expected"
        );
        Ok((cpu(server.pid())? - before) as f64 / requests as f64)
    };
    round()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round()?);
        let watch = vigie(&context.vigie, &[])?;
        with.push(round()?);
        drop(watch);
    }
    let ratio = median(without.iter().zip(&with).map(|(without, with)| with / without));
    let (without, with) = (median(without.into_iter()), median(with.into_iter()));
    report.line(
        &format!("{title}: server CPU for each request, with Vigie / without"),
        &format!("{ratio:.3} ({:.1} µs / {:.1} µs)", with / 1e3, without / 1e3),
    );
    Ok(())
}

/// The Vigie process under steady load: CPU, wake-ups, memory.
pub fn idle(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let server = nginx(&[("small.txt", b"hello\n")], "", 1)?;
    let watch = vigie(&context.vigie, &[])?;
    let load = |requests: usize| {
        closed_loop(server.address(), 2, requests / 2, true, |_, _| {
            shot("/small.txt", Request::get("/small.txt"))
        })
    };
    load(2_000)?;
    watch.scrape()?;
    let wakeups = || -> Result<u64> {
        Ok(status(watch.pid(), "voluntary_ctxt_switches:")? + status(watch.pid(), "nonvoluntary_ctxt_switches:")?)
    };
    let (start, cpu_before, wakeups_before) = (Instant::now(), cpu(watch.pid())?, wakeups()?);
    let mut requests = 0;
    while start.elapsed() < Duration::from_secs(10) {
        requests += load(20_000)?.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    let share = (cpu(watch.pid())? - cpu_before) as f64 / 1e9 / seconds;
    let rate = (wakeups()? - wakeups_before) as f64 / seconds;
    report.line(
        &format!(
            "the vigie process at {:.0} requests/s, between scrapes: share of a core",
            requests as f64 / seconds
        ),
        &format!("{:.4} %", share * 100.0),
    );
    report.line("the same: wake-ups each second", &format!("{rate:.2}"));
    report.line(
        "the same: resident memory",
        &format!("{:.1} MB", status(watch.pid(), "VmRSS:")? as f64 / 1024.0),
    );
    Ok(())
}

/// Threads in the processes of the service that is watched while scrapes are timed, and how many of these there are.
const THREADS: usize = 2000;
const PROCESSES: usize = 20;

/// A service of many threads, which only sleep.
const SLEEPERS: &str = r#"
import os, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0:
        break
for _ in range(int(sys.argv[3]) - 1):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
while True:
    listener.accept()[0].close()
"#;

/// The formats of a scrape, as clients ask for them.
const FORMATS: [(&str, &str); 3] = [
    ("text", "text/plain;version=0.0.4"),
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    (
        "protobuf with native histograms",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
];

/// Time and size of a scrape at 100 and 1,000 route series, in all formats, and beside many threads.
pub fn scrapes(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let server = nginx(&[], "location /r { return 200 \"ok\\n\"; }", 1)?;
    let (processes, threads) = (PROCESSES.to_string(), (THREADS / PROCESSES).to_string());
    let directory = testkit::TempDir::new()?;
    let config = directory.write("vigie.yml", b"max_routes: 5000\n")?;
    let config = config.to_str().context("a path that is not UTF-8")?;
    for (series, threads_beside) in [(100usize, 0), (1000, 0), (1000, THREADS)] {
        let _sleepers = match threads_beside {
            0 => None,
            _ => Some(python_app(&context.tools.python, SLEEPERS, &[&processes, &threads])?),
        };
        let watch = vigie(&context.vigie, &["--config.file", config])?;
        let mut client = Client::connect(server.address())?;
        for route in 0..series {
            // Letters only, so that every path is a route of its own.
            let name: String = [route / 100, route / 10 % 10, route % 10]
                .iter()
                .map(|digit| char::from(b'g' + *digit as u8))
                .collect();
            client.send(&Request::get(format!("/r/{name}")))?;
        }
        let first = watch.scrape()?;
        let found = first.samples("http_requests_total").count();
        ensure!(found >= series, "{found} series instead of {series}");
        let seen = first.sum("service_threads", &[]);
        ensure!(
            seen >= threads_beside as f64,
            "{seen} threads instead of {threads_beside}"
        );
        let beside = match threads_beside {
            0 => String::new(),
            threads => format!(" beside {threads} threads"),
        };
        for (format, accept) in FORMATS {
            report.line(
                &format!("a scrape of {series} route series{beside}, {format}: time, CPU time, size, size with gzip"),
                &scrape_cost(&watch, accept)?,
            );
        }
    }
    Ok(())
}

/// The medians of 30 scrapes in one format.
fn scrape_cost(watch: &testkit::Vigie, accept: &str) -> Result<String> {
    let mut metrics = Client::connect(watch.server.address())?;
    let request = || Request::get("/metrics").header("accept", accept);
    let (mut times, mut spent, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..30 {
        let before = cpu(watch.pid())?;
        let response = metrics.send(&request())?;
        times.push((response.end - response.start).as_secs_f64() * 1e3);
        size = response.body.len();
        // So that it has left its CPU, and its books are up to date.
        std::thread::sleep(Duration::from_millis(5));
        spent.push((cpu(watch.pid())? - before) as f64 / 1e6);
    }
    let zipped = metrics.send(&request().header("accept-encoding", "gzip"))?.body.len();
    Ok(format!(
        "{:.1} ms, {:.1} ms, {} KB, {} KB",
        median(times.into_iter()),
        median(spent.into_iter()),
        size / 1000,
        zipped / 1000
    ))
}
