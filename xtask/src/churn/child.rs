//! What the processes of the churn do. They are this program itself, under other names.
//!
//! A child starts in less than a millisecond: it looks at its arguments before the commands of `cargo xtask` are parsed.

use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::{env, thread};
use testkit::socket;

/// The first argument of a child.
pub const CHILD: &str = "churn-child";
/// Ends a child's life of its own: what follows is the program that it becomes.
pub const THEN: &str = "--";
/// The answer to every request.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
/// A longer head is none that a test sends.
const HEAD_LIMIT: usize = 16 * 1024;

/// Does what a child has to, if this process is one.
pub fn take_over() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    (arguments.next()? == CHILD).then(|| {
        let arguments: Vec<String> = arguments.collect();
        match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{CHILD}: {error:#}");
                ExitCode::FAILURE
            }
        }
    })
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["worker"] => work(),
        ["listen"] => listen(),
        ["exec", times, other] => exec(times.parse().context("how often")?, other),
        ["enter", rest @ ..] => enter(rest),
        ["serve", port] => {
            end_with_parent()?;
            serve(&TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?)
        }
        ["serve-when-told", port] => {
            end_with_parent()?;
            io::stdin().read_exact(&mut [0]).context("nobody tells")?;
            serve(&TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?)
        }
        ["share", port] => {
            end_with_parent()?;
            serve(&socket::shared_listener(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                port.parse()?,
            )))?)
        }
        _ => bail!("unknown arguments {arguments:?}"),
    }
}

/// The kernel ends it when the thread that started it does: nothing outlives the churn.
fn end_with_parent() -> Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one number.
    let code = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    ensure!(code == 0, "prctl: {}", io::Error::last_os_error());
    // SAFETY: getppid has no preconditions.
    ensure!(unsafe { libc::getppid() } != 1, "the parent has ended");
    Ok(())
}

/// A short-lived worker with a thread.
fn work() -> Result<()> {
    let thread = thread::spawn(|| (0..1000_u64).fold(0, u64::wrapping_add));
    thread
        .join()
        .map(drop)
        .map_err(|_| anyhow::anyhow!("its thread panicked"))
}

/// Listens and never answers.
fn listen() -> Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(())
}

/// Becomes the other program, which becomes this one again, and so on.
fn exec(times: u64, other: &str) -> Result<()> {
    let Some(left) = times.checked_sub(1) else {
        return Ok(());
    };
    let own = env::args_os().next().context("no name")?;
    Err(become_program(
        OsStr::new(other),
        [
            OsStr::new(CHILD),
            OsStr::new("exec"),
            OsStr::new(&left.to_string()),
            &own,
        ],
    ))
}

/// Moves itself into cgroups, as a container runtime does, and becomes the container's program.
fn enter(arguments: &[&str]) -> Result<()> {
    let then = arguments.iter().position(|argument| *argument == THEN);
    let (cgroups, rest) = arguments.split_at(then.context("no program")?);
    for cgroup in cgroups {
        let file = format!("{cgroup}/cgroup.procs");
        fs::write(&file, "0").with_context(|| format!("cannot move into {cgroup}"))?;
    }
    let [_, program, rest @ ..] = rest else {
        bail!("no program");
    };
    Err(become_program(OsStr::new(program), rest.iter().map(OsStr::new)))
}

/// Only returns if that fails.
fn become_program<'a>(program: &OsStr, arguments: impl IntoIterator<Item = &'a OsStr>) -> anyhow::Error {
    let error = Command::new(program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot become {}", program.display()))
}

/// Says that it listens, and answers one connection after the other until it is told to end.
fn serve(listener: &TcpListener) -> Result<()> {
    let end: extern "C" fn(libc::c_int) = end_in_order;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler only calls _exit, which is async-signal-safe.
        unsafe { libc::signal(signal, end as libc::sighandler_t) };
    }
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    for stream in listener.incoming() {
        // A client that goes away is no failure of the server.
        let _ = answer_all(stream?);
    }
    Ok(())
}

/// A server that is told to end has not failed.
extern "C" fn end_in_order(_signal: libc::c_int) {
    // SAFETY: _exit does not return, and reads no memory.
    unsafe { libc::_exit(0) }
}

/// Answers the requests of a connection: heads without bodies, one at a time.
fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
        if head.len() > HEAD_LIMIT {
            return Err(io::Error::other("a head without an end"));
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(ANSWER)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Client, Request};

    #[test]
    fn unknown_arguments_are_refused() {
        assert!(run(&["dance"]).is_err());
        assert!(run(&["enter", "/sys/fs/cgroup"]).is_err());
        assert!(run(&["enter", "/no/such/cgroup", THEN, "true"]).is_err());
        run(&["worker"]).unwrap();
        run(&["listen"]).unwrap();
        run(&["exec", "0", "/no/such/program"]).unwrap();
        assert!(run(&["exec", "1", "/no/such/program"]).is_err());
    }

    #[test]
    fn every_request_of_a_connection_is_answered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || answer_all(listener.accept().unwrap().0));
        let mut client = Client::connect(address).unwrap();
        for _ in 0..3 {
            let response = client.send(&Request::get("/churn")).unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, "ok\n"));
        }
        drop(client);
        server.join().unwrap().unwrap();
    }
}
