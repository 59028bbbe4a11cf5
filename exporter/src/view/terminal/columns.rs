//! The columns of the table: what stands in them, how wide they are, and which fit.

use std::cmp::Ordering;

use super::rows::{Row, Target};
use crate::view::{
    interval::Service,
    number::{NOTHING, count, duration, or_nothing, percent, quantile, whole},
};

/// The narrowest useful name.
const NARROW_NAME: u16 = 22;
/// A name that is wide enough for most routes: only then further columns are shown.
const WIDE_NAME: u16 = 40;
/// The widest bar of phases.
const WIDEST_BAR: u16 = 30;

/// A column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// The service, the route or the status.
    Name,
    /// Requests in a second, aborted ones too.
    #[default]
    Rate,
    /// The share of 4xx, 5xx and aborted ones.
    Errors,
    /// The median duration.
    P50,
    /// 95 of 100 took no longer.
    P95,
    /// 99 of 100 took no longer.
    P99,
    /// A bar of where the time went; sorted by how much there was.
    Phases,
    /// How long something waited for a CPU, in a second.
    Wait,
    /// Requests that have begun and not ended.
    InFlight,
    /// Connections that wait to be accepted.
    Backlog,
    /// CPUs in use.
    Cpu,
    /// Answers 4xx in a second.
    ClientErrors,
    /// Answers 5xx in a second.
    ServerErrors,
    /// Aborted requests in a second.
    Aborted,
    /// Requests since the beginning.
    Total,
}

/// All columns, from left to right.
const ORDER: [Column; 15] = [
    Column::Name,
    Column::Rate,
    Column::Errors,
    Column::ClientErrors,
    Column::ServerErrors,
    Column::Aborted,
    Column::P50,
    Column::P95,
    Column::P99,
    Column::Phases,
    Column::Wait,
    Column::Cpu,
    Column::InFlight,
    Column::Backlog,
    Column::Total,
];

/// The same, the most important first, with the width that the name must keep.
const IMPORTANCE: [(Column, u16); 14] = [
    (Column::Rate, 10),
    (Column::P95, 16),
    (Column::Errors, 16),
    (Column::Phases, NARROW_NAME),
    (Column::P99, NARROW_NAME),
    (Column::P50, NARROW_NAME),
    (Column::Wait, NARROW_NAME),
    (Column::InFlight, NARROW_NAME),
    (Column::Backlog, NARROW_NAME + 4),
    (Column::Total, WIDE_NAME - 6),
    (Column::Cpu, WIDE_NAME - 4),
    (Column::ServerErrors, WIDE_NAME),
    (Column::ClientErrors, WIDE_NAME),
    (Column::Aborted, WIDE_NAME),
];

// === impl Column ===

