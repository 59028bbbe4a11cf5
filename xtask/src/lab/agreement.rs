//! Where the accounts of a run must agree, and whether they do.
//!
//! The client's records are the truth. nginx lives through the whole run, so what it answered, by handler, method and status, is
//! exactly what the client got. A client that did not get a whole answer (status 0) does not know what nginx counted it under,
//! if at all: each of these may be one more on nginx' side.
//!
//! What the instances answered is what nginx passed on; the rest of nginx' answers are its own (502, 504: no instance
//! answered). An instance that dies may have begun an answer. If nginx did not get all of it, the instance's answer counts, and nginx
//! asks another one or answers itself: one more on the instances' side for each. That takes an instance that was cut off.

use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use testkit::counts::differences;
use testkit::{Counts, Records};

/// The statuses that nginx gives when no instance has answered. The store gives none of them.
pub const OWN: [u16; 3] = [502, 503, 504];

/// The counts of a run.
#[derive(Debug, Default)]
pub struct Accounts {
    /// By handler, method and status; status 0 where no whole answer came.
    pub client: Counts,
    /// What Vigie says of nginx.
    pub balancer: Counts,
    /// What Vigie says of all instances.
    pub instances: Counts,
    /// The instances that were ended.
    pub ended: u64,
}

// === impl Accounts ===

impl Accounts {
    pub fn new(records: &Records, balancer: Counts, instances: Counts, ended: u64) -> Self {
        Self {
            client: records.counts(),
            balancer,
            instances,
            ended,
        }
    }

    /// Each status with what client, nginx and instances say.
    pub fn by_status(&self) -> BTreeMap<u16, [u64; 3]> {
        let mut table: BTreeMap<u16, [u64; 3]> = BTreeMap::new();
        for (column, counts) in [&self.client, &self.balancer, &self.instances].into_iter().enumerate() {
            for ((_, _, status), count) in counts {
                table.entry(*status).or_default()[column] += count;
            }
        }
        table
    }

    /// The requests that got no whole answer.
    pub fn cut(&self) -> u64 {
        self.client
            .iter()
            .filter(|((_, _, status), _)| *status == 0)
            .map(|(_, count)| count)
            .sum()
    }

    /// Fails with each count that differs where it may not.
    pub fn check(&self) -> Result<()> {
        let problems: Vec<String> = self
            .client_and_balancer()
            .into_iter()
            .chain(self.balancer_and_instances())
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        bail!("the counts do not agree:\n  {}", problems.join("\n  "));
    }

    fn client_and_balancer(&self) -> Vec<String> {
        let answered: Counts = self
            .client
            .iter()
            .filter(|((_, _, status), _)| *status != 0)
            .map(|(key, count)| (key.clone(), *count))
            .collect();
        let found: Vec<_> = differences(&answered, &self.balancer).collect();
        let more: u64 = found.iter().map(|one| one.vigie.saturating_sub(one.truth)).sum();
        if found.iter().all(|one| one.vigie > one.truth) && more <= self.cut() {
            return Vec::new();
        }
        let lines = found.iter().map(|one| {
            let (handler, method, status) = one.key;
            format!(
                "{{{handler}, {method}, {status}}}: client {}, nginx by Vigie {}",
                one.truth, one.vigie
            )
        });
        lines.collect()
    }

    fn balancer_and_instances(&self) -> Vec<String> {
        let sum = |counts: &Counts| {
            let mut sums: BTreeMap<u16, u64> = BTreeMap::new();
            for ((_, _, status), count) in counts {
                *sums.entry(*status).or_default() += count;
            }
            sums
        };
        let (balancer, instances) = (sum(&self.balancer), sum(&self.instances));
        let statuses: BTreeSet<u16> = balancer.keys().chain(instances.keys()).copied().collect();
        let mut problems = Vec::new();
        let mut more = 0;
        for status in statuses.into_iter().filter(|status| !OWN.contains(status)) {
            let count = |sums: &BTreeMap<u16, u64>| sums.get(&status).copied().unwrap_or_default();
            let (balancer, instances) = (count(&balancer), count(&instances));
            // An answer that the instance began and nginx could not finish.
            let is_explained = instances > balancer && more + instances - balancer <= self.begun();
            more += instances.saturating_sub(balancer);
            if balancer != instances && !is_explained {
                problems.push(format!(
                    "status {status}: nginx by Vigie {balancer}, its instances by Vigie {instances}"
                ));
            }
        }
        problems
    }

    /// How many answers can have been begun and not ended: a process of one event loop writes one at a time.
    fn begun(&self) -> u64 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u16, u64)]) -> Counts {
        let key = |handler: &str, status| (handler.to_owned(), "GET".to_owned(), status);
        list.iter()
            .map(|(handler, status, count)| (key(handler, *status), *count))
            .collect()
    }

    fn accounts(
        client: &[(&str, u16, u64)],
        balancer: &[(&str, u16, u64)],
        instances: &[(&str, u16, u64)],
    ) -> Accounts {
        Accounts {
            client: counts(client),
            balancer: counts(balancer),
            instances: counts(instances),
            ended: 2,
        }
    }

    #[test]
    fn what_nginx_answers_itself_no_instance_does() {
        let all = accounts(
            &[("/a", 200, 9), ("/a", 502, 1)],
            &[("/a", 200, 9), ("/a", 502, 1)],
            &[("/a", 200, 9)],
        );
        all.check().unwrap();
        assert_eq!(all.by_status(), BTreeMap::from([(200, [9, 9, 9]), (502, [1, 1, 0])]));
    }

    #[test]
    fn each_difference_is_named() {
        let all = accounts(&[("/a", 200, 9)], &[("/a", 200, 8), ("/b", 200, 1)], &[("/a", 200, 8)]);
        assert_eq!(
            all.check().unwrap_err().to_string(),
            "the counts do not agree:\n  {/a, GET, 200}: client 9, nginx by Vigie 8\n  \
             {/b, GET, 200}: client 0, nginx by Vigie 1\n  status 200: nginx by Vigie 9, its instances by Vigie 8"
        );
    }

    #[test]
    fn an_answer_that_was_cut_may_be_in_one_account_more() {
        let client = [("/a", 200, 9), ("/a", 0, 1)];
        accounts(&client, &[("/a", 200, 10)], &[("/a", 200, 10)])
            .check()
            .unwrap();
        accounts(&client, &[("/a", 200, 9)], &[("/a", 200, 11)])
            .check()
            .unwrap();
        assert!(
            accounts(&client, &[("/a", 200, 11)], &[("/a", 200, 11)])
                .check()
                .is_err()
        );
        assert!(
            accounts(&client, &[("/a", 200, 9)], &[("/a", 200, 12)])
                .check()
                .is_err()
        );
    }
}
