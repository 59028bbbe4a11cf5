//! (a) Nanoseconds for each run of each eBPF program, from the kernel's statistics, beside empty ones on the same hooks.
//!
//! Both run for the same events, in the same windows; each window gives one ratio, and the median of those counts.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    Btf,
    programs::{ProgramFd, loaded_programs},
    sys::{Stats, enable_stats},
};
use testkit::{Client, Request, nginx, vigie, vigie_with};

use super::{
    Context,
    empty::{Empty, attach},
    report::{Report, median},
};

const WINDOW: Duration = Duration::from_millis(250);

/// Program, hook.
const SOCKET: [(&str, &str); 3] = [
    ("vigie_ready", "sk_data_ready"),
    ("vigie_receive", "sock_recv_length"),
    ("vigie_send", "sock_send_length"),
];
const SWITCH: (&str, &str) = ("vigie_switch", "sched_switch");

/// Time and runs of one program so far.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    nanoseconds: u64,
    count: u64,
}

fn read(program: &ProgramFd) -> Result<Run> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd()))?;
    let number = |name: &str| -> Result<u64> {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .with_context(|| format!("no {name} for a program"))?;
        Ok(value.trim().parse()?)
    };
    Ok(Run {
        nanoseconds: number("run_time_ns:")?,
        count: number("run_cnt:")?,
    })
}

/// The programs of a Vigie, by name: those whose descriptors its process holds.
fn programs(process: u32) -> Result<HashMap<String, ProgramFd>> {
    let mut ids = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
    }
    let mut found = HashMap::new();
    for program in loaded_programs() {
        let program = program?;
        if ids.contains(&program.id()) {
            found.insert(program.name_as_str().unwrap_or_default().to_owned(), program.fd()?);
        }
    }
    Ok(found)
}

/// Attaches an empty program to a hook.
fn empty(btf: &Btf, program: &str, hook: &str) -> Result<(ProgramFd, Empty)> {
    let attached = attach(btf, hook, program.trim_start_matches("vigie_"))?;
    let program = loaded_programs()
        .flatten()
        .find(|program| program.id() == attached.id)
        .context("an empty program is gone")?
        .fd()?;
    Ok((program, attached))
}

/// One program's pair of runs, of the real and of the empty one.
struct Pair {
    real: ProgramFd,
    empty: ProgramFd,
    _attached: Empty,
}

/// Measures the three socket programs and the switch program.
pub fn measure(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let btf = Btf::from_sys_fs().context("this kernel has no BTF")?;
    let server = nginx(
        &[("small.txt", b"hello\n")],
        "location /api/ { return 200 \"ok\\n\"; }",
        1,
    )?;
    let watch = vigie(&context.vigie, &[])?;
    let mut real = programs(watch.pid())?;
    let mut pairs = Vec::new();
    for (program, hook) in SOCKET.into_iter().chain([SWITCH]) {
        let (empty, attached) = empty(&btf, program, hook)?;
        pairs.push(Pair {
            real: real.remove(program).context("a program of Vigie's is gone")?,
            empty,
            _attached: attached,
        });
    }
    let statistics = enable_stats(Stats::RunTime).context("the kernel keeps no statistics of programs")?;
    for (title, is_new) in [("the same path", false), ("every path new", true)] {
        let windows = under_load(server.address(), is_new, || window(&pairs), context.windows)?;
        row(report, title, &windows);
    }
    drop(statistics);
    drop(watch);
    Ok(())
}

/// Measures what the phases of requests add to each program: two Vigies see the same events, and one leaves the phases out. The
/// one that comes second finds warm caches, so each comes first in half of the windows.
pub fn phases(context: &Context<'_>, report: &mut Report) -> Result<()> {
    const WITH: &[(&str, &str)] = &[];
    const WITHOUT: &[(&str, &str)] = &[("VIGIE_NO_PHASES", "1")];
    let btf = Btf::from_sys_fs().context("this kernel has no BTF")?;
    let server = nginx(&[("small.txt", b"hello\n")], "", 1)?;
    let hooks = SOCKET.into_iter().chain([SWITCH]);
    let mut windows = Vec::new();
    for (order, with) in [([WITH, WITHOUT], 0), ([WITHOUT, WITH], SOCKET.len() + 1)] {
        let (mut pairs, mut watches) = (Vec::new(), Vec::new());
        for environment in order {
            let watch = vigie_with(&context.vigie, &[], environment)?;
            let mut real = programs(watch.pid())?;
            watches.push(watch);
            for (program, hook) in hooks.clone() {
                let (empty, attached) = empty(&btf, program, hook)?;
                pairs.push(Pair {
                    real: real.remove(program).context("a program of Vigie's is gone")?,
                    empty,
                    _attached: attached,
                });
            }
        }
        let statistics = enable_stats(Stats::RunTime).context("the kernel keeps no statistics of programs")?;
        let taken = under_load(server.address(), false, || window(&pairs), context.windows.div_ceil(2))?;
        drop(statistics);
        windows.push(
            taken
                .into_iter()
                .map(|(mut runs, _)| {
                    runs.rotate_left(with);
                    runs
                })
                .collect::<Vec<_>>(),
        );
    }
    for (i, (_, hook)) in hooks.enumerate() {
        // The mean of both orders' medians.
        let of = |pick: &dyn Fn((Run, Run), (Run, Run)) -> f64| {
            let medians = windows
                .iter()
                .map(|windows| median(windows.iter().map(|runs| pick(runs[i], runs[i + SOCKET.len() + 1]))));
            medians.sum::<f64>() / windows.len() as f64
        };
        report.phases(
            hook,
            of(&|with, _| per_run(with.0)),
            of(&|_, without| per_run(without.0)),
            of(&|with, without| f64::midpoint(per_run(with.1), per_run(without.1))),
            of(&|with, without| {
                (per_run(with.0) - per_run(without.0)) / f64::midpoint(per_run(with.1), per_run(without.1))
            }),
        );
    }
    Ok(())
}

