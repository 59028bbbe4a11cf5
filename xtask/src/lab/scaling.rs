//! What the numbers say about scaling, in words. Every word of it depends on a number of the run.

use super::figures::{Figures, Service};

/// From this share of the host's CPU time on, the CPUs are the limit: the rest is lost to what is not the load's.
const HOST_IS_FULL: f64 = 0.9;
/// From this many CPUs on, a process whose interpreter computes in one thread at a time is at its limit.
const INSTANCE_IS_FULL: f64 = 0.85;
/// A change by less than this is none: two runs of the same differ by as much.
const CHANGE: f64 = 0.1;

/// From this many times the mean of the fastest instance on, the slowest one is told of.
const UNEQUAL: f64 = 1.5;

/// What kept the rate from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The CPUs of the host.
    Host,
    /// An instance, though there were CPUs left.
    Instance,
    /// Neither.
    Other,
}

// === impl Bound ===

impl Bound {
    pub fn of(figures: &Figures) -> Self {
        if figures.host_busy >= HOST_IS_FULL {
            Self::Host
        } else if figures.busiest() >= INSTANCE_IS_FULL {
            Self::Instance
        } else {
            Self::Other
        }
    }
}

/// One line for each number of instances, and what follows from them; from the most instances to the least.
pub fn sentences(all: &[Figures]) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().map(state).collect();
    lines.extend(all.iter().filter_map(balance));
    lines.extend(all.windows(2).filter_map(|pair| match pair {
        [more, fewer] => Some(step(more, fewer)),
        _ => None,
    }));
    if let [most, .., least] = all {
        lines.push(whole(most, least));
    }
    lines
}

fn state(figures: &Figures) -> String {
    let instances = count(figures.instances);
    let (cpus, host, busy) = (figures.cpus(), figures.host_cpus, figures.host_busy * 100.0);
    let waiting = figures.waiting();
    let limit = match Bound::of(figures) {
        Bound::Host => format!("CPU-bound: the host's {host} CPUs were {busy:.0} % busy"),
        Bound::Instance => format!(
            "bound by a single instance: the busiest one used {:.2} CPUs, while the host's {host} were {busy:.0} % busy",
            figures.busiest()
        ),
        Bound::Other => format!("not bound by CPU: the host's {host} CPUs were {busy:.0} % busy"),
    };
    format!(
        "{instances}: {limit}; the store used {cpus:.2} CPUs, and its threads waited {waiting:.2} s per second for one."
    )
}

/// Whether the instances fare alike, where there are several.
fn balance(figures: &Figures) -> Option<String> {
    let mean = |service: &&Service| service.requests.mean.unwrap_or_default();
    let by_mean = |one: &&Service, other: &&Service| mean(one).total_cmp(&mean(other));
    let slowest = figures.services.iter().max_by(by_mean)?;
    let fastest = figures.services.iter().min_by(by_mean)?;
    let times = mean(&slowest) / mean(&fastest);
    (times.is_finite() && times >= UNEQUAL).then(|| {
        format!(
            "{}: not balanced: {} took {times:.1} times as long as {} in the mean, with {:.1} and {:.1} requests/s.",
            count(figures.instances),
            slowest.name,
            fastest.name,
            slowest.requests.rate,
            fastest.requests.rate
        )
    })
}

fn step(more: &Figures, fewer: &Figures) -> String {
    let rate = change(more.balancer.requests.rate, fewer.balancer.requests.rate);
    let p95 = match (more.balancer.requests.p95, fewer.balancer.requests.p95) {
        (Some(before), Some(after)) => change(before, after),
        _ => "is not known".to_owned(),
    };
    format!(
        "From {} to {}: the rate {rate}, p95 {p95}, the wait for a CPU {}.",
        more.instances,
        count(fewer.instances),
        change(more.waiting(), fewer.waiting()),
    )
}

