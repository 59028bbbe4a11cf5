//! Whether Vigie was right.

use super::watched::{Side, View};
use std::collections::{BTreeMap, BTreeSet};
use testkit::counts::differences;
use testkit::scrape::REQUESTS;
use testkit::{CountKey, Counts, Records, Scrape};

const UNREADABLE: &str = "unreadable";

/// The kernel's first port for client sockets, unless it was told otherwise. Our servers' are below.
const CLIENT_PORTS: u16 = 32_768;

/// What one run says of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What the table shows.
    pub cell: String,
    /// All that is wrong.
    pub problems: Vec<String>,
}

/// How far the mean of Vigie's durations may be from the mean of the client's, in seconds.
const TOLERANCE: f64 = 200e-6;
/// The least part of the client's mean that Vigie's must be: for a fast server the tolerance alone would let it be nothing. nginx's
/// files came to 0.48 to 0.60 in seven runs: the rest is the client's own system calls.
const SHARE: f64 = 0.25;

/// How the durations of a run with one client compare, in the mean and in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    pub client: f64,
    pub vigie: f64,
    /// How long the client's own thread waited for a CPU meanwhile: on a busy machine an answer has long been sent
    /// when its client gets to read it.
    pub waited: f64,
}

// === impl Difference ===

impl Difference {
    /// The client's minus Vigie's.
    pub fn seconds(&self) -> f64 {
        self.client - self.vigie
    }

    /// Whether Vigie's mean is the client's. What the client waited is shown, and excuses nothing.
    pub fn is_right(&self) -> bool {
        self.seconds().abs() <= TOLERANCE && self.vigie >= self.client * SHARE
    }
}

/// Compares what the clients of a run saw with how Vigie's metrics have grown meanwhile.
pub fn judge(side: &Side, sides: &[Side], records: &Records, before: &Scrape, after: &Scrape) -> Run {
    let mut run = match side.view {
        View::Counted => counted(side, sides, &records.counts(), before, after),
        View::Unreadable => unreadable(side, records.len(), before, after),
    };
    if let Some(record) = records.unexpected().first() {
        let (handler, method, status) = (record.handler, &record.method, record.status);
        run.problems.push(format!(
            "the client got {} wrong answers, as {status} for {method} {handler}",
            records.unexpected().len()
        ));
    }
    run
}

fn counted(side: &Side, sides: &[Side], expected: &Counts, before: &Scrape, after: &Scrape) -> Run {
    let seen = growth(&counts_of(side, before), &counts_of(side, after));
    let mut problems: Vec<String> = Vec::new();
    let (mut missing, mut surplus) = (0, 0);
    for one in differences(expected, &seen) {
        missing += one.truth.saturating_sub(one.vigie);
        surplus += one.vigie.saturating_sub(one.truth);
        let (handler, method, status) = one.key;
        problems.push(format!(
            "{method} {handler} {status}: client {}, Vigie {}",
            one.truth, one.vigie
        ));
    }
    let cell = if problems.is_empty() {
        "exact".to_owned()
    } else {
        format!("+{surplus} −{missing}")
    };
    problems.extend(misnamed(side, sides, after));
    let in_flight = after.in_flight(&side.port);
    if in_flight != 0.0 && !side.is_on_unix_socket() {
        problems.push(format!("{in_flight} requests are said to be in flight"));
    }
    if let Some((phases, durations)) = after.phases_not_adding_up(&side.labels()) {
        problems.push(format!("phases of {phases} s, durations of {durations} s"));
    }
    let aborted: u64 = after.aborted(&side.labels()).values().sum();
    if aborted != 0 {
        problems.push(format!("{aborted} requests are said to be aborted"));
    }
    Run { cell, problems }
}

/// The part of the requests' time that has been attributed to a phase, in percent, as a cell of the table.
pub fn attributed(side: &Side, before: &Scrape, after: &Scrape) -> String {
    let (before, after) = (before.phases(&side.labels()), after.phases(&side.labels()));
    let grown = |phase: &String, sum: f64| sum - before.get(phase).copied().unwrap_or_default();
    let all: f64 = after.iter().map(|(phase, sum)| grown(phase, *sum)).sum();
    let unattributed: f64 = after
        .iter()
        .filter(|(phase, _)| *phase == "unattributed")
        .map(|(phase, sum)| grown(phase, *sum))
        .sum();
    if all == 0.0 {
        return "-".to_owned();
    }
    // Rounded down: 100 is all of it.
    format!("{:.1}", ((1.0 - unattributed / all) * 1000.0).floor() / 10.0)
}

