//! The rows of the table.

use std::collections::BTreeMap;

use super::{
    columns::{Column, compare},
    data::Data,
};
use crate::view::{
    interval::{Interval, Service},
    work::{Route, Work},
};

/// How many routes each service shows at the least where there are too many.
const FEWEST_ROUTES: usize = 3;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Services, each with its busiest routes.
    #[default]
    Services,
    /// The routes of all services.
    Routes,
    /// All routes of a service.
    Service(String),
    /// The statuses of a route.
    Route(Route),
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service.
    Service(String),
    /// A route.
    Route(Route),
    /// The answers of one status; `None`: requests without one.
    Status(Option<u16>),
    /// As many routes that have no place.
    More(String, usize),
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub target: Target,
    /// The beginning of its line.
    pub name: String,
    /// The requests in the interval.
    pub work: Work,
    /// How long the interval was, in seconds.
    pub seconds: f64,
    /// Requests since the first scrape.
    pub total: f64,
    /// What is known of the service, for a service's row.
    pub service: Option<Service>,
}

/// In which order rows are, and which of them.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// What is shown.
    pub level: &'a Level,
    /// What they are sorted by.
    pub sort: Column,
    /// The other way around than that column usually is.
    pub is_reversed: bool,
    /// Part of a service's name, or of a route's.
    pub filter: &'a str,
    /// How many rows there is place for.
    pub places: usize,
}

// === impl Row ===

impl Row {
    fn route(data: &Data, interval: &Interval, route: &Route, work: &Work, name: String) -> Self {
        Self {
            target: Target::Route(route.clone()),
            name,
            work: work.clone(),
            seconds: interval.seconds,
            total: data.totals.get(route).map_or(0.0, |totals| totals.requests()),
            service: None,
        }
    }
}

/// The rows that are chosen.
pub fn rows(data: &Data, choice: &Choice<'_>) -> Vec<Row> {
    let Some(interval) = &data.interval else {
        return Vec::new();
    };
    match choice.level {
        Level::Services => tree(data, interval, choice),
        Level::Routes => sorted(
            interval
                .routes
                .iter()
                .filter(|(route, _)| fits(route, choice.filter))
                .map(|(route, work)| {
                    let name = format!("{} · {}", title(route, interval), route.service);
                    Row::route(data, interval, route, work, name)
                })
                .collect(),
            choice,
        ),
        Level::Service(service) => sorted(
            interval
                .routes
                .iter()
                .filter(|(route, _)| route.service == *service && fits(route, choice.filter))
                .map(|(route, work)| Row::route(data, interval, route, work, title(route, interval)))
                .collect(),
            choice,
        ),
        Level::Route(route) => statuses(data, interval, route, choice),
    }
}

fn tree(data: &Data, interval: &Interval, choice: &Choice<'_>) -> Vec<Row> {
    let mut routes: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for (route, work) in &interval.routes {
        if fits(route, choice.filter) {
            let row = Row::route(data, interval, route, work, format!("  {}", title(route, interval)));
            routes.entry(&route.service).or_default().push(row);
        }
    }
    let services = interval
        .services
        .iter()
        .filter(|(name, _)| contains(name, choice.filter) || routes.contains_key(name.as_str()));
    let services = services.map(|(name, service)| Row {
        target: Target::Service(name.clone()),
        name: name.clone(),
        work: interval.work_of(name),
        seconds: interval.seconds,
        total: total_of(data, name),
        service: Some(service.clone()),
    });
    let services = sorted(services.collect(), choice);
    // What is left when each service, and the busiest routes of each that has requests, have their lines.
    let fewest = |service: &Row| match service.work.requests() > 0.0 {
        true => routes
            .get(service.name.as_str())
            .map_or(0, |own| own.len().min(FEWEST_ROUTES + 1)),
        false => 0,
    };
    let fewest: Vec<usize> = services.iter().map(fewest).collect();
    let mut left = choice
        .places
        .saturating_sub(services.len() + fewest.iter().sum::<usize>());
    let mut rows = Vec::new();
    for (service, fewest) in services.into_iter().zip(fewest) {
        let name = service.name.clone();
        let own = sorted(routes.remove(name.as_str()).unwrap_or_default(), choice);
        rows.push(service);
        let lines = own.len().min(fewest.saturating_add(left));
        left -= lines - fewest;
        // The last of the lines says how many have none.
        let shown = if lines < own.len() {
            lines.saturating_sub(1)
        } else {
            lines
        };
        let rest = own.len() - shown;
        rows.extend(own.into_iter().take(shown));
        if rest > 0 && lines > 0 {
            rows.push(Row {
                target: Target::More(name, rest),
                name: format!("  … {rest} more"),
                work: Work::default(),
                seconds: interval.seconds,
                total: 0.0,
                service: None,
            });
        }
    }
    rows
}

fn statuses(data: &Data, interval: &Interval, route: &Route, choice: &Choice<'_>) -> Vec<Row> {
    let Some(work) = interval.routes.get(route) else {
        return Vec::new();
    };
    let totals = data.totals.get(route).cloned().unwrap_or_default();
    let mut rows: Vec<Row> = work
        .statuses
        .iter()
        .map(|(status, answers)| Row {
            target: Target::Status(Some(*status)),
            name: status.to_string(),
            work: Work {
                statuses: BTreeMap::from([(*status, answers.clone())]),
                ..Work::default()
            },
            seconds: interval.seconds,
            total: totals.statuses.get(status).copied().unwrap_or(0.0),
            service: None,
        })
        .collect();
    if totals.aborted > 0.0 {
        rows.push(Row {
            target: Target::Status(None),
            name: "aborted".to_owned(),
            work: Work {
                aborted: work.aborted,
                ..Work::default()
            },
            seconds: interval.seconds,
            total: totals.aborted,
            service: None,
        });
    }
    sorted(rows, choice)
}

/// The requests of a service since the first scrape.
fn total_of(data: &Data, service: &str) -> f64 {
    let routes = data.totals.iter().filter(|(route, _)| route.service == service);
    routes.map(|(_, totals)| totals.requests()).fold(0.0, |a, b| a + b)
}

/// The method and the route, with the port where the service has several.
pub fn title(route: &Route, interval: &Interval) -> String {
    let Route {
        service,
        handler,
        method,
        port,
    } = route;
    let is_elsewhere = |other: &Route| other.service == *service && other.port != *port;
    match interval.routes.keys().any(is_elsewhere) {
        true => format!("{method} {handler} :{port}"),
        false => format!("{method} {handler}"),
    }
}

fn fits(route: &Route, filter: &str) -> bool {
    contains(&route.service, filter) || contains(&format!("{} {} :{}", route.method, route.handler, route.port), filter)
}

fn contains(text: &str, filter: &str) -> bool {
    text.to_lowercase().contains(&filter.to_lowercase())
}

fn sorted(mut rows: Vec<Row>, choice: &Choice<'_>) -> Vec<Row> {
    // Sorting is stable, and the rows come by name.
    rows.sort_by(|a, b| {
        let order = compare(choice.sort, a, b);
        if choice.is_reversed { order.reverse() } else { order }
    });
    rows
}
