//! The plots of the host and of a service.

use super::{
    plot::{HeatMap, Plot, Series},
    record::Record,
};
use crate::view::{
    interval::Interval,
    number::{count, duration, percent},
    phase::PHASES,
    work::Work,
};

fn series<'a>(name: &'a str, class: &str, values: Vec<Option<f64>>) -> Series<'a> {
    Series {
        name,
        class: class.to_owned(),
        values,
    }
}

/// The plots of the host.
pub fn of_host(record: &Record) -> String {
    let modes = [
        ("user", "a", ["user", "nice"].as_slice()),
        ("system", "b", &["system"]),
        ("interrupts", "c", &["irq", "softirq"]),
        ("stolen", "d", &["steal"]),
    ];
    let mode = |interval: &Interval, counted: &[&str]| interval.host.share(|mode| counted.contains(&mode));
    let cpu = Plot {
        title: "CPU",
        write: percent,
        is_stacked: true,
        series: modes
            .into_iter()
            .map(|(name, class, modes)| series(name, class, record.each(|interval| mode(interval, modes))))
            .collect(),
    };
    let run_queue = Plot {
        title: "Run queue: threads that run or wait",
        write: count,
        is_stacked: false,
        series: vec![series("threads", "a", record.each(|interval| interval.host.runnable()))],
    };
    cpu.figure(record) + &run_queue.figure(record)
}

/// The plots of a service.
pub fn of_service(record: &Record, service: &str) -> String {
    let works: Vec<Work> = record
        .intervals
        .iter()
        .map(|interval| interval.work_of(service))
        .collect();
    let each = |value: &dyn Fn(&Work, f64) -> Option<f64>| -> Vec<Option<f64>> {
        let seconds = record.intervals.iter().map(|interval| interval.seconds);
        works
            .iter()
            .zip(seconds)
            .map(|(work, seconds)| value(work, seconds))
            .collect()
    };
    let rate = |of: &'static dyn Fn(&Work) -> f64| each(&|work, seconds| Some(of(work) / seconds));
    let quantile = |q: f64| each(&|work, _| work.durations().quantile(q).value());
    let of_service = |value: fn(&crate::view::interval::Service) -> Option<f64>| {
        record.each_of(service, |service, _| value(service))
    };
    let plots = [
        Plot {
            title: "Requests per second",
            write: count,
            is_stacked: false,
            series: vec![series("all", "a", rate(&Work::requests))],
        },
        Plot {
            title: "Errors per second",
            write: count,
            is_stacked: true,
            series: vec![
                series("4xx", "warn", rate(&|work| work.class(4))),
                series("5xx", "bad", rate(&|work| work.class(5))),
                series("aborted", "gone", rate(&|work| work.aborted)),
            ],
        },
        Plot {
            title: "Duration",
            write: duration,
            is_stacked: false,
            series: vec![
                series("p99", "d", quantile(0.99)),
                series("p95", "b", quantile(0.95)),
                series("p50", "a", quantile(0.5)),
            ],
        },
        Plot {
            title: "Where the time went, in each second",
            write: duration,
            is_stacked: true,
            series: PHASES
                .iter()
                .enumerate()
                .map(|(place, phase)| {
                    let class = format!("phase{place}");
                    let values = each(&|work, seconds| Some(work.phases?[place] / seconds));
                    series(phase.name, &class, values)
                })
                .collect(),
        },
        Plot {
            title: "Waiting for a CPU, in each second",
            write: duration,
            is_stacked: false,
            series: vec![
                series(
                    "all threads",
                    "d",
                    record.each_of(service, |service, interval| {
                        Some(service.wait.as_ref()?.sum / interval.seconds)
                    }),
                ),
                series(
                    "stopped by a quota",
                    "b",
                    record.each_of(service, |service, interval| Some(service.throttled? / interval.seconds)),
                ),
            ],
        },
        Plot {
            title: "CPUs in use",
            write: count,
            is_stacked: false,
            series: vec![series(
                "cpus",
                "a",
                record.each_of(service, |service, interval| Some(service.cpu? / interval.seconds)),
            )],
        },
        Plot {
            title: "In flight, and in the backlog",
            write: count,
            is_stacked: false,
            series: vec![
                series("in flight", "a", of_service(|service| service.in_flight)),
                series("backlog", "d", of_service(|service| Some(service.backlog()?.0))),
            ],
        },
    ];
    let mut figures: Vec<String> = plots.iter().map(|plot| plot.figure(record)).collect();
    figures.insert(3, heat_map(&works).figure(record));
    figures.concat()
}

fn heat_map(works: &[Work]) -> HeatMap<'static> {
    let columns: Vec<Vec<(f64, f64)>> = works
        .iter()
        .map(|work| {
            work.durations()
                .slices()
                .map(|(_, bound, count)| (bound, count))
                .collect()
        })
        .collect();
    let bounds = columns.iter().find(|column| !column.is_empty());
    HeatMap {
        title: "Durations, by number",
        bounds: bounds.map_or_else(Vec::new, |column| column.iter().map(|(bound, _)| *bound).collect()),
        columns: columns
            .iter()
            .map(|column| column.iter().map(|(_, count)| *count).collect())
            .collect(),
        write: duration,
    }
}