/// Requests of this port under another service (of a Unix socket, they are others'); and of this service on the port of another
/// side, or on one that the kernel gives to client sockets. Elsewhere the host may have another server of that name.
fn misnamed(side: &Side, sides: &[Side], scrape: &Scrape) -> Vec<String> {
    let is_clients = |port: &str| port.parse::<u16>().is_ok_and(|port| port >= CLIENT_PORTS);
    let is_ours = |port: &str| is_clients(port) || sides.iter().any(|other| other.port == port);
    let places: BTreeSet<(&str, &str)> = scrape
        .samples(REQUESTS)
        .map(|sample| {
            let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
            (label("service"), label("port"))
        })
        .filter(|(service, port)| match (*service == side.service, *port == side.port) {
            (true, false) => is_ours(port),
            (false, true) => !side.is_on_unix_socket(),
            (true, true) | (false, false) => false,
        })
        .collect();
    let says = |(service, port)| format!("requests of service {service} on port {port}");
    places.into_iter().map(says).collect()
}

fn unreadable(side: &Side, requests: usize, before: &Scrape, after: &Scrape) -> Run {
    let unreadable = |scrape: &Scrape| scrape.lost().get(UNREADABLE).copied().unwrap_or_default();
    let lost = unreadable(after) - unreadable(before);
    let seen: u64 = counts_of(side, after).values().sum();
    let mut problems = Vec::new();
    if seen != 0 {
        problems.push(format!("{seen} requests were counted that cannot be read"));
    }
    // A request takes one read or more.
    if lost < requests as f64 {
        problems.push(format!(
            "of {requests} requests only {lost} reads were counted as unreadable"
        ));
    }
    let cell = format!("{seen} seen, {lost} reads lost");
    Run { cell, problems }
}

fn counts_of(side: &Side, scrape: &Scrape) -> Counts {
    scrape.counts(REQUESTS, &side.labels())
}

/// How counts have grown.
fn growth(before: &Counts, after: &Counts) -> BTreeMap<CountKey, u64> {
    let grown = after.iter().map(|(key, count)| {
        let old = before.get(key).copied().unwrap_or(0);
        (key.clone(), count.saturating_sub(old))
    });
    grown.filter(|(_, count)| *count != 0).collect()
}

