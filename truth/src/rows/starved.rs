//! A server that gets no CPU: most of a request's time is nobody's system call.

use super::{Group, Row, row};
use crate::peer::{OK, get, put};
use crate::raw;
use crate::run::Run;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::env;
use std::hint;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Server, TempDir, free_port, schedule};

pub const GROUP: Group = Group {
    title: "a starved server",
    rows: &[Row {
        // It starts a program.
        is_core: false,
        ..row("40 requests beside busy threads, nice 19", starved)
    }],
};

/// The server and what keeps it from running share this CPU.
const CPU: usize = 0;
/// How many threads of normal priority want it.
const SPINNERS: usize = 16;
const REQUESTS: usize = 40;
/// With a CPU of its own, the server answers all of them within a few milliseconds.
const STARVED: Duration = Duration::from_millis(500);

fn starved(run: &mut Run<'_>) -> Result<()> {
    let port = free_port()?;
    let mut command = Command::new(env::current_exe().context("where is this program?")?);
    command.args(["--serve-starved", &port.to_string()]);
    let server = Server::start(command, TempDir::new()?, port)?;
    server.wait_ready()?;
    run.serve_elsewhere(port);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let spin = || -> Result<()> {
            schedule::pin(CPU)?;
            while !stop.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
            Ok(())
        };
        let spinners: Vec<_> = (0..SPINNERS).map(|_| scope.spawn(spin)).collect();
        let asked = scope.spawn(|| ask(run)).join();
        stop.store(true, Ordering::Relaxed);
        for spinner in spinners {
            let spun = spinner.join().map_err(|_| anyhow!("a busy thread panicked"))?;
            spun.context("a busy thread")?;
        }
        asked.map_err(|_| anyhow!("the client panicked"))?
    })?;
    run.visible_at_once()
}

/// The client comes before all others: it has to read the clock when the answer comes.
fn ask(run: &mut Run<'_>) -> Result<()> {
    raw::come_first()?;
    let mut client = run.connect()?;
    let start = Instant::now();
    for _ in 0..REQUESTS {
        client.send_raw(&get("/starved/server"))?;
        let response = client.read_response("GET")?;
        run.client_saw("/starved/server", "GET", &response);
    }
    let time = start.elapsed();
    ensure!(
        time > STARVED,
        "{REQUESTS} requests took {time:?}: the server was not starved"
    );
    run.keep(client);
    Ok(())
}

/// The server of this row: this program again, as a process of its own, whose priority is its own.
pub fn serve(port: u16) -> Result<()> {
    schedule::pin(CPU)?;
    raw::be_nice()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || answer(&stream));
    }
    Ok(())
}

/// Answers until the client has closed; what ends the connection otherwise, the client sees.
fn answer(mut stream: &TcpStream) -> Result<()> {
    let request = get("/starved/server").len();
    let mut buffer = vec![0; request];
    loop {
        stream.read_exact(&mut buffer)?;
        put(stream, OK)?;
    }
}
