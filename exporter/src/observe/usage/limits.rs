//! What a service may use at the most, when its processes are in several cgroups, each in others, and any of them may have a
//! limit.

use std::path::Path;

/// The limit of a service. `chains`: the cgroups of each of its processes, the innermost first; `of`: a cgroup's own limit.
///
/// A process is held by the tightest cgroup around it. Different ones add up, but not beyond what a cgroup around all of
/// them allows. If one process has no limit, the service has none.
pub fn limit<'a>(chains: &[&'a [std::path::PathBuf]], mut of: impl FnMut(&'a Path) -> Option<f64>) -> Option<f64> {
    let mut tightest: Vec<(&Path, f64)> = Vec::new();
    let mut around_all: Option<f64> = None;
    for (number, chain) in chains.iter().enumerate() {
        let mut nearest: Option<(&Path, f64)> = None;
        for cgroup in *chain {
            let Some(limit) = of(cgroup) else {
                continue;
            };
            if nearest.is_none_or(|(_, other)| limit < other) {
                nearest = Some((cgroup, limit));
            }
            if number == 0 && chains.iter().all(|other| other.contains(cgroup)) {
                around_all = Some(around_all.map_or(limit, |other: f64| other.min(limit)));
            }
        }
        let nearest = nearest?;
        if !tightest.iter().any(|(cgroup, _)| *cgroup == nearest.0) {
            tightest.push(nearest);
        }
    }
    if tightest.is_empty() {
        return None;
    }
    let sum = tightest.iter().map(|(_, limit)| limit).sum::<f64>();
    Some(around_all.map_or(sum, |limit| limit.min(sum)))
}

/// The limit of `cpu.max` (version 2) in cores: quota and period in microseconds, or no quota.
pub fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    let quota: f64 = fields.next()?.parse().ok()?;
    let period: f64 = fields.next()?.parse().ok()?;
    (period > 0.0).then(|| quota / period)
}

/// The limit of `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1) in cores; a quota of -1 is none.
pub fn cpu_quota(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The limit of `memory.max` (version 2) or `memory.limit_in_bytes` (version 1), where the largest number of pages is none.
pub fn parse_memory(text: &str) -> Option<f64> {
    const NONE: u64 = i64::MAX as u64 - 65_535;
    let limit: u64 = text.trim().parse().ok()?;
    (limit < NONE).then_some(limit as f64)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn files_are_understood() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(cpu_quota("-1\n", "100000\n"), None);
        assert_eq!(cpu_quota("20000\n", "100000\n"), Some(0.2));
        assert_eq!(parse_memory("max\n"), None);
        assert_eq!(parse_memory("9223372036854771712\n"), None);
        assert_eq!(parse_memory("9223372036854710272\n"), None);
        assert_eq!(parse_memory("1073741824\n"), Some(1_073_741_824.0));
    }

    fn chain(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn limits_add_up_under_what_is_around_them() {
        let (one, two) = (chain(&["/s/a", "/s", "/"]), chain(&["/s/b", "/s", "/"]));
        let other = chain(&["/t", "/"]);
        let of = |limits: &[(&str, f64)], chains: &[&[PathBuf]]| {
            let find = |path: &Path| {
                limits
                    .iter()
                    .find(|(name, _)| Path::new(name) == path)
                    .map(|(_, limit)| *limit)
            };
            limit(chains, find)
        };
        // Its own, or that of one above it.
        assert_eq!(of(&[("/s/a", 2.0)], &[&one]), Some(2.0));
        assert_eq!(of(&[("/s", 1.0)], &[&one]), Some(1.0));
        assert_eq!(of(&[("/s/a", 2.0), ("/s", 1.0)], &[&one]), Some(1.0));
        // Two processes in one are held once, two in two add up, if what is around them lets them.
        assert_eq!(of(&[("/s/a", 2.0)], &[&one, &one]), Some(2.0));
        assert_eq!(of(&[("/s/a", 2.0), ("/s/b", 1.0)], &[&one, &two]), Some(3.0));
        assert_eq!(
            of(&[("/s/a", 2.0), ("/s/b", 1.0), ("/s", 2.5)], &[&one, &two]),
            Some(2.5)
        );
        // One that is free makes the service free.
        assert_eq!(of(&[("/s/a", 2.0)], &[&one, &other]), None);
        assert_eq!(of(&[], &[]), None);
    }
}
