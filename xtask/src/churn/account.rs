//! What Vigie has counted of the small servers, although their series come and go.
//!
//! A series that is gone has counted what it had at the last look. So no count gets lost as long as each series is looked at once
//! after its last request, and none twice: that is what Vigie keeps it for.

use std::collections::{BTreeMap, BTreeSet};
use testkit::Scrape;
use testkit::scrape::{Labels, REQUESTS};

/// What clients have sent, and what was counted, by port.
#[derive(Debug, Default)]
pub struct Account {
    sent: BTreeMap<u16, u64>,
    counted: BTreeMap<u16, u64>,
    /// What each series had at the last look.
    last: BTreeMap<Labels, u64>,
    /// The services that the requests were counted for, by port.
    services: BTreeMap<u16, BTreeSet<String>>,
}

// === impl Account ===

impl Account {
    /// Clients have sent so many requests to a port.
    pub fn send(&mut self, port: u16, requests: u64) {
        *self.sent.entry(port).or_default() += requests;
    }

    /// Looks at all series of the ports that were sent to. `is_own` says whether a series can be of these servers: another
    /// program may have had the port before.
    pub fn look(&mut self, scrape: &Scrape, is_own: impl Fn(&Labels) -> bool) {
        let mut now = BTreeMap::new();
        for sample in scrape.samples(REQUESTS) {
            let port = sample.labels.get("port").and_then(|port| port.parse().ok());
            let Some(port) = port.filter(|port| self.sent.contains_key(port)) else {
                continue;
            };
            if !is_own(&sample.labels) {
                continue;
            }
            let value = sample.value as u64;
            let before = self.last.get(&sample.labels).copied().unwrap_or_default();
            // A series that is less than it was has begun anew.
            let grown = value.checked_sub(before).unwrap_or(value);
            *self.counted.entry(port).or_default() += grown;
            let service = sample.labels.get("service").cloned().unwrap_or_default();
            self.services.entry(port).or_default().insert(service);
            now.insert(sample.labels.clone(), value);
        }
        self.last = now;
    }

    /// The ports whose counts differ: port, sent, counted.
    pub fn differences(&self) -> impl Iterator<Item = (u16, u64, u64)> {
        let pairs = self.sent.iter().map(|(port, sent)| {
            let counted = self.counted.get(port).copied().unwrap_or_default();
            (*port, *sent, counted)
        });
        pairs.filter(|(_, sent, counted)| sent != counted)
    }

    /// What was sent and counted over all ports.
    pub fn totals(&self) -> (u64, u64) {
        (self.sent.values().sum(), self.counted.values().sum())
    }

    /// How many ports differ, with the first of them.
    pub fn problem(&self) -> Option<String> {
        let differences: Vec<_> = self.differences().collect();
        let (port, sent, counted) = differences.first()?;
        Some(format!(
            "small servers: {} of {} ports differ, as {port}: sent {sent}, counted {counted}, for {:?}",
            differences.len(),
            self.sent.len(),
            self.services.get(port).into_iter().flatten().collect::<Vec<_>>()
        ))
    }

    /// The services that requests were counted for.
    pub fn services(&self) -> BTreeSet<&str> {
        self.services.values().flatten().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(series: &[(&str, u16, u64)]) -> Scrape {
        let lines = series
            .iter()
            .map(|(service, port, count)| format!("{REQUESTS}{{service=\"{service}\",port=\"{port}\"}} {count}\n"));
        let lines: String = lines.collect();
        Scrape::parse(&format!("# TYPE {REQUESTS} counter\n{lines}")).unwrap()
    }

    #[test]
    fn series_come_and_go_and_nothing_is_lost() {
        let mut account = Account::default();
        let all = |_: &Labels| true;
        account.send(80, 2);
        account.look(&scrape(&[("a", 80, 0), ("x", 81, 7)]), all);
        assert_eq!(account.problem().unwrap().matches("sent 2, counted 0").count(), 1);
        account.look(&scrape(&[("a", 80, 2)]), all);
        assert_eq!(account.problem(), None);
        account.look(&scrape(&[]), all);
        account.send(80, 3);
        account.look(&scrape(&[("a", 80, 1), ("b", 80, 2)]), all);
        assert_eq!(account.problem(), None);
        // It begins anew between two looks.
        account.send(80, 1);
        account.look(&scrape(&[("a", 80, 1), ("b", 80, 1)]), all);
        assert_eq!((account.totals(), account.problem()), ((6, 6), None));
        account.send(80, 1);
        assert!(
            account
                .problem()
                .unwrap()
                .contains("1 of 1 ports differ, as 80: sent 7, counted 6")
        );
        assert_eq!(account.services(), BTreeSet::from(["a", "b"]));
    }

    #[test]
    fn what_another_program_had_on_a_port_does_not_count() {
        let mut account = Account::default();
        account.send(80, 2);
        account.look(&scrape(&[("a", 80, 2), ("b", 80, 9)]), |labels| {
            labels["service"] == "a"
        });
        assert_eq!(account.problem(), None);
    }
}