/// What a run should not have lost.
pub fn wrongly_lost(sides: &[Side], before: &Scrape, after: &Scrape) -> Vec<String> {
    let is_expected = |reason: &str| reason == UNREADABLE && sides.iter().any(|side| side.view == View::Unreadable);
    let before = before.lost();
    let grown = after
        .lost()
        .into_iter()
        .map(|(reason, count)| (reason, count - before.get(reason).copied().unwrap_or(0.0)))
        .filter(|(reason, count)| *count != 0.0 && !is_expected(reason));
    grown
        .map(|(reason, count)| format!("{count} lost as {reason}, on the whole host"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::watched::UNIX;
    use super::*;
    use std::time::{Duration, Instant};
    use testkit::Record;

    fn side(view: View) -> Side {
        Side {
            title: "t".to_owned(),
            version: "1".to_owned(),
            service: "s",
            port: "80".to_owned(),
            view,
        }
    }

    fn records(statuses: &[u16]) -> Records {
        let now = Instant::now();
        let record = |status: &u16| Record {
            handler: "/a",
            method: "GET".to_owned(),
            status: *status,
            start: now,
            end: now,
            waited: Duration::ZERO,
            expected: Some(200),
        };
        Records {
            list: statuses.iter().map(record).collect(),
        }
    }

    fn scrape(lines: &str) -> Scrape {
        let types = "# TYPE http_requests_total counter\n";
        let (requests, lost) = lines.split_once('|').unwrap_or((lines, ""));
        Scrape::parse(&format!("{types}{requests}# TYPE vigie_lost_total counter\n{lost}")).unwrap()
    }

    fn requests(service: &str, port: &str, count: u64) -> String {
        let labels = format!("service=\"{service}\",port=\"{port}\",handler=\"/a\",method=\"GET\",status=\"200\"");
        format!("http_requests_total{{{labels}}} {count}\n")
    }

    fn lost_line(count: u64) -> String {
        format!("vigie_lost_total{{reason=\"unreadable\"}} {count}\n")
    }

    fn judge_alone(view: View, records: &Records, before: &Scrape, after: &Scrape) -> Run {
        judge(&side(view), &[side(view)], records, before, after)
    }

    #[test]
    fn the_clients_own_wait_excuses_no_difference() {
        let is_right = |vigie, waited| {
            let client = 1000e-6;
            Difference { client, vigie, waited }.is_right()
        };
        assert!(is_right(850e-6, 0.0) && is_right(1150e-6, 0.0) && is_right(801e-6, 0.0));
        assert!(!is_right(750e-6, 0.0) && !is_right(1250e-6, 0.0) && !is_right(750e-6, 200e-6));
    }

    #[test]
    fn a_fast_servers_time_is_not_nothing() {
        let is_right = |vigie| {
            let (client, waited) = (100e-6, 0.0);
            Difference { client, vigie, waited }.is_right()
        };
        assert!(is_right(60e-6) && is_right(26e-6) && !is_right(24e-6) && !is_right(0.0));
    }

    #[test]
    fn only_equal_growth_is_exact() {
        let before = scrape(&requests("s", "80", 5));
        let sent = records(&[200, 200]);
        let after = |count| judge_alone(View::Counted, &sent, &before, &scrape(&requests("s", "80", count)));
        assert_eq!((after(7).cell.as_str(), after(7).problems.len()), ("exact", 0));
        assert_eq!(after(6).cell, "+0 −1");
        assert_eq!(after(8).problems, ["GET /a 200: client 2, Vigie 3"]);
    }

    #[test]
    fn a_request_in_another_place_is_wrong() {
        let sent = records(&[200]);
        for (service, port, problem) in [
            ("t", "80", "requests of service t on port 80"),
            ("s", "40000", "requests of service s on port 40000"),
        ] {
            let after = scrape(&format!("{}{}", requests("s", "80", 1), requests(service, port, 1)));
            let run = judge_alone(View::Counted, &sent, &Scrape::default(), &after);
            assert!(run.problems.iter().any(|found| found == problem), "{run:?}");
        }
        let upstream = Side {
            port: "81".to_owned(),
            ..side(View::Counted)
        };
        let mixed = scrape(&format!("{}{}", requests("s", "80", 1), requests("s", "81", 1)));
        let run = judge(
            &side(View::Counted),
            &[side(View::Counted), upstream],
            &sent,
            &Scrape::default(),
            &mixed,
        );
        assert_eq!(run.problems, ["requests of service s on port 81"]);
        let elsewhere = scrape(&format!("{}{}", requests("s", "80", 1), requests("t", "81", 1)));
        assert_eq!(
            judge_alone(View::Counted, &sent, &Scrape::default(), &elsewhere)
                .problems
                .len(),
            0
        );
    }

    #[test]
    fn an_answer_that_is_wrong_is_wrong_even_if_it_is_counted() {
        let run = judge_alone(
            View::Counted,
            &records(&[200, 404]),
            &Scrape::default(),
            &scrape(&(requests("s", "80", 1) + &requests("s", "80", 1).replace("200", "404"))),
        );
        assert_eq!(run.problems, ["the client got 1 wrong answers, as 404 for GET /a"]);
    }

    #[test]
    fn the_service_tells_unix_sockets_apart() {
        let unix = Side {
            port: UNIX.to_owned(),
            ..side(View::Counted)
        };
        let judge = |requests: &str| {
            let sides = [side(View::Counted), unix.clone()];
            judge(&unix, &sides, &records(&[200]), &Scrape::default(), &scrape(requests)).problems
        };
        let (own, other) = (requests("s", UNIX, 1), requests("t", UNIX, 5));
        assert_eq!(judge(&(own + &other)), [""; 0]);
        assert_eq!(judge(&other), ["GET /a 200: client 1, Vigie 0"]);
    }

    #[test]
    fn what_cannot_be_read_has_to_be_lost_and_not_counted() {
        let sent = records(&[200, 200]);
        let of = |text: String| {
            judge_alone(View::Unreadable, &sent, &Scrape::default(), &scrape(&text))
                .problems
                .len()
        };
        assert_eq!(of(format!("|{}", lost_line(2))), 0);
        assert_eq!(of(format!("|{}", lost_line(1))), 1);
        assert_eq!(of(format!("{}|{}", requests("s", "80", 1), lost_line(2))), 1);
    }

    #[test]
    fn losses_are_wrong_unless_they_are_expected() {
        let (before, after) = (
            scrape(&format!("|{}", lost_line(1))),
            scrape(&format!("|{}", lost_line(3))),
        );
        assert_eq!(
            wrongly_lost(&[side(View::Counted)], &before, &after),
            ["2 lost as unreadable, on the whole host"]
        );
        assert!(wrongly_lost(&[side(View::Counted)], &after, &after).is_empty());
        assert!(wrongly_lost(&[side(View::Unreadable)], &before, &after).is_empty());
        assert_eq!(
            (after.lost_text(), Scrape::default().lost_text()),
            ("unreadable 3".to_owned(), "0".to_owned())
        );
    }
}
