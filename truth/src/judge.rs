//! Truth and Vigie, side by side: counts must be right in every run, of durations, too; a time in one of them.

use crate::run::{Finished, Truth};
use std::collections::BTreeMap;
use testkit::counts::differences;
use testkit::scrape::DURATION;
use testkit::{CountKey, Counts, Scrape};

/// The least difference of two means, in seconds, that makes a time wrong.
const SLACK: f64 = 0.002;

/// What is said about one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Answered requests of all runs, by (handler, method, status), as the truth and as Vigie counts them.
    pub counts: BTreeMap<CountKey, (u64, u64)>,
    /// Means in seconds of the run in which they are closest, over all requests of the run.
    pub means: Option<(f64, f64)>,
    /// Requests without an answer in all runs, as the truth and as Vigie counts them.
    pub aborted: (u64, u64),
    /// Everything that differs, a line each.
    pub problems: Vec<String>,
}

/// The mean of a key in one run, in seconds: the truth, and what Vigie says.
struct Time {
    truth: f64,
    vigie: Option<f64>,
    /// How much of the truth may be the row's own work.
    work: f64,
}

impl Time {
    /// The client's clock goes on while the client itself works, or waits for a CPU to do so: until its request is on the way, and once
    /// the answer is there. On an emulated or busy machine that is milliseconds; Vigie may be that much below the client, not above.
    fn is_right(&self, tolerance: f64) -> bool {
        let slack = SLACK.max(self.truth * tolerance);
        self.vigie
            .is_some_and(|seen| seen <= self.truth + slack && seen >= self.truth - slack.max(self.work))
    }
}

// === impl Truth ===

impl Truth {
    /// The requests that Vigie has to count.
    pub fn counts(&self) -> Counts {
        let mut counts = self.timed();
        for (key, count) in &self.long_lived {
            *counts.entry(key.clone()).or_default() += count;
        }
        counts
    }

    /// The requests that Vigie has to time.
    fn timed(&self) -> Counts {
        let answered = self.answered.iter();
        answered.map(|(key, list)| (key.clone(), list.len() as u64)).collect()
    }

    /// What Vigie counts otherwise on this port, if anything.
    pub fn difference(&self, scrape: &Scrape, port: u16) -> Option<String> {
        let (expected, seen) = (self.counts(), scrape.requests(port));
        if expected != seen {
            return Some(differing(&expected, &seen));
        }
        let aborted = scrape.aborted(&[("port", &port.to_string())]);
        if aborted != self.aborted {
            return Some(format!("aborted {aborted:?}, not {:?}", self.aborted));
        }
        let (expected, seen) = (self.timed(), scrape.durations(port));
        // Not even an empty histogram.
        let is_timed = |long_lived: &&CountKey| seen.keys().any(|(handler, _, _)| *handler == long_lived.0);
        if let Some((handler, _, _)) = self.long_lived.keys().find(is_timed) {
            return Some(format!("{handler} is long-lived and has durations"));
        }
        (expected != seen).then(|| format!("durations of {}", differing(&expected, &seen)))
    }
}

/// Judges the runs of a row. `tolerance` is relative to the truth.
pub fn judge(runs: &[Finished], scrape: &Scrape, tolerance: f64) -> Verdict {
    let mut verdict = Verdict::default();
    let mut best: Option<(f64, f64)> = None;
    let mut times: BTreeMap<&CountKey, Vec<Time>> = BTreeMap::new();
    for run in runs {
        let late = run.late.as_ref().map(|difference| format!("too late: {difference}"));
        if let Some(problem) = run.truth.difference(scrape, run.port).or(late) {
            verdict.problems.push(problem);
        }
        if let Some((phases, durations)) = scrape.phases_not_adding_up(&[("port", &run.port.to_string())]) {
            let problem = format!("the phases are {phases} s, and the durations {durations} s");
            verdict.problems.push(problem);
        }
        verdict.add_counts(&run.truth.counts(), &scrape.requests(run.port));
        verdict.aborted.0 += run.truth.aborted.values().sum::<u64>();
        let aborted = scrape.aborted(&[("port", &run.port.to_string())]);
        verdict.aborted.1 += aborted.values().sum::<u64>();
        let (mut truth_sum, mut seen_sum, mut count) = (0.0, 0.0, 0.0);
        for (key, list) in &run.truth.answered {
            let (sum, number) = durations(scrape, run.port, key);
            truth_sum += list.iter().sum::<f64>();
            seen_sum += sum;
            count += list.len() as f64;
            times.entry(key).or_default().push(Time {
                truth: list.iter().sum::<f64>() / list.len() as f64,
                vigie: (number > 0.0).then(|| sum / number),
                work: run.work,
            });
        }
        let pair = (truth_sum / count, seen_sum / count);
        let is_closer = best.is_none_or(|best| (pair.0 - pair.1).abs() < (best.0 - best.1).abs());
        if count > 0.0 && is_closer {
            best = Some(pair);
        }
    }
    verdict.means = best;
    // What is wrong in the same way in several runs is said once.
    verdict.problems.dedup();
    for (key, list) in times {
        if !list.iter().any(|time| time.is_right(tolerance)) {
            verdict.problems.push(wrong_time(key, &list));
        }
    }
    verdict
}

