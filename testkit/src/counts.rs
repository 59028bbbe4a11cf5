//! Numbers of requests, and in what two accounts of them differ.

use std::collections::{BTreeMap, BTreeSet};

/// What a request is counted under: (handler, method, status). Status 0 is "no valid status".
pub type CountKey = (String, String, u16);

/// Numbers of requests. [`crate::Records::counts`] and [`crate::Scrape::requests`] both give this type, to compare.
pub type Counts = BTreeMap<CountKey, u64>;

/// The method that Vigie counts a request under that was answered so: a server that has no such method says so with 405 or 501.
pub fn counted_method(method: &str, status: u16) -> &str {
    match status {
        405 | 501 => "_OTHER",
        _ => method,
    }
}

/// A key that the truth and Vigie count differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    pub key: &'a CountKey,
    pub truth: u64,
    pub vigie: u64,
}

/// Each key whose numbers differ, in order. What is not there is 0.
pub fn differences<'a>(truth: &'a Counts, vigie: &'a Counts) -> impl Iterator<Item = Difference<'a>> {
    let keys: BTreeSet<&CountKey> = truth.keys().chain(vigie.keys()).collect();
    let count = |counts: &Counts, key| counts.get(key).copied().unwrap_or_default();
    let pairs = keys.into_iter().map(move |key| Difference {
        key,
        truth: count(truth, key),
        vigie: count(vigie, key),
    });
    pairs.filter(|pair| pair.truth != pair.vigie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(handler: &str) -> CountKey {
        (handler.to_owned(), "GET".to_owned(), 200)
    }

    #[test]
    fn what_one_side_lacks_differs() {
        let truth = Counts::from([(key("/a"), 1), (key("/b"), 2), (key("/c"), 0)]);
        let vigie = Counts::from([(key("/a"), 1), (key("/b"), 3), (key("/d"), 4)]);
        let found: Vec<_> = differences(&truth, &vigie)
            .map(|one| (one.key.0.as_str(), one.truth, one.vigie))
            .collect();
        assert_eq!(found, [("/b", 2, 3), ("/d", 0, 4)]);
    }
}
