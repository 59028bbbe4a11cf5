//! (a) Nanoseconds for each run of each eBPF program, from the kernel's statistics, beside empty ones on the same hooks.
//!
//! Both run for the same events, in the same windows; each window gives one ratio, and the median of those counts.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
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
use testkit::{Client, Request, Server, nginx, vigie, vigie_with};

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

/// Title, whether every request has another path.
const LOADS: [(&str, bool); 2] = [("the same path", false), ("every path new", true)];

fn load_server() -> Result<Server> {
    nginx(
        &[("small.txt", b"hello\n")],
        "location /api/ { return 200 \"ok\\n\"; }",
        1,
    )
}

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
    let server = load_server()?;
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
    for (title, is_new) in LOADS {
        let windows = under_load(server.address(), is_new, || window(&pairs), context.windows)?;
        row(report, title, &windows);
    }
    drop(statistics);
    drop(watch);
    Ok(())
}

/// A Vigie, and the variables that it is started with.
type Variant<'a> = (&'a Path, &'a [(&'a str, &'a str)]);

/// What the runs of each hook did in one window, with the empty program's: of the first variant, and of the second.
type Both = Vec<[(Run, Run); 2]>;

/// Takes windows in which two Vigies see the same events. The one that comes second finds warm caches, so each comes first in
/// half of the windows: those of either order.
fn together(context: &Context<'_>, variants: [Variant<'_>; 2], is_new: bool) -> Result<[Vec<Both>; 2]> {
    let btf = Btf::from_sys_fs().context("this kernel has no BTF")?;
    let server = load_server()?;
    let mut taken = [Vec::new(), Vec::new()];
    for (first, taken) in taken.iter_mut().enumerate() {
        let (mut pairs, mut watches) = (Vec::new(), Vec::new());
        for (program, environment) in [variants[first], variants[1 - first]] {
            let watch = vigie_with(program, &[], environment)?;
            let mut real = programs(watch.pid())?;
            watches.push(watch);
            for (program, hook) in SOCKET.into_iter().chain([SWITCH]) {
                let (empty, attached) = empty(&btf, program, hook)?;
                pairs.push(Pair {
                    real: real.remove(program).context("a program of Vigie's is gone")?,
                    empty,
                    _attached: attached,
                });
            }
        }
        let statistics = enable_stats(Stats::RunTime).context("the kernel keeps no statistics of programs")?;
        let windows = under_load(server.address(), is_new, || window(&pairs), context.windows.div_ceil(2))?;
        drop(statistics);
        for (runs, _) in windows {
            let (one, other) = runs.split_at(runs.len() / 2);
            let both = one.iter().zip(other);
            taken.push(
                both.map(|(one, other)| if first == 0 { [*one, *other] } else { [*other, *one] })
                    .collect(),
            );
        }
    }
    Ok(taken)
}

/// The mean of both orders' medians.
fn of_orders(windows: &[Vec<Both>; 2], pick: impl Fn(&Both) -> f64) -> f64 {
    windows
        .iter()
        .map(|windows| median(windows.iter().map(&pick)))
        .sum::<f64>()
        / 2.0
}

/// Measures what the phases of requests add to each program: two Vigies see the same events, and one leaves the phases out.
pub fn phases(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let variants: [Variant<'_>; 2] = [(&context.vigie, &[]), (&context.vigie, &[("VIGIE_NO_PHASES", "1")])];
    let windows = together(context, variants, false)?;
    for (i, (_, hook)) in SOCKET.into_iter().chain([SWITCH]).enumerate() {
        let of = |pick: &dyn Fn([(Run, Run); 2]) -> f64| of_orders(&windows, |hooks| pick(hooks[i]));
        let empty = |[with, without]: [(Run, Run); 2]| f64::midpoint(per_run(with.1), per_run(without.1));
        report.phases(
            hook,
            of(&|both| per_run(both[0].0)),
            of(&|both| per_run(both[1].0)),
            of(&empty),
            of(&|both| (per_run(both[0].0) - per_run(both[1].0)) / empty(both)),
        );
    }
    Ok(())
}

/// Measures the programs of another Vigie beside this one's: both see the same events.
pub fn against(context: &Context<'_>, other: &Path, report: &mut Report) -> Result<()> {
    let names = SOCKET.map(|(_, hook)| hook);
    for (title, is_new) in LOADS {
        let windows = together(context, [(&context.vigie, &[]), (other, &[])], is_new)?;
        let mut row = |hook: &str, hooks: std::ops::Range<usize>| {
            let sum = |both: &Both, which: usize| both[hooks.clone()].iter().map(|runs| per_run(runs[which].0)).sum();
            report.against(
                title,
                hook,
                of_orders(&windows, |both| sum(both, 0)),
                of_orders(&windows, |both| sum(both, 1)),
                of_orders(&windows, |both| sum(both, 0) / sum(both, 1)),
            );
        };
        for (i, hook) in names.into_iter().chain([SWITCH.1]).enumerate() {
            row(hook, i..i + 1);
        }
        row("the three socket hooks, a run of each", 0..SOCKET.len());
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