/// What adding instances, from the least to the most, has brought.
fn whole(most: &Figures, least: &Figures) -> String {
    let (high, low) = (most.balancer.requests.rate, least.balancer.requests.rate);
    let ideal = most.instances as f64 / least.instances as f64;
    if low <= 0.0 {
        return "Nothing was answered by the fewest instances: there is nothing to compare.".to_owned();
    }
    let gain = high / low;
    let reason = match (gain > 1.0 + CHANGE, Bound::of(most), Bound::of(least)) {
        (true, Bound::Host, Bound::Instance) => {
            "one instance cannot use the host's CPUs up, and several can: more instances help on this host until its CPUs are full"
        }
        (true, Bound::Host, _) => "the CPUs of this host are the limit now: more instances need another host",
        (true, _, _) => "and there is CPU time left: more instances may help further",
        (false, Bound::Host, _) => {
            "the CPUs of this host are the limit with any number of instances: scaling out needs another host"
        }
        (false, Bound::Instance, _) => "an instance is at its limit while others are not: the load is not balanced",
        (false, Bound::Other, _) => {
            "neither the host nor an instance is out of CPU: look at what the instances share, as their database, or at the load itself"
        }
    };
    format!(
        "{} times the instances gave {gain:.2} times the rate ({:.0} % of linear): {reason}.",
        ideal,
        gain / ideal * 100.0
    )
}

fn count(instances: usize) -> String {
    match instances {
        1 => "1 instance".to_owned(),
        more => format!("{more} instances"),
    }
}

fn change(before: f64, after: f64) -> String {
    if before <= 0.0 {
        return format!("went from 0 to {after:.2}");
    }
    let percent = (after / before - 1.0) * 100.0;
    if percent.abs() < CHANGE * 100.0 {
        format!("did not change ({percent:+.0} %)")
    } else if percent > 0.0 {
        format!("rose by {percent:.0} %")
    } else {
        format!("fell by {:.0} %", -percent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Requests;
    use super::*;

    fn figures(instances: usize, rate: f64, cpus_each: f64, host_busy: f64) -> Figures {
        let service = |name: &str| Service {
            name: name.to_owned(),
            requests: Requests {
                rate,
                p95: Some(10.0 / rate),
                ..Requests::default()
            },
            cpus: cpus_each,
            waiting: 0.5,
        };
        Figures {
            instances,
            seconds: 30,
            client: Requests::default(),
            balancer: service("balancer"),
            services: vec![service("store"); instances],
            host_cpus: 2.0,
            host_busy,
        }
    }

    #[test]
    fn an_instance_that_is_slower_is_named() {
        let mut all = [figures(2, 100.0, 0.4, 0.5), figures(1, 100.0, 0.4, 0.5)];
        assert!(!sentences(&all).iter().any(|line| line.contains("not balanced")));
        for (service, mean) in all[0].services.iter_mut().zip([0.3, 0.1]) {
            service.requests.mean = Some(mean);
        }
        assert_eq!(
            sentences(&all)[2],
            "2 instances: not balanced: store took 3.0 times as long as store in the mean, with 100.0 and 100.0 requests/s."
        );
    }

    #[test]
    fn the_words_follow_the_numbers() {
        let full = sentences(&[figures(3, 150.0, 0.4, 0.97), figures(1, 100.0, 0.95, 0.8)]);
        assert_eq!(
            full[0],
            "3 instances: CPU-bound: the host's 2 CPUs were 97 % busy; the store used 1.20 CPUs, and its threads waited 1.50 s per second for one."
        );
        assert!(
            full[1].starts_with("1 instance: bound by a single instance: the busiest one used 0.95 CPUs"),
            "{}",
            full[1]
        );
        assert_eq!(
            full[2],
            "From 3 to 1 instance: the rate fell by 33 %, p95 rose by 50 %, the wait for a CPU fell by 67 %."
        );
        assert_eq!(
            full[3],
            "3 times the instances gave 1.50 times the rate (50 % of linear): one instance cannot use the host's CPUs up, and several can: more instances help on this host until its CPUs are full."
        );
        let idle = sentences(&[figures(3, 100.0, 0.1, 0.3), figures(1, 98.0, 0.3, 0.3)]);
        assert!(
            idle[0].contains("not bound by CPU") && idle[2].contains("the rate did not change (-2 %)"),
            "{idle:?}"
        );
        assert!(idle[3].contains("look at what the instances share"), "{}", idle[3]);
        let linear = sentences(&[figures(3, 290.0, 0.3, 0.5), figures(1, 100.0, 0.3, 0.2)]);
        assert!(
            linear[3].contains("2.90 times the rate (97 % of linear)") && linear[3].contains("CPU time left"),
            "{}",
            linear[3]
        );
    }
}
