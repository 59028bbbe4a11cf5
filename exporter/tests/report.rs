//! `vigie report`, in a real browser.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use common::{binary, read_head, server, vigie};
use testkit::{Request, Server, Shot, TempDir, closed_loop, nginx};

/// Routes beside the known ones, with a request each.
const ROUTES: usize = 200;
/// As wide as a small phone.
const PHONE: &str = "360";

const LOCATIONS: &str = r#"
location = /basket { return 200 "basket\n"; }
location = /broken { return 503 "broken\n"; }
location /page- { return 200 "page\n"; }
"#;

fn shop(directory: &TempDir) -> (Server, String) {
    let server = nginx(&[], LOCATIONS, 1).unwrap();
    let config = format!(
        "max_routes: 500\nservices: [{{name: '<b>shop & co</b>', port: {}}}]",
        server.port()
    );
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    (server, file.to_str().unwrap().to_owned())
}

/// A word for each number: nothing that looks like an identifier.
fn word(number: usize) -> String {
    let letter = |number: usize| char::from(b'g' + (number % 20) as u8);
    [letter(number / 20), letter(number)].iter().collect()
}

/// Sends 300 baskets, 40 that fail, and one for each of the other routes.
fn load(server: &Server) {
    let records = closed_loop(server.address(), 1, 340 + ROUTES, true, |_, index| {
        let (handler, status) = match index {
            0..300 => ("/basket", 200),
            300..340 => ("/broken", 503),
            _ => ("/page-", 200),
        };
        let path = match handler {
            "/page-" => format!("/page-{}", word(index - 340)),
            _ => handler.to_owned(),
        };
        Shot {
            handler,
            request: Request::get(path),
            expected: Some(status),
        }
    })
    .unwrap();
    assert!(records.list.iter().all(|record| Some(record.status) == record.expected));
}

fn report(arguments: &[&str], output: &Path) -> Child {
    Command::new(binary())
        .arg("report")
        .args(arguments)
        .arg("-o")
        .arg(output)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The page in a browser, with what it has asked for.
struct Browser {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    /// Serves the page, and one that holds it in a frame as wide as a phone. The browser asks for everything here, other
    /// hosts' as well.
    fn new(page: String) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let address = server(move |mut stream: TcpStream| {
            while let Some(head) = read_head(&mut stream) {
                let line = head.lines().next().unwrap().to_owned();
                let body = match line.split(' ').nth(1).unwrap() {
                    path if path.ends_with("/report.html") => page.clone(),
                    path if path.ends_with("/phone.html") => format!(
                        "<!DOCTYPE html><body><iframe src=\"/report.html\" style=\"border:0;width:{PHONE}px;height:800px\" \
                         onload=\"let root = this.contentDocument.documentElement; document.body.dataset.hidden = root.scrollWidth - root.clientWidth\"></iframe>"
                    ),
                    _ => String::new(),
                };
                log.lock().unwrap().push(line);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
        });
        Self { address, asked }
    }

    /// The document as it is when all is loaded.
    fn dom(&self, path: &str) -> String {
        let profile = TempDir::new().unwrap();
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--proxy-bypass-list=<-loopback>",
                "--dump-dom",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--proxy-server=http://{}", self.address))
            .arg(format!("http://{}{path}", self.address))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What was asked for, but for what browsers ask their maker.
    fn asked(&self) -> Vec<String> {
        let makers = ["google.com", "googleapis.com", "gvt1.com", "gstatic.com", "google:443"];
        let asked = self.asked.lock().unwrap();
        let others = asked
            .iter()
            .filter(|line| !makers.iter().any(|maker| line.contains(maker)));
        others.cloned().collect()
    }
}

/// A cell of a route's row.
fn cell<'a>(dom: &'a str, route: &str, name: &str) -> &'a str {
    let begin = format!("<tr data-route=\"{route}\">");
    let (_, row) = dom.split_once(&begin).unwrap_or_else(|| panic!("no row {route}"));
    let (row, _) = row.split_once("</tr>").unwrap();
    let (_, cell) = row.split_once(&format!("data-name=\"{name}\"")).unwrap();
    cell.split_once('>').unwrap().1.split_once('<').unwrap().0
}

