//! Who scrapes Vigie, and when each of them did last.
//!
//! Prometheus computes `increase()` from samples alone. A counter that appears with the value N between two scrapes has not
//! increased, for all it knows: the first requests of a new route are lost to every rate, rule and alert. So a scraper that has
//! been here before is shown a series that is younger than its last scrape with the value 0 once, and the true value from the next scrape on.
//!
//! A scraper is known by the header that Prometheus sends, and by its address, its `User-Agent` and its query. Two of them that have all
//! three in common count as one: the zero goes to the one that comes first.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::model::{Family, Kind, counter, family, gauge};

/// The header by which a scraper is told from any other client. Prometheus, its agent mode, and vmagent send it; so does the OpenTelemetry
/// collector, which scrapes with Prometheus' code. Source: `scrape/scrape.go` of prometheus/prometheus.
pub const HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// How many scrapers are remembered.
const MOST: usize = 64;
/// For how long, in nanoseconds. Prometheus takes a series without samples for five minutes as gone; nobody scrapes less than once an hour.
const REMEMBERED: u64 = 3600 * 1_000_000_000;
/// How long a scraper is taken to be as it was when an answer last came to it, in nanoseconds. It bounds the time for which one whose
/// answers all seem to be lost is shown 0.
const TAKEN_BACK: u64 = 300 * 1_000_000_000;
/// How much of a text from a client is remembered, in characters.
const TEXT: usize = 256;

/// What tells a scraper from another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scraper {
    address: IpAddr,
    agent: Box<str>,
    query: Box<str>,
}

/// When a scraper was here, by the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Visits {
    last: u64,
    /// The one before, to go back to if the last answer was lost.
    before: Option<u64>,
    /// The times between its last three scrapes, the newest first; 0 where there are none.
    intervals: [u64; 2],
}

/// The scrapers that are remembered.
#[derive(Debug, Default)]
pub struct Scrapers {
    known: HashMap<Scraper, Visits>,
    dropped: u64,
}

fn shortened(text: &str) -> Box<str> {
    text.chars().take(TEXT).collect::<String>().into()
}

// === impl Scraper ===

impl Scraper {
    /// A scraper at this address, with its `User-Agent` and the query of its scrape.
    pub fn new(address: IpAddr, agent: &str, query: &str) -> Self {
        Self {
            address: address.to_canonical(),
            agent: shortened(agent),
            query: shortened(query),
        }
    }
}

// === impl Visits ===

impl Visits {
    fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.last) > REMEMBERED
    }

    fn has_interval(&self) -> bool {
        self.intervals[0] > 0
    }
}

// === impl Scrapers ===

impl Scrapers {
    /// When this scraper was last shown what there was. `None`: it was not here, or too long ago.
    pub fn last(&self, scraper: &Scraper, now: u64) -> Option<u64> {
        let visits = self.known.get(scraper)?;
        (!visits.is_over(now)).then_some(visits.last)
    }

    /// A scraper was shown what there was at this time.
    pub fn shown(&mut self, scraper: Scraper, time: u64) {
        self.known.retain(|_, visits| !visits.is_over(time));
        if let Some(visits) = self.known.get_mut(&scraper) {
            visits.before = Some(visits.last);
            visits.intervals = [time.saturating_sub(visits.last).max(1), visits.intervals[0]];
            visits.last = time;
            return;
        }
        if self.known.len() >= MOST {
            // One that has come only once goes before one that comes again and again: anybody can send such a header.
            let oldest = self
                .known
                .iter()
                .min_by_key(|(_, visits)| (visits.has_interval(), visits.last));
            if let Some(oldest) = oldest.map(|(scraper, _)| scraper.clone()) {
                self.known.remove(&oldest);
                self.dropped += 1;
            }
        }
        let visits = Visits {
            last: time,
            before: None,
            intervals: [0; 2],
        };
        self.known.insert(scraper, visits);
    }

    /// What a scraper was shown at this time has not come to it: it is as if it had not been here.
    pub fn lost(&mut self, scraper: &Scraper, time: u64) {
        let Some(visits) = self.known.get_mut(scraper).filter(|visits| visits.last == time) else {
            return;
        };
        match visits.before.take() {
            Some(before) if time - before <= TAKEN_BACK => visits.last = before,
            Some(_) => {}
            None => {
                self.known.remove(scraper);
            }
        }
    }

    /// The time between two scrapes of the scraper that comes most rarely; of its last two intervals, the longer one. At most an hour.
    pub fn slowest_interval(&self) -> Option<Duration> {
        let intervals = self.known.values().flat_map(|visits| visits.intervals);
        let slowest = intervals.max().filter(|interval| *interval > 0);
        slowest.map(Duration::from_nanos)
    }