impl Column {
    /// What stands above it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Name => "SERVICE, ROUTE",
            Self::Rate => "REQ/S",
            Self::Errors => "ERR",
            Self::P50 => "P50",
            Self::P95 => "P95",
            Self::P99 => "P99",
            Self::Phases => "PHASES",
            Self::Wait => "RUNQ/S",
            Self::InFlight => "FLY",
            Self::Backlog => "BKLG",
            Self::Cpu => "CPUS",
            Self::ClientErrors => "4XX/S",
            Self::ServerErrors => "5XX/S",
            Self::Aborted => "ABRT/S",
            Self::Total => "COUNT",
        }
    }

    /// Wide enough for its numbers and its title with an arrow.
    fn width(self) -> u16 {
        match self {
            Self::Name => NARROW_NAME,
            Self::Phases => 8,
            Self::InFlight | Self::Backlog => 4,
            Self::Total => 7,
            _ => 6,
        }
    }

    /// Whether it is at the left end of its place.
    pub fn is_left(self) -> bool {
        matches!(self, Self::Name | Self::Phases)
    }

    /// What stands in it; nothing where there can be nothing.
    pub fn text(self, row: &Row) -> String {
        let rate = |count_: f64| count(count_ / row.seconds);
        let of_service = |value: fn(&Service) -> Option<f64>| match &row.service {
            Some(service) => or_nothing(value(service), whole),
            None => String::new(),
        };
        if matches!(row.target, Target::More(..)) && self != Self::Name {
            return String::new();
        }
        let quantile_of = |q| quantile(row.work.durations().quantile(q));
        match self {
            Self::Name => row.name.clone(),
            Self::Rate => rate(row.work.requests()),
            Self::Errors => or_nothing(row.work.error_share(), percent),
            Self::P50 => quantile_of(0.5),
            Self::P95 => quantile_of(0.95),
            Self::P99 => quantile_of(0.99),
            Self::Phases => NOTHING.to_owned(),
            Self::Wait if matches!(row.target, Target::Status(_)) => String::new(),
            Self::Wait => or_nothing(waited(row), |seconds| duration(seconds / row.seconds)),
            Self::InFlight => of_service(|service| service.in_flight),
            Self::Backlog => of_service(|service| service.backlog().map(|(backlog, _)| backlog)),
            Self::Cpu => match &row.service {
                Some(service) => or_nothing(service.cpu, rate),
                None => String::new(),
            },
            Self::ClientErrors => rate(row.work.class(4)),
            Self::ServerErrors => rate(row.work.class(5)),
            Self::Aborted => rate(row.work.aborted),
            Self::Total => count(row.total),
        }
    }

    /// What rows are sorted by, the largest first.
    fn weight(self, row: &Row) -> f64 {
        let quantile_of = |q| row.work.durations().quantile(q).value();
        let service = row.service.as_ref();
        match self {
            Self::Name => None,
            Self::Rate => Some(row.work.requests()),
            Self::Errors => row.work.error_share(),
            Self::P50 => quantile_of(0.5),
            Self::P95 => quantile_of(0.95),
            Self::P99 => quantile_of(0.99),
            Self::Phases => Some(match row.work.phases {
                Some(seconds) => seconds.iter().sum(),
                None => row.work.durations().sum,
            }),
            Self::Wait => waited(row),
            Self::InFlight => service.and_then(|service| service.in_flight),
            Self::Backlog => service
                .and_then(|service| service.backlog())
                .map(|(backlog, _)| backlog),
            Self::Cpu => service.and_then(|service| service.cpu),
            Self::ClientErrors => Some(row.work.class(4)),
            Self::ServerErrors => Some(row.work.class(5)),
            Self::Aborted => Some(row.work.aborted),
            Self::Total => Some(row.total),
        }
        .unwrap_or(-1.0)
    }
}

/// Seconds that something waited for a CPU: all threads of a service, or the requests of a route.
fn waited(row: &Row) -> Option<f64> {
    match &row.service {
        Some(service) => service.wait.as_ref().map(|wait| wait.sum),
        None => row.work.waited(),
    }
}

/// The usual order of two rows: names from a to z, numbers from the largest down.
pub fn compare(column: Column, a: &Row, b: &Row) -> Ordering {
    match column {
        Column::Name => a.name.cmp(&b.name),
        _ => column.weight(b).total_cmp(&column.weight(a)),
    }
}

/// The columns that fit into a width, from left to right, each with its own. `name` is how wide names would like to be.
pub fn fitting(width: u16, name: u16) -> Vec<(Column, u16)> {
    let mut chosen = vec![Column::Name];
    let mut used = 0;
    for (column, keep) in IMPORTANCE {
        let more = used + column.width() + 1;
        if more + keep > width {
            break;
        }
        used = more;
        chosen.push(column);
    }
    let name = (width - used).min(name.max(NARROW_NAME));
    // What names do not need makes bars longer.
    let bar = (width - used - name + Column::Phases.width()).min(WIDEST_BAR);
    let in_order = ORDER.into_iter().filter(|column| chosen.contains(column));
    in_order
        .map(|column| match column {
            Column::Name => (column, name),
            Column::Phases => (column, bar),
            _ => (column, column.width()),
        })
        .collect()
}

/// A text of at most this width; what is too much is left out of its middle, where routes are alike.
pub fn shortened(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let end = kept / 2;
    let begin: String = letters[..kept - end].iter().collect();
    let end: String = letters[letters.len() - end..].iter().collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_used_and_never_exceeded() {
        for width in 12..300 {
            let columns = fitting(width, 60);
            let sum: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert!(sum <= width, "{width}: {columns:?}");
            assert_eq!(columns[0].0, Column::Name);
        }
        let eighty: Vec<Column> = fitting(80, 60).into_iter().map(|(column, _)| column).collect();
        assert_eq!(
            eighty,
            [
                Column::Name,
                Column::Rate,
                Column::Errors,
                Column::P50,
                Column::P95,
                Column::P99,
                Column::Phases,
                Column::Wait,
                Column::InFlight
            ]
        );
        assert_eq!(fitting(180, 60).len(), ORDER.len());
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shortened("GET /api/magasins/{id}/stock", 15), "GET /ap…}/stock");
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("é…é", 2), "é…");
        assert_eq!(shortened("ab", 0), "");
    }
}
