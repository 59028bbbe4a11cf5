//! Do we keep our promises?

use crate::dashboards::model::{Color, Dashboard, Panel, Unit, Variable};
use crate::dashboards::panels::{bars, host_variables, lines, row, stat, table};

/// The matchers of what is chosen at the head.
const CHOSEN: &str = r#"sloth_service=~"$sloth_service", sloth_slo=~"$sloth_slo""#;

pub fn dashboard() -> Dashboard {
    Dashboard {
        uid: super::SLO,
        title: "Vigie / SLO",
        description: "Do we keep our promises? What is left of each objective's error budget, and how fast it burns. From recording rules with Sloth's names.",
        variables: variables(),
        rows: vec![
            row("Now", now()),
            row("Budget", budget()),
            row("Burn rate", burn_rate()),
        ],
    }
}

fn variables() -> Vec<Variable> {
    // The rules are about services, whichever host they run on: there is no job and no instance to choose.
    let mut variables = host_variables();
    variables.retain(|variable| variable.query.is_none());
    variables.push(Variable {
        name: "sloth_service",
        label: "Service",
        description: "The services that have objectives.",
        query: Some("label_values(sloth_slo_info, sloth_service)".to_owned()),
        is_multiple: true,
    });
    variables.push(Variable {
        name: "sloth_slo",
        label: "Objective",
        description: "Their objectives.",
        query: Some(r#"label_values(sloth_slo_info{sloth_service=~"$sloth_service"}, sloth_slo)"#.to_owned()),
        is_multiple: true,
    });
    variables
}

fn chosen(expression: &str) -> String {
    expression.replace("<slo>", CHOSEN)
}

const NAME: &str = "{{sloth_service}}, {{sloth_slo}}";

fn now() -> Vec<Panel> {
    vec![
        stat("Objectives", "How many objectives there are.", Unit::Count)
            .query(&chosen("count(slo:objective:ratio{<slo>})"), "objectives")
            .size(4, 5),
        stat("Least budget left", "What the objective that is worst off has left of its error budget for this period. Below 0 the promise is broken.", Unit::Share)
            .query(&chosen("min(slo:period_error_budget_remaining:ratio{<slo>})"), "left")
            .from(-1000.0, Color::Red)
            .from(0.0, Color::Orange)
            .from(0.25, Color::Yellow)
            .from(0.5, Color::Green)
            .size(5, 5),
        stat("Fastest burn", "How fast the fastest budget burns right now: at 1 it lasts exactly for its period.", Unit::Plain)
            .query(&chosen("max(slo:current_burn_rate:ratio{<slo>})"), "burn rate")
            .from(1.0, Color::Yellow)
            .from(6.0, Color::Orange)
            .from(14.4, Color::Red)
            .size(5, 5),
        bars("Budget left", "What each objective has left of its error budget for this period: 100 % at its beginning.", Unit::Share)
            .query(&chosen("slo:period_error_budget_remaining:ratio{<slo>}"), NAME)
            .from(-1000.0, Color::Red)
            .from(0.0, Color::Orange)
            .from(0.25, Color::Yellow)
            .from(0.5, Color::Green)
            .axis_to_one()
            .size(10, 5),
        table("Objectives, one by one", "What is promised, what happened, and what is left.")
            .column("objective", Unit::Share, &chosen("max by (sloth_service, sloth_slo) (slo:objective:ratio{<slo>})"))
            .column("errors in 5 min", Unit::Share, &chosen("max by (sloth_service, sloth_slo) (slo:sli_error:ratio_rate5m{<slo>})"))
            .column("errors in the period", Unit::Share, &chosen("max by (sloth_service, sloth_slo) (slo:sli_error:ratio_rate30d{<slo>})"))
            .column("budget", Unit::Share, &chosen("max by (sloth_service, sloth_slo) (slo:error_budget:ratio{<slo>})"))
            .column("budget left", Unit::Share, &chosen("max by (sloth_service, sloth_slo) (slo:period_error_budget_remaining:ratio{<slo>})"))
            .column("burn rate now", Unit::Plain, &chosen("max by (sloth_service, sloth_slo) (slo:current_burn_rate:ratio{<slo>})"))
            .column("burn rate in the period", Unit::Plain, &chosen("max by (sloth_service, sloth_slo) (slo:period_burn_rate:ratio{<slo>})"))
            .column("period", Unit::Days, &chosen("max by (sloth_service, sloth_slo) (slo:time_period:days{<slo>})"))
            .size(24, 7),
    ]
}

fn budget() -> Vec<Panel> {
    vec![
        lines(
            "Budget left over time",
            "What was left of each error budget at that time.",
            Unit::Share,
        )
        .query(
            &chosen("max by (sloth_service, sloth_slo) (slo:period_error_budget_remaining:ratio{<slo>})"),
            NAME,
        ),
        lines(
            "Errors and budget",
            "The share of bad requests in 5 minutes and in an hour, and the share that the objective allows.",
            Unit::Share,
        )
        .query(
            &chosen("max by (sloth_service, sloth_slo) (slo:sli_error:ratio_rate5m{<slo>})"),
            "5 min: {{sloth_service}}, {{sloth_slo}}",
        )
        .query(
            &chosen("max by (sloth_service, sloth_slo) (slo:sli_error:ratio_rate1h{<slo>})"),
            "1 h: {{sloth_service}}, {{sloth_slo}}",
        )
        .query(
            &chosen("max by (sloth_service, sloth_slo) (slo:error_budget:ratio{<slo>})"),
            "allowed: {{sloth_service}}, {{sloth_slo}}",
        )
        .axis_at_zero(),
    ]
}

/// A burn rate is the share of bad requests, in units of the share that is allowed.
fn burn(window: &str) -> String {
    chosen(&format!(
        "max by (sloth_service, sloth_slo) (slo:sli_error:ratio_rate{window}{{<slo>}}) / max by (sloth_service, sloth_slo) (slo:error_budget:ratio{{<slo>}})"
    ))
}

fn burn_rate() -> Vec<Panel> {
    vec![
        lines(
            "Fast: 5 min and 1 h",
            "Both above 14.4 make an alert: so 2 % of a month's budget are gone in an hour.",
            Unit::Plain,
        )
        .query(&burn("5m"), "5 min: {{sloth_service}}, {{sloth_slo}}")
        .query(&burn("1h"), "1 h: {{sloth_service}}, {{sloth_slo}}")
        .from(14.4, Color::Red)
        .axis_at_zero(),
        lines(
            "Quick: 30 min and 6 h",
            "Both above 6 make an alert: so 5 % of a month's budget are gone in six hours.",
            Unit::Plain,
        )
        .query(&burn("30m"), "30 min: {{sloth_service}}, {{sloth_slo}}")
        .query(&burn("6h"), "6 h: {{sloth_service}}, {{sloth_slo}}")
        .from(6.0, Color::Red)
        .axis_at_zero(),
        lines(
            "Slow: 2 h and 1 day",
            "Both above 3 make a ticket: so 10 % of a month's budget are gone in a day.",
            Unit::Plain,
        )
        .query(&burn("2h"), "2 h: {{sloth_service}}, {{sloth_slo}}")
        .query(&burn("1d"), "1 day: {{sloth_service}}, {{sloth_slo}}")
        .from(3.0, Color::Orange)
        .axis_at_zero(),
        lines(
            "Creeping: 6 h and 3 days",
            "Both above 1 make a ticket: so the budget does not last for its period.",
            Unit::Plain,
        )
        .query(&burn("6h"), "6 h: {{sloth_service}}, {{sloth_slo}}")
        .query(&burn("3d"), "3 days: {{sloth_service}}, {{sloth_slo}}")
        .from(1.0, Color::Orange)
        .axis_at_zero(),
    ]
}
