//! Asks every query of the dashboards, as Grafana would, of Prometheus servers that scraped a Vigie at work.

mod ask;
mod rules;
mod world;

use super::boards;
use crate::command;
use crate::setup::{Monitoring, Tools};
use anyhow::{Context as _, Result, bail, ensure};
use ask::{Asker, Span};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use testkit::host::Host;
use testkit::{Prometheus, run_stages, stop, store};
use world::World;

/// A few users, then more than the store can serve at once.
const STAGES: [(usize, Duration); 2] = [(4, Duration::from_secs(5)), (24, Duration::from_secs(27))];
/// For a while one of the instances does not run: its backlog fills, and what it has in flight waits.
const STOPPED: [Duration; 2] = [Duration::from_secs(9), Duration::from_secs(12)];
/// Two scrapes and two evaluations of the rules.
const SETTLE: Duration = Duration::from_secs(2);

/// Whether each query gives data; those that need not are said.
pub fn run(tools: &Tools, monitoring: &[Monitoring], dashboards: &[Value]) -> Result<()> {
    let vigie = command::build(&["vigie"])?.join("vigie");
    let stop = stop::on_signal()?;
    let _host = Host::beside_others()?;
    let world = World::start(&tools.python, &vigie, monitoring)?;

    let begin = (Instant::now(), now()?);
    let records = run_stages(
        world.nginx.address(),
        &STAGES,
        store::THINK,
        &stop,
        store::store_shot,
        |_, _, _| world.hold_up(begin.0.elapsed(), STOPPED),
    );
    if stop.load(Ordering::Relaxed) {
        bail!("stopped before the load was over: nothing is asked");
    }
    world.check()?;
    let answered = records.list.iter().filter(|record| record.status > 0).count();
    ensure!(
        answered > 100,
        "only {answered} requests were answered: that is no load"
    );
    thread::sleep(SETTLE);
    let span = Span {
        begin: begin.1,
        end: now()?,
    };

    let mut failures = Vec::new();
    for (suite, prometheus) in &world.prometheus {
        failures.extend(ask_all(suite, prometheus, span, dashboards)?);
    }
    if !failures.is_empty() {
        bail!("no data:\n  {}", failures.join("\n  "));
    }
    Ok(())
}

fn now() -> Result<f64> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("this machine's clock is wrong")?;
    Ok(now.as_secs_f64())
}

/// Asks all queries of one Prometheus, says what was found, and gives what was not.
fn ask_all(suite: &str, prometheus: &Prometheus, span: Span, dashboards: &[Value]) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    let (mut asked, mut absent) = (0, Vec::new());
    for dashboard in dashboards {
        let uid = dashboard["uid"].as_str().unwrap_or_default();
        let mut asker = Asker::new(prometheus, span);
        failures.extend(
            asker
                .variables(dashboard)?
                .into_iter()
                .map(|problem| format!("{suite}: {uid}: {problem}")),
        );
        for panel in dashboard["panels"].as_array().context("a dashboard without panels")? {
            let title = panel["title"].as_str().unwrap_or_default();
            let mut has_data = false;
            for (index, target) in panel["targets"].as_array().into_iter().flatten().enumerate() {
                asked += 1;
                let count = asker
                    .target(target)
                    .with_context(|| format!("Prometheus of Debian {suite}: {uid}, '{title}'"))?;
                has_data |= count > 0;
                match may_be_absent(uid, title, index) {
                    _ if count > 0 => {}
                    Some(reason) => absent.push(format!("{uid}, '{title}', query {}: {reason}", index + 1)),
                    None => failures.push(format!("{suite}: {uid}, '{title}': {}", target["expr"])),
                }
            }
            if panel["type"] != "row" && !has_data {
                failures.push(format!("{suite}: {uid}, '{title}': none of its queries"));
            }
        }
    }
    say(suite, asked, &absent);
    Ok(failures)
}

#[expect(clippy::print_stdout, reason = "these lines are what the command shows")]
fn say(suite: &str, asked: usize, absent: &[String]) {
    println!(
        "Prometheus of Debian {suite}: {asked} queries asked; not there on this machine, and said so in the source:"
    );
    for line in absent {
        println!("  {line}");
    }
}

/// What the source says of a query whose answer is empty.
fn may_be_absent(uid: &str, title: &str, index: usize) -> Option<&'static str> {
    let dashboard = boards::all().into_iter().find(|dashboard| dashboard.uid == uid)?;
    let mut panels = dashboard.rows.into_iter().flat_map(|row| row.panels);
    panels
        .find(|panel| panel.title == title)?
        .targets
        .get(index)?
        .may_be_absent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_absent_is_never_all_of_a_panel_and_titles_are_unique() {
        for dashboard in boards::all() {
            let mut titles = std::collections::BTreeSet::new();
            for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
                assert!(
                    panel.targets.iter().any(|target| target.may_be_absent.is_none()),
                    "{}",
                    panel.title
                );
                assert!(
                    titles.insert(panel.title),
                    "{}: {} is there twice",
                    dashboard.uid,
                    panel.title
                );
            }
        }
        assert!(may_be_absent("vigie-node", "Who waits", 1).is_some());
        assert!(may_be_absent("vigie-node", "Who waits", 0).is_none());
    }
}