impl Verdict {
    fn add_counts(&mut self, expected: &Counts, seen: &Counts) {
        for (key, count) in expected {
            self.counts.entry(key.clone()).or_default().0 += count;
        }
        for (key, count) in seen {
            self.counts.entry(key.clone()).or_default().1 += count;
        }
    }
}

/// The sum and the number of Vigie's durations.
fn durations(scrape: &Scrape, port: u16, (handler, method, status): &CountKey) -> (f64, f64) {
    let (port, status) = (port.to_string(), status.to_string());
    let labels = [
        ("port", port.as_str()),
        ("handler", handler),
        ("method", method),
        ("status", &status),
    ];
    let sum = |suffix: &str| scrape.sum(&format!("{DURATION}_{suffix}"), &labels);
    (sum("sum"), sum("count"))
}

fn wrong_time(key: &CountKey, list: &[Time]) -> String {
    let pairs = list.iter().map(|time| {
        let seen = time
            .vigie
            .map_or_else(|| "nothing".to_owned(), |seen| format!("{:.1}", seen * 1e3));
        format!("{seen} not {:.1}", time.truth * 1e3)
    });
    let pairs: Vec<String> = pairs.collect();
    format!("mean ms of {}: {}", shown(key), pairs.join(", "))
}

/// Each count that is not as expected.
fn differing(expected: &Counts, seen: &Counts) -> String {
    let parts = differences(expected, seen).map(|one| format!("{} {} not {}", shown(one.key), one.vigie, one.truth));
    parts.collect::<Vec<_>>().join(", ")
}

