//! What `cargo xtask vm` shows.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use anyhow::{Result, bail};

use super::{Outcome, kernels::Kernel, machine::Ended};
use testkit::table::Table;

pub fn kernel(kernel: &Kernel) {
    println!("\n--- Linux {} ({})", kernel.version, kernel.wanted);
}

/// A line of a machine's.
pub fn line(line: &str) {
    if !line.is_empty() {
        println!("    {line}");
    }
}

/// A line of `vigie doctor` about a probe.
#[derive(Debug, PartialEq, Eq)]
struct Probe<'a> {
    name: &'a str,
    hook: &'a str,
    instructions: &'a str,
    seconds: &'a str,
}

/// `ok    probe NAME    HOOK (verified N instructions in S s)`, or `FAIL  probe NAME    REASON`.
fn probe(line: &str) -> Option<Probe<'_>> {
    let (state, rest) = line.split_once(' ')?;
    let (name, found) = rest.trim_start().strip_prefix("probe ")?.split_once(' ')?;
    let found = found.trim_start();
    if state != "ok" {
        return Some(Probe {
            name,
            hook: "REFUSED",
            instructions: "-",
            seconds: "-",
        });
    }
    let (hook, effort) = found.split_once(" (verified ").unwrap_or((found, ""));
    let (instructions, seconds) = effort.split_once(" instructions in ").unwrap_or(("-", "-"));
    Some(Probe {
        name,
        hook,
        instructions,
        seconds: seconds.trim_end_matches(" s)"),
    })
}

/// What the verifier did, by kernel and probe; and what each program came to.
pub fn tables(outcomes: &[Outcome]) {
    let mut verified = Table::new(4, ["kernel", "run", "probe", "hook", "instructions", "s"]);
    let mut programs = Table::new(4, ["kernel", "run", "result", "says", "s"]);
    for Outcome {
        kernel: _,
        version,
        time,
        ended,
    } in outcomes
    {
        for ended in ended {
            for probe in ended.output.iter().filter_map(|line| probe(line)) {
                verified.add(
                    [
                        version,
                        &ended.name,
                        probe.name,
                        probe.hook,
                        probe.instructions,
                        probe.seconds,
                    ]
                    .map(str::to_owned),
                );
            }
            programs.add([
                version.clone(),
                ended.name.clone(),
                result(ended),
                ended
                    .output
                    .iter()
                    .rfind(|line| !line.is_empty())
                    .cloned()
                    .unwrap_or_default(),
                format!("{:.1}", ended.time.as_secs_f64()),
            ]);
        }
        programs.add([
            version.clone(),
            "all".to_owned(),
            String::new(),
            "with the boot".to_owned(),
            format!("{:.1}", time.as_secs_f64()),
        ]);
    }
    println!("\n{}\n{}", verified.render(), programs.render());
}

/// Whether a program has found all that this kernel can have. `vigie doctor` ends with 2 where a part is missing: on functions, which are
/// TCP's, unix sockets are.
fn has_passed(ended: &Ended) -> bool {
    let lines = || ended.output.iter().map(String::as_str);
    let is_on_functions = lines()
        .filter_map(probe)
        .any(|probe| probe.hook.ends_with("tcp_recvmsg"));
    let mut failed = lines().filter(|line| line.starts_with("FAIL "));
    let unix_alone = failed.next().is_some_and(|line| line.contains(" unix sockets ")) && failed.next().is_none();
    match ended.code {
        0 => true,
        2 => ended.name.starts_with("doctor") && is_on_functions && unix_alone,
        _ => false,
    }
}

fn result(ended: &Ended) -> String {
    match ended.code {
        0 => "ok".to_owned(),
        2 if has_passed(ended) => "ok, but for unix sockets".to_owned(),
        137 => "TIMEOUT".to_owned(),
        code => format!("FAILED ({code})"),
    }
}

/// An error if anything has failed anywhere.
pub fn verdict(outcomes: &[Outcome]) -> Result<()> {
    let failed = outcomes.iter().flat_map(|outcome| {
        let ended = outcome.ended.iter().filter(|ended| !has_passed(ended));
        ended.map(|ended| format!("{} on {}", ended.name, outcome.kernel))
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_found_in_what_doctor_says() {
        let found = probe(
            "ok    probe receive             return of function tcp_recvmsg (verified 847062 instructions in 2.852 s)",
        );
        let expected = Probe {
            name: "receive",
            hook: "return of function tcp_recvmsg",
            instructions: "847062",
            seconds: "2.852",
        };
        assert_eq!(found, Some(expected));
        let found = probe("ok    probe tasks               iterator task").unwrap();
        assert_eq!((found.hook, found.instructions), ("iterator task", "-"));
        let found =
            probe("FAIL  probe send                sock_send_length: not in this kernel; without it, …").unwrap();
        assert_eq!((found.name, found.hook), ("send", "REFUSED"));
        assert_eq!(probe("ok    kernel                    6.1.0 x86_64"), None);
        assert_eq!(probe(""), None);
    }

    #[test]
    fn a_part_may_be_missing_where_the_kernel_has_none() {
        const FUNCTION: &str =
            "ok    probe receive             return of function tcp_recvmsg (verified 847062 instructions in 2.852 s)";
        const TRACEPOINT: &str =
            "ok    probe receive             tracepoint sock_recv_length (verified 847062 instructions in 2.852 s)";
        const UNIX: &str = "FAIL  unix sockets              no: without it, requests over unix sockets are not seen";
        const OTHER: &str = "FAIL  probe tasks               no: without it, vigie_host_runqueue_length is missing";
        for (name, code, output, expected) in [
            ("doctor", 0, &[FUNCTION][..], true),
            ("doctor", 2, &[FUNCTION, UNIX], true),
            ("doctor-functions", 2, &[UNIX, FUNCTION], true),
            ("doctor", 2, &[TRACEPOINT, UNIX], false),
            ("doctor", 2, &[FUNCTION, UNIX, OTHER], false),
            ("doctor", 2, &[FUNCTION, OTHER], false),
            ("doctor", 1, &[FUNCTION, UNIX], false),
            ("requests", 2, &[FUNCTION, UNIX], false),
        ] {
            let ended = Ended {
                name: name.to_owned(),
                code,
                time: std::time::Duration::ZERO,
                output: output.iter().map(|line| (*line).to_owned()).collect(),
            };
            assert_eq!(has_passed(&ended), expected, "{name} {code} {output:?}");
        }
    }

    #[test]
    fn one_failure_fails_all() {
        let outcome = |code| Outcome {
            kernel: "6.1".to_owned(),
            version: "6.1.1".to_owned(),
            time: std::time::Duration::ZERO,
            ended: vec![Ended {
                name: "doctor".to_owned(),
                code,
                time: std::time::Duration::ZERO,
                output: Vec::new(),
            }],
        };
        assert!(verdict(&[outcome(0)]).is_ok());
        let error = verdict(&[outcome(0), outcome(1)]).unwrap_err().to_string();
        assert_eq!(error, "failed: doctor on 6.1");
    }
}
