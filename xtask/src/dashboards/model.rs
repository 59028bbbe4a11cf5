//! What a dashboard is made of, as data. [`super::grafana`] says how Grafana wants it.

/// A dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// What it is known by: in addresses, and the name of its file.
    pub uid: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub variables: Vec<Variable>,
    pub rows: Vec<Row>,
}

/// Panels under a common heading.
#[derive(Clone, Debug)]
pub struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

/// One view, with its queries.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: &'static str,
    pub description: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    /// In columns, of which there are 24, and in rows of the grid.
    pub size: (u16, u16),
    pub targets: Vec<Target>,
    /// From this value on, that color. Below all of them it is green.
    pub thresholds: Vec<(f64, Color)>,
    /// The ends of the axis.
    pub bounds: (Option<f64>, Option<f64>),
    /// Series that have a color of their own, by their legend.
    pub colors: Vec<(&'static str, Color)>,
    /// Words for values.
    pub words: Vec<(i64, &'static str, Color)>,
    /// What to say where the answer is empty and that is no fault.
    pub if_empty: Option<&'static str>,
}

/// How a panel shows its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lines over time.
    Lines,
    /// Areas over time, on top of each other.
    Stacked,
    /// The same, in shares of the whole.
    Shares,
    /// One large number for each series.
    Stat,
    /// A bar for each series.
    Bars,
    /// Buckets of a histogram over time.
    HeatMap,
    /// The states of each series over time.
    States,
    /// A row for each set of labels, a column for each query.
    Table(Table),
    /// A row for each value of the first label, a column for each value of the second.
    Matrix { row: &'static str, column: &'static str },
}

/// What is particular to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns that are not shown.
    pub hidden: Vec<&'static str>,
    /// The column that the rows are sorted by, the largest first.
    pub sort_by: Option<&'static str>,
    /// The column whose cells lead to a dashboard, that dashboard, and its variable that they set.
    pub link: Option<Link>,
}

/// Where the cells of a column lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub column: &'static str,
    pub title: &'static str,
    pub uid: &'static str,
    pub variable: &'static str,
}

/// One query.
#[derive(Clone, Debug)]
pub struct Target {
    pub expression: String,
    /// The name of a series, with its labels in braces; the heading of a column in a table.
    pub legend: &'static str,
    /// The column's unit, in a table.
    pub unit: Option<Unit>,
    /// Why the answer may be empty while all is well.
    pub may_be_absent: Option<&'static str>,
}

/// A choice at the head of a dashboard.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub label: &'static str,
    pub description: &'static str,
    /// What gives its values; the one without is the data source.
    pub query: Option<String>,
    /// Whether several values can be chosen, and all of them are at first.
    pub is_multiple: bool,
}

/// Units, by what they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things in a second.
    PerSecond,
    RequestsPerSecond,
    PacketsPerSecond,
    Bytes,
    BytesPerSecond,
    Seconds,
    Days,
    /// 1 is all of it.
    Share,
    /// A number as it is: a factor, a state.
    Plain,
}

/// Colors by Grafana's names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Green,
    Blue,
    Yellow,
    Orange,
    Red,
    Purple,
    Gray,
}

// === impl Unit ===

impl Unit {
    /// Grafana's id of it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::PerSecond => "cps",
            Self::RequestsPerSecond => "reqps",
            Self::PacketsPerSecond => "pps",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            Self::Seconds => "s",
            Self::Days => "d",
            Self::Share => "percentunit",
            Self::Plain => "none",
        }
    }
}

// === impl Color ===

impl Color {
    /// Grafana's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Red => "red",
            Self::Purple => "purple",
            Self::Gray => "#8e8e8e",
        }
    }
}

// === impl Panel ===

impl Panel {
    /// Adds a query: see [`expand`] for what stands in angle brackets.
    pub fn query(mut self, expression: &str, legend: &'static str) -> Self {
        self.targets.push(Target {
            expression: expand(expression),
            legend,
            unit: None,
            may_be_absent: None,
        });
        self
    }

    /// Adds a column to a table.
    pub fn column(mut self, heading: &'static str, unit: Unit, expression: &str) -> Self {
        self.targets.push(Target {
            expression: expand(expression),
            legend: heading,
            unit: Some(unit),
            may_be_absent: None,
        });
        self
    }

    /// Says why the last query's answer may be empty. Another query of the panel has to give data all the same.
    pub fn may_be_absent(mut self, reason: &'static str) -> Self {
        if let Some(target) = self.targets.last_mut() {
            target.may_be_absent = Some(reason);
        }
        self
    }

    pub fn size(mut self, width: u16, height: u16) -> Self {
        self.size = (width, height);
        self
    }

    /// From this value on, that color.
    pub fn from(mut self, value: f64, color: Color) -> Self {
        self.thresholds.push((value, color));
        self
    }

    /// The axis begins at 0.
    pub fn axis_at_zero(mut self) -> Self {
        self.bounds.0 = Some(0.0);
        self
    }

    /// The axis goes from 0 to 1.
    pub fn axis_to_one(mut self) -> Self {
        self.bounds = (Some(0.0), Some(1.0));
        self
    }

    /// Gives the series of a legend a color of its own.
    pub fn color(mut self, legend: &'static str, color: Color) -> Self {
        self.colors.push((legend, color));
        self
    }

    /// Shows a word for a value.
    pub fn word(mut self, value: i64, word: &'static str, color: Color) -> Self {
        self.words.push((value, word, color));
        self
    }

    /// What to say where the answer is empty and that is no fault.
    pub fn if_empty(mut self, text: &'static str) -> Self {
        self.if_empty = Some(text);
        self
    }

    /// Hides columns of a table.
    pub fn hide(mut self, columns: &[&'static str]) -> Self {
        if let Kind::Table(table) = &mut self.kind {
            table.hidden.extend_from_slice(columns);
        }
        self
    }

    /// Sorts a table by a column, the largest first.
    pub fn sort_by(mut self, column: &'static str) -> Self {
        if let Kind::Table(table) = &mut self.kind {
            table.sort_by = Some(column);
        }
        self
    }

    /// Lets the cells of a column lead to a dashboard.
    pub fn link(mut self, link: Link) -> Self {
        if let Kind::Table(table) = &mut self.kind {
            table.link = Some(link);
        }
        self
    }
}

/// Fills in what the queries have in common: `<host>`, `<service>` and `<route>` are the matchers of what is chosen at the head of
/// the dashboard, `<rate>` is the interval of a rate, `<range>` the whole time that is shown.
pub fn expand(expression: &str) -> String {
    let host = r#"job=~"$job", instance=~"$instance""#;
    let service = format!(r#"{host}, service=~"$service""#);
    let route = format!(r#"{service}, handler=~"$handler""#);
    let text = expression
        .replace("<host>", host)
        .replace("<service>", &service)
        .replace("<route>", &route)
        .replace("<rate>", "$__rate_interval")
        .replace("<range>", "$__range");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_queries_have_in_common_is_filled_in() {
        assert_eq!(
            expand("sum(\n   rate(a_total{<host>}[<rate>]))"),
            r#"sum( rate(a_total{job=~"$job", instance=~"$instance"}[$__rate_interval]))"#
        );
        assert!(expand("a{<route>}").contains(r#"service=~"$service", handler=~"$handler"}"#));
    }
}
