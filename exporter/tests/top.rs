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

/// A shop of its own for each test, whose name is in its routes: other tests' servers are seen as well.
struct Shop {
    name: &'static str,
    server: Server,
    config: PathBuf,
    _directory: TempDir,
}

impl Shop {
    fn open(name: &'static str) -> Self {
        let directory = TempDir::new().unwrap();
        let locations = [("basket", 200), ("search", 200), ("broken", 500)]
            .map(|(page, status)| format!("location = /{name}/{page} {{ return {status} \"{page}\\n\"; }}\n"));
        let server = nginx(&[], &locations.concat(), 1).unwrap();
        let config = format!("services: [{{name: {name}, port: {}}}]", server.port());
        let config = directory.write("vigie.yml", config.as_bytes()).unwrap();
        Self {
            name,
            server,
            config,
            _directory: directory,
        }
    }

    fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }

    /// How the row of a page begins.
    fn get(&self, page: &str) -> String {
        format!("GET /{}/{page}", self.name)
    }

    /// Sends 400 requests for baskets, 150 searches, and 50 that fail.
    fn load(&self) {
        let name = self.name;
        let records = closed_loop(self.server.address(), 2, 300, true, |_, index| {
            let (page, status) = match index {
                0..200 => ("basket", 200),
                200..275 => ("search", 200),
                _ => ("broken", 500),
            };
            Shot {
                handler: page,
                request: Request::get(format!("/{name}/{page}")),
                expected: Some(status),
            }
        })
        .unwrap();
        assert!(records.list.iter().all(|record| Some(record.status) == record.expected));
    }

    /// The last cells of the rows are the load's counts.
    fn assert_counts(&self, lines: &[String]) {
        let rows = [
            (self.name.to_owned(), "600"),
            (self.get("basket"), "400"),
            (self.get("search"), "150"),
            (self.get("broken"), "50"),
        ];
        for (begin, count) in rows {
            assert_eq!(row(lines, &begin).last().unwrap(), count, "{}", lines.join("\n"));
        }
    }
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
    let shop = Shop::open("terminal");
    let vigie = vigie(&["--config.file", shop.config()]);
    let url = format!("http://{}/metrics", vigie.server.address());
    let line = format!(
        "{}; echo \"ended $?\"; exec sleep 1000",
        top(&["--url", &url, "--interval", "4s"])
    );
    let terminal = Terminal::open(80, 24, &line);
    // The second scrape has just been: the load is within the third.
    terminal.wait_for(shop.name);
    shop.load();
    let [basket, search, broken] = ["basket", "search", "broken"].map(|page| shop.get(page));
    let lines = terminal.wait_for(&broken);
    // Exactly the load, by what was there in the interval of four seconds.
    for (begin, count) in [(&basket, 400.0), (&search, 150.0), (&broken, 50.0)] {
        let seconds = count / row(&lines, begin)[0].parse::<f64>().unwrap();
        assert!(
            (3.8..4.5).contains(&seconds),
            "{begin} {seconds}:\n{}",
            lines.join("\n")
        );
    }
    assert_eq!(row(&lines, &broken)[1], "100%");
    assert_eq!(row(&lines, &basket)[1], "0%");
    assert!(place(&lines, &basket) < place(&lines, &search));
    assert!(lines.iter().all(|line| line.chars().count() <= 80));

    // By name: from a to z, and the other way around.
    terminal.press(&["Space", "Left"]);
    let lines = terminal.wait_for("SERVICE, ROUTE▼");
    assert!(lines[0].contains("FROZEN"));
    assert!(place(&lines, &broken) < place(&lines, &search));
    terminal.press(&["r"]);
    let lines = terminal.wait_for("SERVICE, ROUTE▲");
    assert!(place(&lines, &search) < place(&lines, &broken));

    // The filter, by its letters.
    terminal.press(&["/", "L", "/", "B", "A", "S", "K", "Enter"]);
    let lines = terminal.wait_for("filter: L/BASK");
    assert!(!lines.iter().any(|line| line.contains(&search)));
    // Into the service's route, and back.
    terminal.press(&["End", "Enter"]);
    let lines = terminal.wait_for(&format!("› {basket}"));
    assert_eq!(row(&lines, "200 ")[1], "0%");
    terminal.wait_for("400 requests since");
    terminal.press(&["Escape"]);
    terminal.wait("the services", |lines| lines[2].starts_with("services  filter"));
    terminal.press(&["Escape"]);
    terminal.wait_for(&search);

    // A larger terminal has all columns, and counts.
    terminal.tmux(&["resize-window", "-x", "190", "-y", "50"]);
    shop.assert_counts(&terminal.wait_for("COUNT"));
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
    let shop = Shop::open("signals");
    let vigie = vigie(&["--config.file", shop.config()]);
    let url = format!("http://{}/metrics", vigie.server.address());
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let line = format!(
            "echo before; {}; echo \"ended $?\"; stty -a; exec sleep 1000",
            top(&["--url", &url])
        );
        let terminal = Terminal::open(80, 24, &line);
        terminal.wait_for(shop.name);
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
    let shop = Shop::open("restarted");
    let address = format!("127.0.0.1:{}", testkit::free_port().unwrap());
    let arguments = ["--config.file", shop.config(), "--web.listen-address", &address];
    let first = vigie(&arguments);
    shop.load();
    let terminal = Terminal::open(190, 40, &top(&["--url", &address]));
    // What was before does not count.
    let lines = terminal.wait_for(shop.name);
    assert_eq!(row(&lines, shop.name).last().unwrap(), "0");
    drop(first);
    terminal.wait_for("trying again");
    let _second = vigie(&arguments);
    terminal.wait("an answer", |lines| {
        !lines.iter().any(|line| line.contains("trying again"))
    });
    shop.load();
    let broken = shop.get("broken");
    let lines = terminal.wait("the load", |lines| {
        lines.iter().any(|line| line.contains(&broken)) && row(lines, &broken).last().unwrap() == "50"
    });
    shop.assert_counts(&lines);
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
    let shop = Shop::open("table");
    let vigie = vigie(&["--config.file", shop.config()]);
    let url = format!("http://{}", vigie.server.address());
    for source in [["--url", &url], ["--config.file", shop.config()]] {
        let lines = table(&[&source[..], &["--interval", "8s"]].concat(), || shop.load());
        shop.assert_counts(&lines);
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
    let shop = Shop::open("unreadable");
    let nobody = format!("127.0.0.1:{}", testkit::free_port().unwrap());
    let other = format!("http://{}/{}/basket", shop.server.address(), shop.name);
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
    fails(run.args(["top", "--config.file"]).arg(&shop.config), "root");
}
