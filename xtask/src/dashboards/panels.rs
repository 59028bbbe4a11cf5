//! The kinds of panels, each with what suits it; and the variables that dashboards share.

use super::model::{Kind, Panel, Row, Table, Unit, Variable, expand};

/// Panels under a heading.
pub fn row(title: &'static str, panels: Vec<Panel>) -> Row {
    Row { title, panels }
}

/// Lines over time.
pub fn lines(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Lines, title, description, unit).size(12, 8)
}

/// Areas over time, on top of each other.
pub fn stacked(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Stacked, title, description, unit)
        .size(12, 8)
        .axis_at_zero()
}

/// Areas over time that are shares of the whole.
pub fn shares(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Shares, title, description, unit).size(12, 8).axis_at_zero()
}

/// One large number.
pub fn stat(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Stat, title, description, unit).size(4, 4)
}

/// A bar for each series.
pub fn bars(title: &'static str, description: &'static str, unit: Unit) -> Panel {
    panel(Kind::Bars, title, description, unit).size(12, 8).axis_at_zero()
}

/// The buckets of a histogram over time. `selector` is the series of the buckets.
pub fn heat_map(title: &'static str, description: &'static str, selector: &str) -> Panel {
    panel(Kind::HeatMap, title, description, Unit::Seconds)
        .size(12, 9)
        .query(&format!("sum by (le) (increase({selector}[<rate>]))"), "{{le}}")
}

/// The states of each series over time.
pub fn states(title: &'static str, description: &'static str) -> Panel {
    panel(Kind::States, title, description, Unit::Plain).size(12, 8)
}

/// A row for each set of labels.
pub fn table(title: &'static str, description: &'static str) -> Panel {
    panel(Kind::Table(Table::default()), title, description, Unit::Count).size(24, 9)
}

/// A row for each value of one label, a column for each of another.
pub fn matrix(
    title: &'static str,
    description: &'static str,
    unit: Unit,
    row: &'static str,
    column: &'static str,
) -> Panel {
    panel(Kind::Matrix { row, column }, title, description, unit).size(24, 9)
}

fn panel(kind: Kind, title: &'static str, description: &'static str, unit: Unit) -> Panel {
    Panel {
        title,
        description,
        kind,
        unit,
        size: (12, 8),
        targets: Vec::new(),
        thresholds: Vec::new(),
        bounds: (None, None),
        colors: Vec::new(),
        words: Vec::new(),
        if_empty: None,
    }
}

/// The data source, and which of its Vigies.
pub fn host_variables() -> Vec<Variable> {
    vec![
        Variable {
            name: "datasource",
            label: "Data source",
            description: "The Prometheus that scrapes Vigie.",
            query: None,
            is_multiple: false,
        },
        Variable {
            name: "job",
            label: "Job",
            description: "The scrape jobs of Vigie.",
            query: Some("label_values(vigie_build_info, job)".to_owned()),
            is_multiple: true,
        },
        Variable {
            name: "instance",
            label: "Instance",
            description: "The Vigies, one on each host.",
            query: Some(r#"label_values(vigie_build_info{job=~"$job"}, instance)"#.to_owned()),
            is_multiple: true,
        },
    ]
}

/// The same, and which services of these hosts.
pub fn service_variables() -> Vec<Variable> {
    let mut variables = host_variables();
    variables.push(Variable {
        name: "service",
        label: "Service",
        description: "The services that Vigie watches there.",
        query: Some(expand("label_values(service_processes{<host>}, service)")),
        is_multiple: true,
    });
    variables
}

/// The same, and which of their routes.
pub fn route_variables() -> Vec<Variable> {
    let mut variables = service_variables();
    variables.push(Variable {
        name: "handler",
        label: "Handler",
        description: "The route templates of these services.",
        query: Some(expand("label_values(http_requests_total{<service>}, handler)")),
        is_multiple: true,
    });
    variables
}
