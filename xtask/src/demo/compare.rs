//! What the clients counted and timed beside what Vigie did.

use std::collections::{BTreeMap, BTreeSet};
use testkit::scrape::DURATION;
use testkit::{CountKey, Record, Records, Scrape};

/// The requests of one handler, method and status.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub handler: String,
    pub method: String,
    pub status: u16,
    pub client: Figures,
    pub vigie: Figures,
}

impl Row {
    pub fn differs(&self) -> bool {
        self.client.count != self.vigie.count
    }
}

/// How many requests, and how long they took in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub count: u64,
    pub mean: Option<f64>,
    pub p95: Option<f64>,
}

/// Both views of a run.
#[derive(Debug)]
pub struct Comparison {
    /// By handler, method and status.
    pub rows: Vec<Row>,
    /// Requests that got no answer because they met a closing connection. They are in no row.
    pub unread: usize,
    /// Requests that got another answer than the store should give.
    pub unexpected: usize,
}

impl Comparison {
    /// Compares the requests of a run with what Vigie says about the service on `port`.
    pub fn new(records: Records, scrape: &Scrape, port: u16) -> Self {
        let unread = records.transport_errors();
        let unexpected = records.unexpected().len() - unread;
        let seen = scrape.requests(port);
        let mut sent = by_key(records);

        let keys: BTreeSet<CountKey> = sent.keys().chain(seen.keys()).cloned().collect();
        let rows = keys.into_iter().map(|key| {
            let client = sent.remove(&key).map(client_figures).unwrap_or_default();
            let vigie = vigie_figures(scrape, port, &key, seen.get(&key).copied().unwrap_or(0));
            let (handler, method, status) = key;
            Row {
                handler,
                method,
                status,
                client,
                vigie,
            }
        });
        Self {
            rows: rows.collect(),
            unread,
            unexpected,
        }
    }

    pub fn differences(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.differs())
    }
}

/// The answered requests.
fn by_key(records: Records) -> BTreeMap<CountKey, Vec<Record>> {
    let mut keys: BTreeMap<CountKey, Vec<Record>> = BTreeMap::new();
    for record in records.list.into_iter().filter(|record| record.status != 0) {
        keys.entry((record.handler.to_owned(), record.method.clone(), record.status))
            .or_default()
            .push(record);
    }
    keys
}

/// The figures of requests to one handler.
fn client_figures(list: Vec<Record>) -> Figures {
    let handler = list.first().map_or("", |record| record.handler);
    let records = Records { list };
    Figures {
        count: records.len() as u64,
        mean: records.mean(handler),
        p95: records.quantile(handler, 0.95),
    }
}

fn vigie_figures(scrape: &Scrape, port: u16, (handler, method, status): &CountKey, count: u64) -> Figures {
    let (port, status) = (port.to_string(), status.to_string());
    let labels = [
        ("port", &*port),
        ("handler", handler),
        ("method", method),
        ("status", &status),
    ];
    Figures {
        count,
        mean: mean(scrape, DURATION, &labels),
        p95: scrape.quantile(DURATION, &labels, 0.95),
    }
}

/// The mean of a histogram's observations.
pub fn mean(scrape: &Scrape, histogram: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let count = scrape.sum(&format!("{histogram}_count"), labels);
    (count > 0.0).then(|| scrape.sum(&format!("{histogram}_sum"), labels) / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const SCRAPE: &str = r#"
# TYPE http_requests_total counter
http_requests_total{service="s",port="1",handler="/a",method="GET",status="200"} 2
http_requests_total{service="s",port="1",handler="/b",method="GET",status="200"} 1
http_requests_total{service="t",port="2",handler="/a",method="GET",status="200"} 9
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{port="1",handler="/a",method="GET",status="200",le="0.1"} 2
http_request_duration_seconds_bucket{port="1",handler="/a",method="GET",status="200",le="+Inf"} 2
http_request_duration_seconds_sum{port="1",handler="/a",method="GET",status="200"} 0.1
http_request_duration_seconds_count{port="1",handler="/a",method="GET",status="200"} 2
"#;

    fn record(handler: &'static str, status: u16, milliseconds: u64) -> Record {
        let start = Instant::now();
        let end = start + Duration::from_millis(milliseconds);
        Record {
            handler,
            method: "GET".to_owned(),
            status,
            start,
            end,
            waited: Duration::ZERO,
            expected: Some(200),
        }
    }

    #[test]
    fn rows_hold_what_either_side_saw() {
        let list = vec![
            record("/a", 200, 40),
            record("/a", 200, 60),
            record("/a", 0, 1000),
            record("/c", 500, 7),
        ];
        let scrape = Scrape::parse(SCRAPE.trim_start()).unwrap();
        let comparison = Comparison::new(Records { list }, &scrape, 1);
        let counts: Vec<_> = comparison
            .rows
            .iter()
            .map(|row| (&*row.handler, row.status, row.client.count, row.vigie.count))
            .collect();
        assert_eq!(counts, [("/a", 200, 2, 2), ("/b", 200, 0, 1), ("/c", 500, 1, 0)]);
        assert_eq!((comparison.unread, comparison.unexpected), (1, 1));
        assert_eq!(comparison.differences().count(), 2);

        let row = &comparison.rows[0];
        assert!((row.client.mean.unwrap() - 0.05).abs() < 1e-9);
        assert!((row.vigie.mean.unwrap() - 0.05).abs() < 1e-9);
        assert!((row.client.p95.unwrap() - 0.06).abs() < 1e-9);
        assert!((row.vigie.p95.unwrap() - 0.095).abs() < 1e-9);
        assert_eq!(comparison.rows[2].vigie, Figures::default());
    }
}
