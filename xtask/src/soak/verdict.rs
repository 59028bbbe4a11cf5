//! Whether Vigie has counted what the clients know.

use super::clients::Tally;
use super::targets::Target;
use anyhow::Result;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::{CountKey, Counts, Scrape, Vigie};

const ABORTED: &str = "http_requests_aborted_total";
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
        let found = differences(&expected, &left, &scrape.requests(port), |handler| {
            aborted(scrape, port, handler)
        });
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", target.name)));
    }
    problems
}

/// Aborted requests of a handler, or of all.
fn aborted(scrape: &Scrape, port: u16, handler: Option<&str>) -> u64 {
    let port = port.to_string();
    let labels: Vec<(&str, &str)> = [("port", port.as_str())]
        .into_iter()
        .chain(handler.map(|handler| ("handler", handler)))
        .collect();
    scrape.sum(ABORTED, &labels) as u64
}

/// What is answered is counted exactly; what was left is answered or aborted; and nothing else is aborted.
fn differences(
    expected: &Counts,
    left: &[(&str, u64)],
    seen: &Counts,
    aborted: impl Fn(Option<&str>) -> u64,
) -> Vec<String> {
    let mut problems = Vec::new();
    let is_left = |key: &&CountKey| left.iter().any(|(path, _)| key.0 == *path);
    let keys: BTreeSet<&CountKey> = expected.keys().chain(seen.keys()).collect();
    for key in keys.into_iter().filter(|key| !is_left(key)) {
        let count = |counts: &Counts| counts.get(key).copied().unwrap_or_default();
        let (clients, vigie) = (count(expected), count(seen));
        if clients != vigie {
            problems.push(format!("{key:?}: the clients count {clients}, Vigie {vigie}"));
        }
    }
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
