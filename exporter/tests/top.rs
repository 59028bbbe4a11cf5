//! `vigie top`, in a real terminal and without one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{binary, vigie};
use testkit::{Request, Server, Shot, TempDir, closed_loop, nginx};

const LOCATIONS: &str = r#"
location = /basket { return 200 "basket\n"; }
location = /search { return 200 "search\n"; }
location = /broken { return 500 "broken\n"; }
"#;

/// A terminal of tmux, with a server of its own.
struct Terminal {
    socket: String,
    _directory: TempDir,
}

impl Terminal {
    /// Runs a line of shell in a terminal of this size.
    fn open(width: u16, height: u16, line: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("tmux").to_str().unwrap().to_owned();
        let terminal = Self {
            socket,
            _directory: directory,
        };
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, line]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S", &self.socket])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn lines(&self) -> Vec<String> {
        self.tmux(&["capture-pane", "-p"]).lines().map(str::to_owned).collect()
    }

    /// The screen, as soon as it fits.
    fn wait(&self, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let lines = self.lines();
            if fits(&lines) {
                return lines;
            }
            assert!(Instant::now() < end, "{what}:\n{}", lines.join("\n"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for(&self, text: &str) -> Vec<String> {
        self.wait(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// The process that the shell waits for.
    fn child(&self) -> i32 {
        let shell = self.tmux(&["list-panes", "-F", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.trim().parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// The service `shop`, and the config that calls it so.
fn shop(directory: &TempDir) -> (Server, PathBuf) {
    let server = nginx(&[], LOCATIONS, 1).unwrap();
    // The worker is there, not only the process that listens.
    assert_eq!(
        server.connect().unwrap().send(&Request::get("/basket")).unwrap().status,
        200
    );
    let config = format!("services: [{{name: shop, port: {}}}]", server.port());
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    (server, file)
}

/// Sends 400 requests for baskets, 150 searches, and 50 that fail.
fn load(server: &Server) {
    let records = closed_loop(server.address(), 2, 300, true, |_, index| {
        let handler = match index {
            0..200 => "/basket",
            200..275 => "/search",
            _ => "/broken",
        };
        Shot {
            handler,
            request: Request::get(handler),
            expected: Some(if handler == "/broken" { 500 } else { 200 }),
        }
    })
    .unwrap();
    assert!(records.list.iter().all(|record| Some(record.status) == record.expected));
}

fn top(arguments: &[&str]) -> String {
    format!("{} top {}", binary().display(), arguments.join(" "))
}

/// The words of the row that begins with these.
fn row(lines: &[String], begin: &str) -> Vec<String> {
    let line = lines.iter().find(|line| line.trim_start().starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no row {begin}:\n{}", lines.join("\n")));
    line.trim_start()[begin.len()..]
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn place(lines: &[String], text: &str) -> usize {
    let place = lines.iter().position(|line| line.contains(text));
    place.unwrap_or_else(|| panic!("no {text}:\n{}", lines.join("\n")))
}

#[test]
fn a_terminal() {
    let directory = TempDir::new().unwrap();
    let (server, config) = shop(&directory);
    let vigie = vigie(&["--config.file", config.to_str().unwrap()]);
    let url = format!("http://{}/metrics", vigie.server.address());
    let line = format!(
        "{}; echo \"ended $?\"; exec sleep 1000",
        top(&["--url", &url, "--interval", "4s"])
    );
    let terminal = Terminal::open(80, 24, &line);
    // The second scrape has just been: the load is within the third.
    terminal.wait_for("shop");
    load(&server);
    let lines = terminal.wait("the requests", |lines| {
        lines.iter().any(|line| line.contains("600 requests since"))
            || lines.iter().any(|line| line.contains("GET /basket"))
    });
    // Exactly the load, by what was there in the interval of four seconds.
    let rate = |begin: &str| row(&lines, begin)[0].parse::<f64>().unwrap();
    for (begin, count) in [("GET /basket", 400.0), ("GET /search", 150.0), ("GET /broken", 50.0)] {
        let seconds = count / rate(begin);
        assert!(
            (3.8..4.5).contains(&seconds),
            "{begin} {seconds}:\n{}",
            lines.join("\n")
        );
    }
    assert_eq!(row(&lines, "GET /broken")[1], "100%");
    assert_eq!(row(&lines, "GET /basket")[1], "0%");
    assert!(place(&lines, "GET /basket") < place(&lines, "GET /search"));
    assert!(lines.iter().all(|line| line.chars().count() <= 80));

    // By name: the other way around, and back.
    terminal.press(&[" ", "Left"]);
    let lines = terminal.wait_for("SERVICE, ROUTE▼");
    assert!(lines[0].contains("FROZEN"));
    assert!(place(&lines, "GET /broken") < place(&lines, "GET /search"));
    terminal.press(&["r"]);
    let lines = terminal.wait_for("SERVICE, ROUTE▲");
    assert!(place(&lines, "GET /search") < place(&lines, "GET /broken"));

    // The filter, by its letters.
    terminal.press(&["/", "B", "A", "S", "K", "Enter"]);
    let lines = terminal.wait_for("filter: BASK");
    assert!(!lines.iter().any(|line| line.contains("GET /search")));
    // Into the service's route, and back.
    terminal.press(&["End", "Enter"]);
    let lines = terminal.wait_for("› GET /basket");
    assert_eq!(row(&lines, "200 ")[1], "0%");
    terminal.wait_for("400 requests since");
    terminal.press(&["Escape"]);
    terminal.wait("the services", |lines| lines[2].starts_with("services  filter"));
    terminal.press(&["Escape"]);
    terminal.wait_for("GET /search");

    // A larger terminal has all columns, and counts.
    terminal.press(&["r", "Right"]);
    terminal.tmux(&["resize-window", "-x", "190", "-y", "50"]);
    let lines = terminal.wait_for("COUNT");
    for (begin, count) in [
        ("shop", "600"),
        ("GET /basket", "400"),
        ("GET /search", "150"),
        ("GET /broken", "50"),
    ] {
        assert_eq!(row(&lines, begin).last().unwrap(), count, "{}", lines.join("\n"));
    }
    terminal.press(&["?"]);
    terminal.wait_for("any key closes this");
    terminal.press(&["x"]);
    terminal.wait("no help", |lines| !lines.iter().any(|line| line.contains("any key")));
    terminal.press(&["q"]);
    let lines = terminal.wait_for("ended 0");
    assert!(!lines.iter().any(|line| line.contains("COUNT")), "{lines:?}");
}

/// Whatever ends it, the terminal is what it was.
#[test]
fn signals() {
    let directory = TempDir::new().unwrap();
    let (_server, config) = shop(&directory);
    let vigie = vigie(&["--config.file", config.to_str().unwrap()]);
    let url = format!("http://{}/metrics", vigie.server.address());
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let line = format!(
            "echo before; {}; echo \"ended $?\"; stty -a; exec sleep 1000",
            top(&["--url", &url])
        );
        let terminal = Terminal::open(80, 24, &line);
        terminal.wait_for("shop");
        assert!(!terminal.lines().iter().any(|line| line.contains("before")));
        // SAFETY: the process is one that this test has started.
        assert_eq!(unsafe { libc::kill(terminal.child(), signal) }, 0);
        let lines = terminal.wait_for("ended 0");
        assert!(lines[0].starts_with("before"), "{lines:?}");
        let lines = terminal.wait_for("icanon");
        assert!(lines.iter().any(|line| line.contains(" echo ")), "{lines:?}");
    }
}

/// Vigie may be restarted while somebody looks.
#[test]
fn a_vigie_that_is_restarted() {
    let directory = TempDir::new().unwrap();
    let (server, config) = shop(&directory);
    let address = format!("127.0.0.1:{}", testkit::free_port().unwrap());
    let arguments = [
        "--config.file",
        config.to_str().unwrap(),
        "--web.listen-address",
        &address,
    ];
    let first = vigie(&arguments);
    load(&server);
    let terminal = Terminal::open(190, 40, &top(&["--url", &address]));
    terminal.wait("idle", |lines| {
        lines.iter().any(|line| line.contains("shop")) && row(lines, "shop").last().unwrap() == "0"
    });
    drop(first);
    terminal.wait_for("trying again");
    let _second = vigie(&arguments);
    terminal.wait("an answer", |lines| {
        !lines.iter().any(|line| line.contains("trying again"))
    });
    load(&server);
    let lines = terminal.wait("the load", |lines| {
        lines.iter().any(|line| line.trim_start().starts_with("shop")) && row(lines, "shop").last().unwrap() == "600"
    });
    assert!(!lines.iter().any(|line| line.contains("-600")), "{lines:?}");
}

/// The table, and whether all went well.
fn table(arguments: &[&str], during: impl FnOnce()) -> Vec<String> {
    let child = Command::new(binary())
        .arg("top")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Loading programs takes a second, and longer beside others.
    thread::sleep(Duration::from_secs(4));
    during();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Without a terminal there is one table: of a Vigie that serves, and of one's own programs.
#[test]
fn no_terminal() {
    let directory = TempDir::new().unwrap();
    let (server, config) = shop(&directory);
    let config = config.to_str().unwrap();
    let vigie = vigie(&["--config.file", config]);
    let url = format!("http://{}", vigie.server.address());
    for source in [["--url", &url], ["--config.file", config]] {
        let lines = table(&[&source[..], &["--interval", "8s"]].concat(), || load(&server));
        for (begin, count) in [
            ("shop", "600"),
            ("GET /basket", "400"),
            ("GET /search", "150"),
            ("GET /broken", "50"),
        ] {
            assert_eq!(row(&lines, begin).last().unwrap(), count, "{}", lines.join("\n"));
        }
    }
}

fn fails(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn what_cannot_be_read() {
    let directory = TempDir::new().unwrap();
    let (server, config) = shop(&directory);
    let nobody = format!("127.0.0.1:{}", testkit::free_port().unwrap());
    let other = format!("http://{}/basket", server.address());
    let page = directory.path().join("page.html");
    for command in [
        vec!["top"],
        vec!["report", "--duration", "1s", "-o", page.to_str().unwrap()],
    ] {
        let run = |arguments: &[&str]| {
            let mut run = Command::new(binary());
            run.args(&command).args(arguments);
            run
        };
        fails(&mut run(&["--url", &nobody]), "Connection refused");
        fails(&mut run(&["--url", &other]), "is not Vigie");
        fails(
            &mut run(&["--config.file", "/nonexistent/vigie.yml"]),
            "/nonexistent/vigie.yml",
        );
    }
    // A copy that anybody may run.
    let copy = directory.path().join("vigie");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut run = Command::new(&copy);
    std::os::unix::process::CommandExt::uid(&mut run, 65534);
    fails(run.args(["top", "--config.file"]).arg(&config), "root");
}
