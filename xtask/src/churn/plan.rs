//! How much of everything, and how long.

use std::time::Duration;

/// How often a process of an exec storm becomes another program.
pub const STORM: u64 = 1000;

/// What happens in a part of the run. All numbers are of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Processes that run `true`, or a thread, and end.
    pub processes: u64,
    /// Processes that listen, never answer, and end; every other one in a container of its own.
    pub listeners: u64,
    /// Containers that answer one request or two, and are replaced.
    pub containers: u64,
    /// How often a process becomes another program.
    pub execs: u64,
    /// Process ids that return as another service's.
    pub returns: u64,
    /// Requests with paths and methods that nobody has.
    pub invented: u64,
}

/// A whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub round: Round,
    pub rounds: u64,
    /// How long a round takes at the least.
    pub pace: Duration,
    /// How long Vigie keeps the series of what has ended.
    pub retention: Duration,
    /// Between two scrapes of Prometheus, and two evaluations, in seconds.
    pub interval: u64,
    /// Whether the rules are as they are, or a copy with shorter times.
    pub real_rules: bool,
    /// How long after the kill the alert has to fire.
    pub alert_within: Duration,
}

// === impl Plan ===

impl Plan {
    /// A month.
    pub const FULL: Self = Self {
        round: Round {
            processes: 1000,
            listeners: 100,
            containers: 50,
            execs: STORM,
            returns: 5,
            invented: 500,
        },
        rounds: 20,
        pace: Duration::from_secs(25),
        retention: Duration::from_secs(90),
        interval: 5,
        real_rules: true,
        alert_within: Duration::from_secs(120),
    };

    /// A tenth of it, as part of all tests.
    pub const SHORT: Self = Self {
        round: Round {
            processes: 500,
            listeners: 50,
            containers: 25,
            execs: STORM / 4,
            returns: 2,
            invented: 250,
        },
        rounds: 4,
        pace: Duration::from_secs(8),
        retention: Duration::from_secs(20),
        // A scrape may take as long as the time to the next: with 1 s, a busy machine has VigieDown fire.
        interval: 2,
        real_rules: false,
        alert_within: Duration::from_secs(30),
    };

    /// A little of everything, so that what a first time leaves behind is there before anything is measured.
    pub const FIRST: Round = Round {
        processes: 8,
        listeners: 1,
        containers: 10,
        execs: 2,
        returns: 1,
        invented: 40,
    };

    /// The rounds after which there is a deployment.
    pub fn deployments(&self) -> [u64; 2] {
        [self.rounds / 4, self.rounds / 2]
    }

    /// The round after which a service is killed.
    pub fn kill(&self) -> u64 {
        self.rounds / 4
    }

    /// All rounds together.
    pub fn total(&self, number: fn(&Round) -> u64) -> u64 {
        number(&self.round) * self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_what_is_promised_and_the_short_one_a_tenth() {
        let totals = |plan: Plan| {
            [
                plan.total(|round| round.processes),
                plan.total(|round| round.listeners),
                plan.total(|round| round.containers),
                plan.total(|round| round.invented),
            ]
        };
        assert_eq!(totals(Plan::FULL), [20_000, 2000, 1000, 10_000]);
        assert_eq!(totals(Plan::SHORT), totals(Plan::FULL).map(|total| total / 10));
        assert_eq!(Plan::FULL.total(|round| round.execs) / STORM, 20);
        for plan in [Plan::FULL, Plan::SHORT] {
            assert!(plan.deployments().iter().all(|round| *round < plan.rounds));
            let after_kill = plan.pace * (plan.rounds - plan.kill() - 1) as u32 + plan.retention;
            assert!(after_kill > plan.alert_within, "{after_kill:?}");
        }
    }
}