#[test]
fn the_numbers_in_a_browser_are_those_of_the_load() {
    let directory = TempDir::new().unwrap();
    let (shop, config) = shop(&directory);
    let vigie = vigie(&["--config.file", &config]);
    let url = format!("http://{}", vigie.server.address());
    let file = directory
        .write("report.html", b"what was there before, and is longer than nothing")
        .unwrap();
    let child = report(&["--url", &url, "--duration", "8s"], &file);
    thread::sleep(Duration::from_secs(2));
    load(&shop);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(output.stdout.is_empty());
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));

    let browser = Browser::new(page);
    let dom = browser.dom("/report.html");
    let asked = browser.asked();
    let own = format!("GET http://{}/report.html HTTP/1.1", browser.address);
    assert_eq!(asked, [own], "the page asks for more than itself");
    let port = shop.port();
    for (handler, requests, failed) in [("/basket", "300", "0"), ("/broken", "40", "40")] {
        let route = format!("GET {handler} {port}");
        assert_eq!(cell(&dom, &route, "requests"), requests);
        assert_eq!(cell(&dom, &route, "5xx"), failed);
        assert_eq!(cell(&dom, &route, "aborted"), "0");
    }
    for number in 0..ROUTES {
        assert_eq!(
            cell(&dom, &format!("GET /page-{} {port}", word(number)), "requests"),
            "1"
        );
    }
    // The service's name is a text.
    let (_, section) = dom.split_once("<h2>&lt;b&gt;shop &amp; co&lt;/b&gt;</h2>").unwrap();
    let (_, tile) = section.split_once("<div class=\"tile requests\"><b>").unwrap();
    assert!(tile.starts_with(&format!("{}<", 340 + ROUTES)), "{}", &tile[..40]);
    assert!(section.contains("<svg"));

    let phone = browser.dom("/phone.html");
    assert!(phone.contains("data-hidden=\"0\""), "it is wider than a phone: {phone}");
}

/// What there is when somebody has seen enough, with programs of its own.
#[test]
fn an_early_end() {
    let directory = TempDir::new().unwrap();
    let (shop, config) = shop(&directory);
    // Standard output by both its names, and a terminal that is gone.
    for (signal, file) in [
        (libc::SIGINT, "-"),
        (libc::SIGTERM, "/dev/stdout"),
        (libc::SIGHUP, "/dev/stdout"),
    ] {
        let child = report(&["--config.file", &config, "--duration", "1h"], Path::new(file));
        thread::sleep(Duration::from_secs(4));
        load(&shop);
        // SAFETY: the process is this test's own child, not yet waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        let begin = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert!(output.status.success(), "{output:?}");
        let page = String::from_utf8(output.stdout).unwrap();
        assert_eq!(cell(&page, &format!("GET /basket {}", shop.port()), "requests"), "300");
    }
}

/// What is there is replaced when all is written, and not before: it is not lost when the disk is full, or the command is killed.
#[test]
fn an_old_page_is_not_lost() {
    let directory = TempDir::new().unwrap();
    let disk = directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| {
        let status = Command::new(arguments[0]).args(&arguments[1..]).arg(&disk).status();
        assert!(status.unwrap().success());
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=8k", "vigie"]);
    let file = disk.join("report.html");
    fs::write(&file, "old").unwrap();
    let output = report(&["--duration", "2s"], &file).wait_with_output().unwrap();
    let names: Vec<_> = fs::read_dir(&disk)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let old = fs::read_to_string(&file).unwrap();
    mount(&["umount"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains("No space left"), "{text}");
    assert_eq!((names.as_slice(), old.as_str()), (&["report.html".into()][..], "old"));
    // Killed in between.
    let file = directory.write("report.html", b"old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let mut child = report(&["--duration", "1h"], &file);
    thread::sleep(Duration::from_secs(3));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    // To its end, through a link.
    let link = directory.path().join("link.html");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let output = report(&["--duration", "2s"], &link).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!DOCTYPE html>"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_cannot_be_written() {
    let mut run = Command::new(binary());
    let output = run.args(["report", "-o", "/nonexistent/report.html"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.contains("/nonexistent/report.html"), "{text}");
    let output = Command::new(binary())
        .args(["report", "--duration", "soon", "-o", "-"])
        .output()
        .unwrap();
    assert!(!output.status.success());
}
