//! Whether Vigie has counted what the clients know.

use super::clients::Tally;
use super::targets::Target;
use anyhow::Result;
use std::time::Duration;
use testkit::counts::{self, Difference};
use testkit::{Counts, Scrape, Vigie};

/// How long a server may take to notice that the clients have gone.
const SETTLE: Duration = Duration::from_secs(10);

/// A scrape in which all counts are right, or the last one after a while.
pub fn settled(vigie: &Vigie, targets: &[Target], tally: &Tally) -> Result<Scrape> {
    vigie.settled_within(SETTLE, |scrape| counts(targets, tally, scrape).is_empty())
}

/// Every count that differs, and everything that no client expected.
pub fn counts(targets: &[Target], tally: &Tally, scrape: &Scrape) -> Vec<String> {
    let mut problems = tally.failures.clone();
    for (index, target) in targets.iter().enumerate() {
        let expected = tally.answered.get(&index).cloned().unwrap_or_default();
        let left = tally.left.iter().filter(|((of, _), _)| *of == index);
        let left = left.map(|((_, path), count)| (*path, *count)).collect::<Vec<_>>();
        let port = target.server.port();
        let aborted = scrape.aborted(&[("port", &port.to_string())]);
        let found = differences(&expected, &left, &scrape.requests(port), |wanted| {
            let of = aborted
                .iter()
                .filter(|((handler, _), _)| wanted.is_none_or(|wanted| handler == wanted));
            of.map(|(_, count)| count).sum()
        });
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", target.name)));
        let in_flight = scrape.in_flight(port);
        if in_flight != 0.0 {
            problems.push(format!(
                "{}: {in_flight} requests are said to be in flight",
                target.name
            ));
        }
        if let Some((phases, durations)) = scrape.phases_not_adding_up(&[("port", &port.to_string())]) {
            problems.push(format!(
                "{}: phases of {phases} s, durations of {durations} s",
                target.name
            ));
        }
    }
    problems
}

/// What is answered is counted exactly; what was left is answered or aborted; and nothing else is aborted. `aborted` tells the
/// aborted requests of a handler, or of all.
fn differences(
    expected: &Counts,
    left: &[(&str, u64)],
    seen: &Counts,
    aborted: impl Fn(Option<&str>) -> u64,
) -> Vec<String> {
    let is_left = |one: &Difference<'_>| left.iter().any(|(path, _)| one.key.0 == *path);
    let mut problems: Vec<String> = counts::differences(expected, seen)
        .filter(|one| !is_left(one))
        .map(|one| format!("{:?}: the clients count {}, Vigie {}", one.key, one.truth, one.vigie))
        .collect();
    let mut aborted_of_left = 0;
    for (path, sent) in left {
        let answered: u64 = seen
            .iter()
            .filter(|(key, _)| key.0 == *path)
            .map(|(_, count)| count)
            .sum();
        let aborted = aborted(Some(path));
        aborted_of_left += aborted;
        if answered + aborted != *sent {
            problems.push(format!(
                "{path}: the clients sent {sent}, Vigie says {answered} answered and {aborted} aborted"
            ));
        }
    }
    let others = aborted(None) - aborted_of_left;
    if others > 0 {
        problems.push(format!("{others} aborted requests that no client sent"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Counts {
        let key = |handler: &str| (handler.to_owned(), "GET".to_owned(), 200);
        list.iter().map(|(handler, count)| (key(handler), *count)).collect()
    }

    fn problems(seen: &[(&str, u64)], aborted_of_left: u64, aborted: u64) -> Vec<String> {
        differences(
            &counts(&[("/a", 3)]),
            &[("/left", 5)],
            &counts(seen),
            |handler| match handler {
                Some(_) => aborted_of_left,
                None => aborted,
            },
        )
    }

    #[test]
    fn what_was_left_is_answered_or_aborted() {
        assert_eq!(problems(&[("/a", 3), ("/left", 4)], 1, 1), [""; 0]);
        assert_eq!(problems(&[("/a", 3), ("/left", 5)], 0, 0), [""; 0]);
        assert_eq!(
            problems(&[("/a", 3), ("/left", 4)], 0, 0),
            ["/left: the clients sent 5, Vigie says 4 answered and 0 aborted"]
        );
    }

    #[test]
    fn what_differs_is_named() {
        assert_eq!(
            problems(&[("/a", 2), ("/b", 1), ("/left", 5)], 0, 2),
            [
                r#"("/a", "GET", 200): the clients count 3, Vigie 2"#,
                r#"("/b", "GET", 200): the clients count 0, Vigie 1"#,
                "2 aborted requests that no client sent",
            ]
        );
    }
}