/// What each pair did in one window, and how many requests there were.
type Window = (Vec<(Run, Run)>, u64);

fn window(pairs: &[Pair]) -> Result<Vec<(Run, Run)>> {
    let now = || -> Result<Vec<(Run, Run)>> {
        pairs
            .iter()
            .map(|pair| Ok((read(&pair.real)?, read(&pair.empty)?)))
            .collect()
    };
    let before = now()?;
    thread::sleep(WINDOW);
    let after = now()?;
    let difference = |a: Run, b: Run| Run {
        nanoseconds: b.nanoseconds - a.nanoseconds,
        count: b.count - a.count,
    };
    Ok(before
        .into_iter()
        .zip(after)
        .map(|(a, b)| (difference(a.0, b.0), difference(a.1, b.1)))
        .collect())
}

/// Takes windows while two clients send one request after the other.
fn under_load(
    address: std::net::SocketAddr,
    is_new: bool,
    take: impl Fn() -> Result<Vec<(Run, Run)>>,
    count: usize,
) -> Result<Vec<Window>> {
    let (stop, next, done) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| -> Result<()> {
                let mut client = Client::connect(address)?;
                while !stop.load(Ordering::Relaxed) {
                    let path = if is_new {
                        format!("/api/produits/{}", next.fetch_add(1, Ordering::Relaxed))
                    } else {
                        "/small.txt".to_owned()
                    };
                    client.send(&Request::get(path))?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        thread::sleep(WINDOW);
        let windows = (0..count)
            .map(|_| {
                let before = done.load(Ordering::Relaxed);
                Ok((take()?, done.load(Ordering::Relaxed) - before))
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        windows
    })
}

fn per_run(run: Run) -> f64 {
    run.nanoseconds as f64 / run.count.max(1) as f64
}

fn row(report: &mut Report, title: &str, windows: &[Window]) {
    let names = SOCKET.map(|(_, hook)| hook);
    for (i, hook) in names.into_iter().chain([SWITCH.1]).enumerate() {
        let real = median(windows.iter().map(|(pairs, _)| per_run(pairs[i].0)));
        let empty = median(windows.iter().map(|(pairs, _)| per_run(pairs[i].1)));
        let ratio = median(
            windows
                .iter()
                .map(|(pairs, _)| per_run(pairs[i].0) / per_run(pairs[i].1)),
        );
        report.program(title, hook, real, empty, ratio);
    }
    let sum =
        |pairs: &[(Run, Run)], of: fn(&(Run, Run)) -> Run| pairs[..3].iter().map(|pair| per_run(of(pair))).sum::<f64>();
    let total = |pairs: &[(Run, Run)], of: fn(&(Run, Run)) -> Run| {
        pairs[..3].iter().map(|pair| of(pair).nanoseconds).sum::<u64>() as f64
    };
    let real = median(windows.iter().map(|(pairs, _)| sum(pairs, |pair| pair.0)));
    let empty = median(windows.iter().map(|(pairs, _)| sum(pairs, |pair| pair.1)));
    let ratio = median(
        windows
            .iter()
            .map(|(pairs, _)| sum(pairs, |pair| pair.0) / sum(pairs, |pair| pair.1)),
    );
    report.program(title, "the three socket hooks, a run of each", real, empty, ratio);
    let each = |requests: u64| requests.max(1) as f64;
    let real = median(
        windows
            .iter()
            .map(|(pairs, requests)| total(pairs, |pair| pair.0) / each(*requests)),
    );
    let empty = median(
        windows
            .iter()
            .map(|(pairs, requests)| total(pairs, |pair| pair.1) / each(*requests)),
    );
    let ratio = median(
        windows
            .iter()
            .map(|(pairs, _)| total(pairs, |pair| pair.0) / total(pairs, |pair| pair.1)),
    );
    report.program(
        title,
        "the three socket hooks, a request with its client",
        real,
        empty,
        ratio,
    );
}