/// A key in a few words: of a long handler the beginning, the end, and the length.
fn shown((handler, method, status): &CountKey) -> String {
    const ENDS: usize = 20;
    let letters: Vec<char> = handler.chars().collect();
    if letters.len() <= 3 * ENDS {
        return format!("{{{method} {handler} {status}}}");
    }
    let text = |part: &[char]| part.iter().collect::<String>();
    let (begin, end) = (text(&letters[..ENDS]), text(&letters[letters.len() - ENDS..]));
    format!("{{{method} {begin}~{end} of {} {status}}}", letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const SCRAPE: &str = r#"# TYPE http_requests_total counter
http_requests_total{port="7",handler="/a",method="GET",status="200"} 2
http_requests_total{port="7",handler="/s",method="GET",status="200"} 1
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{port="7",handler="/a",method="GET",status="200",le="+Inf"} 2
http_request_duration_seconds_sum{port="7",handler="/a",method="GET",status="200"} 0.2
http_request_duration_seconds_count{port="7",handler="/a",method="GET",status="200"} 2
# TYPE http_request_phase_seconds_total counter
http_request_phase_seconds_total{port="7",handler="/a",method="GET",phase="cpu"} 0.05
http_request_phase_seconds_total{port="7",handler="/a",method="GET",phase="blocked"} 0.15
# TYPE http_requests_aborted_total counter
http_requests_aborted_total{port="7",handler="/a",method="GET"} 1
http_requests_aborted_total{port="8",handler="/a",method="GET"} 5
"#;

    fn scrape() -> Scrape {
        Scrape::parse(SCRAPE).unwrap()
    }

    fn key(handler: &str, status: u16) -> CountKey {
        (handler.to_owned(), "GET".to_owned(), status)
    }

    /// What the scrape says, with these durations.
    fn truth(durations: &[f64]) -> Truth {
        Truth {
            answered: BTreeMap::from([(key("/a", 200), durations.to_vec())]),
            aborted: BTreeMap::from([(("/a".to_owned(), "GET".to_owned()), 1)]),
            long_lived: BTreeMap::from([(key("/s", 200), 1)]),
        }
    }

    fn problems(runs: &[Truth], tolerance: f64) -> Vec<String> {
        problems_of(&scrape(), runs, tolerance)
    }

    fn problems_of(scrape: &Scrape, runs: &[Truth], tolerance: f64) -> Vec<String> {
        let runs: Vec<Finished> = runs.iter().map(|truth| Finished::of(7, truth.clone())).collect();
        judge(&runs, scrape, tolerance).problems
    }

    #[test]
    fn the_truth_is_right() {
        assert_eq!(truth(&[0.1, 0.1]).difference(&scrape(), 7), None);
        assert_eq!(problems(&[truth(&[0.08, 0.1195])], 0.02), [""; 0]);
    }

    #[test]
    fn a_time_is_right_if_one_run_is() {
        let (good, bad) = (truth(&[0.1, 0.1]), truth(&[0.2, 0.2]));
        assert_eq!(problems(&[bad.clone(), good, bad.clone()], 0.02), [""; 0]);
        let line = "mean ms of {GET /a 200}: 100.0 not 200.0, 100.0 not 200.0";
        assert_eq!(problems(&[bad.clone(), bad.clone()], 0.02), [line]);
        assert_eq!(problems(&[bad], 0.5), [""; 0]);
        // 2 ms are always right, and no more than the tolerance is.
        assert_eq!(problems(&[truth(&[0.1019, 0.1019])], 0.0), [""; 0]);
        assert_eq!(problems(&[truth(&[0.1021, 0.1021])], 0.0).len(), 1);
    }

    #[test]
    fn what_the_row_works_itself_is_the_clients_alone() {
        let problems = |truth_seconds: f64, work| {
            let mut run = Finished::of(7, truth(&[truth_seconds; 2]));
            run.work = work;
            judge(&[run], &scrape(), 0.02).problems.len()
        };
        // As "200 small chunks in one writev" on an emulated machine: all of it is work, and Vigie is milliseconds below.
        assert_eq!(problems(0.1045, 0.0), 1);
        assert_eq!(problems(0.1045, 0.0044), 1);
        assert_eq!(problems(0.1045, 0.0046), 0);
        // Above the client it may not be, whatever the row worked.
        assert_eq!(problems(0.0955, 0.0046), 1);
    }

    #[test]
    fn a_count_is_right_in_all_runs() {
        let problem = |change: fn(&mut Truth)| {
            let mut wrong = truth(&[0.1, 0.1]);
            change(&mut wrong);
            problems(&[truth(&[0.1, 0.1]), wrong], 0.02).join("; ")
        };
        assert_eq!(
            problem(|truth| truth.answered.values_mut().for_each(|list| list.push(0.1))),
            "{GET /a 200} 2 not 3"
        );
        assert_eq!(
            problem(|truth| drop(truth.answered.insert(key("/a", 201), vec![0.1]))),
            "{GET /a 201} 0 not 1; mean ms of {GET /a 201}: nothing not 100.0"
        );
        assert_eq!(problem(|truth| truth.long_lived.clear()), "{GET /s 200} 1 not 0");
        assert_eq!(
            problem(|truth| truth.aborted.clear()),
            r#"aborted {("/a", "GET"): 1}, not {}"#
        );
        assert_eq!(
            problem(|truth| {
                truth.answered.clear();
                truth.long_lived.insert(key("/a", 200), 2);
            }),
            "/a is long-lived and has durations"
        );
    }

    #[test]
    fn durations_that_disappear_are_a_problem() {
        let lines = SCRAPE.lines().filter(|line| !line.starts_with(DURATION));
        let without = Scrape::parse(&(lines.collect::<Vec<_>>().join("\n") + "\n")).unwrap();
        assert_eq!(
            problems_of(&without, &[truth(&[0.1, 0.1])], 0.02),
            [
                "durations of {GET /a 200} 0 not 2",
                "the phases are 0.2 s, and the durations 0 s",
                "mean ms of {GET /a 200}: nothing not 100.0"
            ]
        );
        let fewer = SCRAPE.replace("le=\"+Inf\"} 2", "le=\"+Inf\"} 1");
        let fewer = fewer.replace(
            "_count{port=\"7\",handler=\"/a\",method=\"GET\",status=\"200\"} 2",
            "_count{port=\"7\",handler=\"/a\",method=\"GET\",status=\"200\"} 1",
        );
        let fewer = Scrape::parse(&fewer).unwrap();
        assert_eq!(
            problems_of(&fewer, &[truth(&[0.2, 0.2]), truth(&[0.2, 0.2])], 0.02),
            ["durations of {GET /a 200} 1 not 2"]
        );
    }

    #[test]
    fn phases_that_do_not_add_up_are_a_problem() {
        let less = Scrape::parse(&SCRAPE.replace("0.15", "0.14")).unwrap();
        let found = problems_of(&less, &[truth(&[0.1, 0.1])], 0.02);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("the phases are 0.19"), "{found:?}");
    }

    #[test]
    fn what_came_late_is_a_problem() {
        let mut run = Finished::of(7, truth(&[0.1, 0.1]));
        run.late = Some("nothing".to_owned());
        assert_eq!(judge(&[run], &scrape(), 0.02).problems, ["too late: nothing"]);
    }

    #[test]
    fn the_means_are_of_the_closest_run() {
        let runs = [[0.3, 0.3], [0.1, 0.101]].map(|list| Finished::of(7, truth(&list)));
        let verdict = judge(&runs, &scrape(), 0.02);
        let (client, vigie) = verdict.means.unwrap();
        assert!((client - 0.1005).abs() < 1e-9 && (vigie - 0.1).abs() < 1e-9);
        assert_eq!(verdict.counts[&key("/a", 200)], (4, 4));
        assert_eq!(verdict.aborted, (2, 2));
    }

    #[test]
    fn a_span_becomes_seconds() {
        let start = Instant::now();
        let mut truth = Truth::default();
        truth.answer("/a", "GET", 200, start, start + Duration::from_millis(1500));
        assert_eq!(truth.answered[&key("/a", 200)], [1.5]);
    }
}
