//! What was done in a time: the requests of a route, of a service, or of all.

use std::collections::BTreeMap;

use super::{
    histogram::Histogram,
    phase::{self, RUNQUEUE, Seconds},
};

/// A route of a service: what a row shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The service's name.
    pub service: String,
    /// The template, `none`, or `other`.
    pub handler: String,
    /// The method.
    pub method: String,
    /// The port, or `unix`.
    pub port: String,
}

/// The answers of one status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// How many.
    pub count: f64,
    /// Their durations in seconds. Empty for handlers that are long-lived.
    pub durations: Histogram,
}

/// Requests, and where their time went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Answers by status.
    pub statuses: BTreeMap<u16, Answers>,
    /// Requests that got none.
    pub aborted: f64,
    /// Seconds by phase; `None` if Vigie does not say.
    pub phases: Option<Seconds>,
    /// Time in the `queue` phase, by request.
    pub queue: Histogram,
    /// Time in the `runqueue` phase, by request.
    pub runqueue: Histogram,
}

// === impl Work ===

impl Work {
    /// The answers of a status.
    pub fn answers(&mut self, status: u16) -> &mut Answers {
        self.statuses.entry(status).or_default()
    }

    /// Requests that were answered.
    pub fn answered(&self) -> f64 {
        self.statuses
            .values()
            .map(|answers| answers.count)
            .fold(0.0, |a, b| a + b)
    }

    /// All requests that ended, aborted ones too.
    pub fn requests(&self) -> f64 {
        self.answered() + self.aborted
    }

    /// Answers of a class: 4 for 4xx.
    pub fn class(&self, class: u16) -> f64 {
        let of_class = self.statuses.iter().filter(|(status, _)| **status / 100 == class);
        of_class.map(|(_, answers)| answers.count).fold(0.0, |a, b| a + b)
    }

    /// Answers 4xx and 5xx, and aborted requests.
    pub fn errors(&self) -> f64 {
        self.class(4) + self.class(5) + self.aborted
    }

    /// The share of errors; `None` without requests.
    pub fn error_share(&self) -> Option<f64> {
        (self.requests() > 0.0).then(|| self.errors() / self.requests())
    }

    /// The durations of all answers.
    pub fn durations(&self) -> Histogram {
        let mut sum = Histogram::default();
        for answers in self.statuses.values() {
            sum.add(&answers.durations);
        }
        sum
    }

    /// Seconds that requests waited for a CPU.
    pub fn waited(&self) -> Option<f64> {
        self.phases.map(|seconds| seconds[RUNQUEUE])
    }

    /// Adds seconds to a phase; one that nobody knows is `unattributed`.
    pub fn add_phase(&mut self, name: &str, seconds: f64) {
        let place = phase::place(name).unwrap_or(phase::PHASES.len() - 1);
        self.phases.get_or_insert_default()[place] += seconds;
    }

    /// Adds other requests.
    pub fn add(&mut self, other: &Self) {
        let Self {
            statuses,
            aborted,
            phases,
            queue,
            runqueue,
        } = other;
        for (status, Answers { count, durations }) in statuses {
            let answers = self.answers(*status);
            answers.count += count;
            answers.durations.add(durations);
        }
        self.aborted += aborted;
        if let Some(seconds) = phases {
            let sum = self.phases.get_or_insert_default();
            for (sum, part) in sum.iter_mut().zip(seconds) {
                *sum += part;
            }
        }
        self.queue.add(queue);
        self.runqueue.add(runqueue);
    }

    /// The sum of several.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for part in parts {
            sum.add(part);
        }
        sum
    }
}