    /// The families that tell of the scrapers.
    pub fn families(&self) -> Vec<Family<'static>> {
        vec![
            family(
                "vigie_scrapers",
                Kind::Gauge,
                "Scrapers that were here in the last hour and are remembered.",
                vec![gauge(vec![], self.known.len() as f64)],
            ),
            family(
                "vigie_scrapers_dropped_total",
                Kind::Counter,
                "Scrapers that were forgotten early because there were too many.",
                vec![counter(vec![], self.dropped as f64)],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn scraper(number: usize) -> Scraper {
        Scraper::new(Ipv4Addr::LOCALHOST.into(), &format!("Prometheus/{number}"), "")
    }

    #[test]
    fn each_scraper_has_a_last_time_of_its_own() {
        let mut scrapers = Scrapers::default();
        let one = scraper(1);
        assert_eq!(scrapers.last(&one, 5), None);
        scrapers.shown(one.clone(), 5 * SECOND);
        assert_eq!(scrapers.last(&one, 6 * SECOND), Some(5 * SECOND));
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
        assert_eq!(Scraper::new(mapped, "Prometheus/1", ""), one);
        for other in [
            Scraper::new(Ipv6Addr::LOCALHOST.into(), "Prometheus/1", ""),
            Scraper::new(Ipv4Addr::LOCALHOST.into(), "Prometheus/2", ""),
            Scraper::new(Ipv4Addr::LOCALHOST.into(), "Prometheus/1", "profile=otel"),
        ] {
            assert_eq!(scrapers.last(&other, 6 * SECOND), None, "{other:?}");
        }
    }

    #[test]
    fn a_scraper_is_forgotten_after_an_hour() {
        let mut scrapers = Scrapers::default();
        scrapers.shown(scraper(1), SECOND);
        assert_eq!(scrapers.last(&scraper(1), SECOND + REMEMBERED), Some(SECOND));
        assert_eq!(scrapers.last(&scraper(1), SECOND + REMEMBERED + 1), None);
        scrapers.shown(scraper(2), SECOND + REMEMBERED + 1);
        assert_eq!(scrapers.known.len(), 1);
        // It comes back as a new one: an interval is never longer than an hour.
        scrapers.shown(scraper(1), SECOND + REMEMBERED + 2);
        assert_eq!((scrapers.slowest_interval(), scrapers.dropped), (None, 0));
    }

    #[test]
    fn the_slowest_interval_is_that_of_the_rarest_scraper() {
        let mut scrapers = Scrapers::default();
        assert_eq!(scrapers.slowest_interval(), None);
        for time in [0, 10, 20, 30, 40, 50, 60] {
            scrapers.shown(scraper(1), time * SECOND);
        }
        assert_eq!(scrapers.slowest_interval(), Some(Duration::from_secs(10)));
        scrapers.shown(scraper(2), 0);
        scrapers.shown(scraper(2), 60 * SECOND);
        assert_eq!(scrapers.slowest_interval(), Some(Duration::from_secs(60)));
        // Somebody asks out of turn.
        scrapers.shown(scraper(2), 61 * SECOND);
        assert_eq!(scrapers.slowest_interval(), Some(Duration::from_secs(60)));
        scrapers.shown(scraper(2), 62 * SECOND);
        assert_eq!(scrapers.slowest_interval(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn clients_with_invented_names_do_not_push_out_who_comes_again_and_again() {
        let mut scrapers = Scrapers::default();
        for time in [1, 2] {
            scrapers.shown(scraper(0), time * SECOND);
        }
        for number in 1..=200 {
            scrapers.shown(scraper(number), 3 * SECOND + number as u64);
        }
        assert_eq!((scrapers.known.len(), scrapers.dropped), (MOST, 200 + 1 - MOST as u64));
        assert_eq!(scrapers.last(&scraper(0), 4 * SECOND), Some(2 * SECOND));
        assert_eq!(scrapers.last(&scraper(200), 4 * SECOND), Some(3 * SECOND + 200));
        assert_eq!(scrapers.last(&scraper(1), 4 * SECOND), None);
        // The table shrinks again.
        scrapers.shown(scraper(0), 5 * SECOND + REMEMBERED);
        assert_eq!(scrapers.known.len(), 1);
    }

    #[test]
    fn a_lost_answer_was_not_seen() {
        let mut scrapers = Scrapers::default();
        let last = |scrapers: &Scrapers| scrapers.last(&scraper(1), 0);
        // The very first one is the first one again.
        scrapers.shown(scraper(1), SECOND);
        scrapers.lost(&scraper(1), SECOND);
        assert_eq!(last(&scrapers), None);
        for time in [2, 3] {
            scrapers.shown(scraper(1), time * SECOND);
        }
        // Somebody else has come meanwhile: what is lost is not the last one.
        scrapers.lost(&scraper(1), 2 * SECOND);
        assert_eq!(last(&scrapers), Some(3 * SECOND));
        // Not for ever: a client that ends each connection at once may have got them all.
        let mut time = 3 * SECOND;
        while time < 303 * SECOND {
            time += 10 * SECOND;
            scrapers.shown(scraper(1), time);
            scrapers.lost(&scraper(1), time);
            let expected = if time <= 303 * SECOND { 3 * SECOND } else { time };
            assert_eq!(last(&scrapers), Some(expected), "{time}");
        }
        time += 10 * SECOND;
        scrapers.shown(scraper(1), time);
        scrapers.lost(&scraper(1), time);
        assert_eq!(last(&scrapers), Some(time));
    }

    /// A client's texts are as long as it likes.
    #[test]
    fn long_texts_are_cut() {
        let long = Scraper::new(Ipv4Addr::LOCALHOST.into(), &"é".repeat(100_000), &"q".repeat(100_000));
        assert_eq!((long.agent.chars().count(), long.query.len()), (TEXT, TEXT));
    }
}
