//! The page at `/`, in a real browser.
//!
//! These write the pictures in `docs/images/` anew, after `cargo xtask setup`, as root:
//!
//! ```sh
//! export VIGIE_WRITE_SCREENSHOTS=1 VIGIE_DEMO_PYTHON=$PWD/target/demo-venv/bin/python
//! cargo test --release -p vigie --test page -- --include-ignored screenshots
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

#[path = "common/chromium.rs"]
mod chromium;
mod common;
#[path = "common/layout.rs"]
mod layout;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use chromium::Chromium;
use common::{Watch, binary, demo, python, server, vigie};
use layout::assert_fits;
use serde_json::Value;
use testkit::{Client, Request, Server, Shot, TempDir, closed_loop, nginx, run_stages, store, uvicorn_store};

/// Routes beside the known ones, with a request each.
const ROUTES: usize = 200;

const LOCATIONS: &str = r#"
location = /basket { return 200 "basket\n"; }
location = /broken { return 503 "broken\n"; }
location = /gone { return 410 "gone\n"; }
location /page- { return 200 "page\n"; }
"#;

/// nginx as a service of this name, watched by Vigie.
fn shop(name: &str) -> (Server, Watch, TempDir) {
    let server = nginx(&[], LOCATIONS, 1).unwrap();
    let (vigie, directory) = watched(name, server.port());
    (server, vigie, directory)
}

fn watched(name: &str, port: u16) -> (Watch, TempDir) {
    let directory = TempDir::new().unwrap();
    let config = format!(
        "max_routes: 500\nservices: [{{name: {}, port: {port}}}]",
        Value::from(name)
    );
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie(&["--config.file", file.to_str().unwrap()]);
    (vigie, directory)
}

/// Sends so many requests for a path on one connection.
fn send(address: SocketAddr, path: &'static str, status: u16, count: usize) {
    let records = closed_loop(address, 1, count, true, |_, _| Shot {
        handler: path,
        request: Request::get(path),
        expected: Some(status),
    })
    .unwrap();
    assert!(records.list.iter().all(|record| Some(record.status) == record.expected));
}

/// A word for each number: nothing that looks like an identifier.
fn word(number: usize) -> String {
    let letter = |number: usize| char::from(b'g' + (number % 20) as u8);
    [letter(number / 20), letter(number)].iter().collect()
}

/// A request for each of many routes.
fn send_many(address: SocketAddr) {
    let mut client = Client::connect(address).unwrap();
    for number in 0..ROUTES {
        let response = client.send(&Request::get(format!("/page-{}", word(number)))).unwrap();
        assert_eq!(response.status, 200);
    }
}

fn url(vigie: &Watch, rest: &str) -> String {
    format!("http://{}/{rest}", vigie.server.address())
}

/// A whole number with spaces between its thousands.
fn number(text: &str) -> u64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in {text:?}"))
}

/// A cell of an endpoint's row.
fn cell(browser: &mut Chromium, route: &str, name: &str) -> String {
    browser.text(&format!(
        "[data-route={}] [data-name={}]",
        Value::from(route),
        Value::from(name)
    ))
}

/// How many endpoints are shown.
fn shown(browser: &mut Chromium) -> u64 {
    browser
        .value("document.querySelectorAll('#endpoints-table tbody tr').length")
        .as_u64()
        .unwrap()
}

/// Waits until a route's number of requests is so high.
fn wait_for_requests(browser: &mut Chromium, route: &str, count: u64) {
    let selector = Value::from(format!("[data-route={}] [data-name=\"requests\"]", Value::from(route)));
    browser.wait_for(&format!(
        "document.querySelector({selector})?.textContent.replace(/\\D/g, '') == '{count}'"
    ));
}

/// Sorts by a column, as a click does.
fn sort(browser: &mut Chromium, label: &str) -> Vec<String> {
    let label = Value::from(label);
    browser.value(&format!(
        "[...document.querySelectorAll('#endpoints-table thead button')].find((one) => one.textContent === {label}).click()"
    ));
    column(browser, "th code")
}

/// The texts of a column, from above.
fn column(browser: &mut Chromium, selector: &str) -> Vec<String> {
    let selector = Value::from(format!("#endpoints-table tbody tr {selector}"));
    let list = browser.value(&format!(
        "[...document.querySelectorAll({selector})].map((one) => one.textContent)"
    ));
    let list = list
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned());
    list.collect()
}

fn click(browser: &mut Chromium, selector: &str) {
    browser.value(&format!("document.querySelector({}).click()", Value::from(selector)));
}

/// All requests that the heat map shows to a pointer that goes everywhere.
fn pointed_at(browser: &mut Chromium) -> u64 {
    let sum = browser.value(
        r"(() => {
          const canvas = document.querySelector('canvas');
          const { left, right, top, bottom } = canvas.getBoundingClientRect();
          const notes = new Set();
          for (let x = left; x < right; x += 5) {
            for (let y = top; y < bottom; y += 9) {
              canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: x, clientY: y }));
              notes.add(document.querySelector('#heat-map-note').textContent);
            }
          }
          canvas.dispatchEvent(new PointerEvent('pointerleave'));
          // As in `14:03:12 · 1 ms to 2.5 ms · 12 requests`.
          const counts = [...notes].map((note) => note.match(/ to .* · (.*) requests?$/)?.[1].replace(/\D/g, '') ?? 0);
          return counts.reduce((sum, count) => sum + Number(count), 0);
        })()",
    );
    sum.as_u64().unwrap()
}

/// On a small phone, on a tablet both ways, on large screens, in the light and in the dark.
fn assert_fits_everywhere(browser: &mut Chromium) {
    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]);
        for (width, height) in [
            (360, 740),
            (768, 1024),
            (1024, 768),
            (1152, 800),
            (1440, 900),
            (1920, 1080),
        ] {
            browser.resize(width, height);
            assert_fits(browser);
            let select = browser.value("document.querySelector('#service').getBoundingClientRect().width");
            assert!(
                select.as_f64() > Some(120.0),
                "the choice of services has {select} pixels at {width}"
            );
        }
        assert_contrast(browser);
    }
}

/// Every text stands out against what is behind it, by 4.5 to 1 (WCAG 2.2, 1.4.3).
fn assert_contrast(browser: &mut Chromium) {
    let weak = browser.value(
        r"(() => {
          const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
          const over = (colours) => {
            canvas.fillStyle = '#fff';
            canvas.fillRect(0, 0, 1, 1);
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (rgb) => {
            const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const weak = [];
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          let texts = 0;
          while (walker.nextNode()) {
            const node = walker.currentNode.parentElement;
            if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || ['SCRIPT', 'STYLE'].includes(node.tagName)) continue;
            texts += 1;
            const behind = [];
            for (let one = node; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
            const [a, b] = [light(over([...behind, getComputedStyle(node).color])), light(over(behind))].sort((x, y) => y - x);
            const ratio = (a + 0.05) / (b + 0.05);
            if (ratio < 4.5) weak.push(`${walker.currentNode.textContent.trim()} (${node.className || node.tagName}): ${ratio.toFixed(2)}`);
          }
          return { texts, weak };
        })()",
    );
    assert!(weak["texts"].as_u64() > Some(50), "{weak}");
    assert_eq!(weak["weak"], Value::Array(Vec::new()));
}

/// What the page shows of one route is what was sent, from before the first request to after a restart of Vigie.
#[test]
fn one_route() {
    let (shop, mut vigie, _directory) = shop("shop");
    let mut browser = Chromium::start();
    let address = url(&vigie, "#service=shop");
    browser.open(&address);
    // There is nothing to see yet, and the page says what to do.
    browser.wait_for("document.body.dataset.state === 'live' && !document.querySelector('#empty').hidden");
    let text = browser.text("#empty");
    assert!(text.contains("No requests to shop seen yet"), "{text}");
    assert!(
        text.contains(&format!("curl http://localhost:{}/", shop.port())),
        "{text}"
    );
    assert!(text.contains("vigie doctor"), "{text}");
    assert_eq!(browser.value("document.querySelector('#content').hidden"), true);

    let route = format!("GET /basket {}", shop.port());
    send(shop.address(), "/basket", 200, 1234);
    wait_for_requests(&mut browser, &route, 1234);
    assert_eq!(browser.value("document.querySelector('#empty').hidden"), true);
    assert_eq!(shown(&mut browser), 1);
    assert_eq!(cell(&mut browser, &route, "2xx"), "1\u{202f}234");
    for (class, count) in [("4xx", 0), ("5xx", 0), ("aborted", 0)] {
        assert_eq!(number(&cell(&mut browser, &route, class)), count);
    }
    assert!(
        browser
            .text("[data-signal=rate] .more")
            .starts_with("1\u{202f}234 requests")
    );
    assert_eq!(browser.text("[data-signal=errors] .value b"), "0");

    // The durations are within the bucket that Prometheus would find them in.
    let scrape = vigie.scrape().unwrap();
    let port = shop.port().to_string();
    let labels = [("port", port.as_str()), ("handler", "/basket")];
    let (sum, count) = (
        scrape.sum("http_request_duration_seconds_sum", &labels),
        scrape.sum("http_request_duration_seconds_count", &labels),
    );
    assert!((count - 1234.0).abs() < 0.5);
    let mean = browser.text("#phases-note");
    let expected = sum / count * 1e6;
    let shown_mean: f64 = mean.split('\u{202f}').next().unwrap().parse().unwrap();
    assert!(mean.contains("µs per request"), "{mean}");
    assert!(
        (shown_mean - expected).abs() <= expected * 0.005 + 0.01,
        "{mean}, {expected} µs"
    );
    for name in ["p50", "p95", "p99"] {
        assert!(cell(&mut browser, &route, name).ends_with('s'));
    }
    let parts: f64 = browser
        .value("[...document.querySelectorAll('#endpoints-table .bar i')].reduce((sum, one) => sum + parseFloat(one.style.width), 0)")
        .as_f64()
        .unwrap();
    assert!((parts - 100.0).abs() < 0.1, "the phases are {parts} %");
    // Something is painted in the heat map.
    let colours = browser.value(
        "new Set(new Uint32Array(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 1000, 200).data.buffer)).size",
    );
    assert!(colours.as_u64() > Some(2), "{colours}");
    assert_eq!(pointed_at(&mut browser), 1234);

    // The time that numbers are of.
    click(&mut browser, "#window [value=all]");
    assert_eq!(number(&cell(&mut browser, &route, "requests")), 1234);
    assert!(browser.text("#window-note").starts_with("since Vigie started"));
    assert_fits_everywhere(&mut browser);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // Loaded again, the page has seen none of these come: its differences begin at 1,234.
    browser.open(&url(&vigie, "#service=shop&window=all"));
    wait_for_requests(&mut browser, &route, 1234);

    // Vigie ends: the page says so, keeps what it has, and goes on by itself.
    let port = vigie.server.port();
    vigie.server.stop().unwrap();
    browser.wait_for("document.body.dataset.state === 'gone'");
    assert_eq!(browser.text("#state"), "No contact");
    assert_eq!(browser.value("document.querySelector('#notice').hidden"), false);
    assert_eq!(number(&cell(&mut browser, &route, "requests")), 1234);
    browser.complaints();
    let file = _directory.path().join("vigie.yml");
    let again = testkit::vigie(
        binary(),
        &[
            "--config.file",
            file.to_str().unwrap(),
            "--web.listen-address",
            &format!("127.0.0.1:{port}"),
        ],
    )
    .unwrap();
    browser.wait_for("document.body.dataset.state === 'live'");
    assert_eq!(browser.value("document.querySelector('#notice').hidden"), true);
    // The new one has counted nothing yet. What it counts from now on is shown, and nothing is below zero.
    send(shop.address(), "/basket", 200, 7);
    wait_for_requests(&mut browser, &route, 7);
    click(&mut browser, "#window [value=\"60\"]");
    wait_for_requests(&mut browser, &route, 7);
    drop(again);
}

/// Two hundred routes: the table is short at first, and finds and sorts all of them.
#[test]
fn many_routes() {
    let (shop, vigie, _directory) = shop("<b>shop & co</i>");
    send(shop.address(), "/basket", 200, 300);
    send(shop.address(), "/broken", 503, 40);
    send(shop.address(), "/gone", 410, 20);
    // A route that has answered 410 alone is one all the same.
    send_many(shop.address());
    let port = shop.port();
    let mut browser = Chromium::start();
    browser.resize(1280, 900);
    browser.open(&url(&vigie, "#service=%3Cb%3Eshop+%26+co%3C%2Fi%3E&window=all"));
    wait_for_requests(&mut browser, &format!("GET /basket {port}"), 300);
    // The service's name is a text.
    assert_eq!(
        browser.value("document.querySelector('#service').selectedOptions[0].textContent"),
        "<b>shop & co</i>"
    );
    let all = (300 + 40 + 20 + ROUTES) as u64;
    assert_eq!(number(&browser.text("[data-signal=rate] .more")), all);
    assert_eq!(browser.text("[data-key=\"4xx\"]"), "20");
    assert_eq!(browser.text("[data-key=\"5xx\"]"), "40");
    let share = format!("{:.1}", 60.0 / all as f64 * 100.0);
    assert_eq!(browser.text("[data-signal=errors] .value b"), share);
    for (handler, class, count) in [
        ("/broken", "5xx", "40"),
        ("/gone", "4xx", "20"),
        ("/basket", "2xx", "300"),
    ] {
        assert_eq!(cell(&mut browser, &format!("GET {handler} {port}"), class), count);
    }

    // The busiest first, and no more than can be read.
    assert_eq!(column(&mut browser, "th code")[..3], ["/basket", "/broken", "/gone"]);
    assert_eq!(shown(&mut browser), 25);
    assert_eq!(browser.text("#endpoints-count"), (ROUTES + 3).to_string());
    assert_eq!(browser.text("#show-all"), format!("Show all {}", ROUTES + 3));
    click(&mut browser, "#show-all");
    assert_eq!(shown(&mut browser), ROUTES as u64 + 3);
    for number in 0..ROUTES {
        let route = format!("GET /page-{} {port}", word(number));
        assert_eq!(cell(&mut browser, &route, "requests"), "1");
    }
    let handlers = sort(&mut browser, "Endpoint");
    assert!(handlers.is_sorted(), "{handlers:?}");
    assert_eq!(
        browser.value("document.querySelector('#endpoints-table th[aria-sort]').getAttribute('aria-sort')"),
        "ascending"
    );
    let handlers = sort(&mut browser, "Endpoint");
    assert!(handlers.is_sorted_by(|a, b| a >= b), "{handlers:?}");
    assert_eq!(sort(&mut browser, "5xx")[0], "/broken");
    click(&mut browser, "#show-all");

    // By keyboard: the filter, and a column's head.
    browser.value("document.querySelector('#filter').focus()");
    browser.write("page-gh GET");
    assert_eq!(column(&mut browser, "th code"), ["/page-gh"]);
    assert_eq!(browser.text("#endpoints-count"), format!("1 of {}", ROUTES + 3));
    browser.value("document.querySelector('#filter').select()");
    browser.write("nothing like it");
    assert_eq!(shown(&mut browser), 0);
    assert!(browser.text("#endpoints-none").contains("nothing like it"));
    browser.value("document.querySelector('#filter').select()");
    browser.write("b");
    assert_eq!(
        column(&mut browser, "th code").len(),
        25,
        "the service's name fits every row"
    );
    browser.value("document.querySelector('#filter').select()");
    browser.write("/b");
    let found = column(&mut browser, "th code");
    assert_eq!(found, ["/broken", "/basket"], "errors first, as it was sorted");
    browser.press("Tab", 9);
    assert_eq!(browser.value("document.activeElement.textContent"), "Endpoint");
    // The address keeps it all.
    let hash = browser.value("location.hash");
    let hash = hash.as_str().unwrap().trim_start_matches('#').to_owned();
    browser.open(&url(&vigie, &format!("#{hash}")));
    browser.wait_for("document.querySelectorAll('#endpoints-table tbody tr').length === 2");
    assert_eq!(column(&mut browser, "th code"), ["/broken", "/basket"]);

    browser.open(&url(&vigie, "#window=all"));
    browser.wait_for("document.querySelectorAll('#endpoints-table tbody tr').length === 25");
    assert_fits_everywhere(&mut browser);
    assert_eq!(
        browser.value("getComputedStyle(document.querySelector('.dot')).animationName"),
        "none"
    );
    let dark = browser.value("getComputedStyle(document.body).backgroundColor");
    browser.prefer(&[("prefers-color-scheme", "light")]);
    assert_ne!(browser.value("getComputedStyle(document.body).backgroundColor"), dark);

    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = url(&vigie, "");
    let asked = browser.asked();
    assert!(
        asked
            .iter()
            .any(|url| *url == format!("{own}metrics?profile=vigie&service_label=service")),
        "{asked:?}"
    );
    for asked in asked {
        assert!(
            asked.starts_with(&own) || asked.starts_with("data:") || asked == "about:blank",
            "the page asks for {asked}"
        );
    }
}

/// Names that are longer than a phone is wide, with and without a place to break them.
#[test]
fn long_names() {
    let names = [
        "payments-and-invoicing-gateway-of-the-second-data-centre-in-production",
        "a_service_that_somebody_gave_a_name_in_which_no_line_can_be_broken",
    ];
    let servers = names.map(|_| nginx(&[], LOCATIONS, 1).unwrap());
    let services: Vec<Value> = names
        .iter()
        .zip(&servers)
        .map(|(name, server)| serde_json::json!({"name": name, "port": server.port()}))
        .collect();
    let directory = TempDir::new().unwrap();
    let file = directory
        .write("vigie.yml", format!("services: {}", Value::from(services)).as_bytes())
        .unwrap();
    let vigie = vigie(&["--config.file", file.to_str().unwrap()]);
    let path = "/page-organisations/departments/employees/time-sheets/corrections/approvals/comments/attachments";
    for server in &servers {
        send(server.address(), path, 200, 30);
        send(server.address(), "/basket", 200, 3);
    }
    let mut browser = Chromium::start();
    browser.open(&url(&vigie, "#window=all"));
    for server in &servers {
        wait_for_requests(&mut browser, &format!("GET {path} {}", server.port()), 30);
    }
    assert_eq!(browser.value("document.querySelector('#services').hidden"), false);
    assert_fits_everywhere(&mut browser);
    // A touch shows no hints: where the time goes is said in words.
    browser.resize(360, 740);
    let longest =
        browser.value("[...document.querySelectorAll('#endpoints-table .longest')].map((one) => one.innerText)");
    let longest = longest.as_array().unwrap();
    assert_eq!(longest.len(), 4);
    for text in longest {
        let text = text.as_str().unwrap();
        assert!(text.contains(" ") && text.contains('%'), "{text:?}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What clients send is a text, and never a part of the page.
#[test]
fn hostile_paths() {
    let (vigie, _directory) = {
        let shop = server(common::answer_all);
        let watched = watched("shop", shop.port());
        let mut client = Client::connect(shop).unwrap();
        for path in [
            "/<img/src=x/onerror=alert(1)>",
            "/<img%20src=x%20onerror=alert(1)>",
            "/<script>alert(1)</script>",
            "/\"'`&amp;${alert(1)}",
            "/__proto__",
        ] {
            client.send(&Request::get(path)).unwrap();
        }
        watched
    };
    let mut browser = Chromium::start();
    browser.open(&url(&vigie, "#service=shop&window=all&filter=%3Cimg/src"));
    browser.wait_for("document.querySelectorAll('#endpoints-table tbody tr').length === 1");
    assert_eq!(column(&mut browser, "th code"), ["/<img/src=x/onerror=alert(1)>"]);
    browser.open(&url(&vigie, "#service=shop&window=all&sort=handler+up"));
    browser.wait_for("document.querySelectorAll('#endpoints-table tbody tr').length === 5");
    assert_eq!(
        column(&mut browser, "th code")
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        5
    );
    assert_eq!(
        browser.value("document.querySelectorAll('main img, main script').length"),
        0
    );
    // Nor would anything run that did get in.
    browser.complaints();
    browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')");
    browser.value(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'document.title = 1' }))",
    );
    thread::sleep(Duration::from_millis(300));
    assert_ne!(browser.value("document.title"), "1");
    let complaints = browser.complaints();
    assert!(
        complaints.iter().any(|text| text.contains("Content Security Policy")),
        "{complaints:?}"
    );
}

/// A page that nobody looks at asks for nothing.
#[test]
fn hidden() {
    let (_shop, vigie, _directory) = shop("shop");
    let mut browser = Chromium::start();
    browser.open(&url(&vigie, ""));
    browser.wait_for("document.body.dataset.state === 'live'");
    let hide = |browser: &mut Chromium, is_hidden: bool| {
        browser.value(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    thread::sleep(Duration::from_secs(1));
    hide(&mut browser, true);
    // One may be on its way.
    thread::sleep(Duration::from_secs(1));
    browser.asked();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(browser.asked(), Vec::<String>::new());
    hide(&mut browser, false);
    thread::sleep(Duration::from_secs(3));
    assert_ne!(browser.asked(), Vec::<String>::new());
}

/// The pictures in the documents: the demo's store behind a proxy, under a load that comes and goes.
#[test]
#[ignore = "takes more than a minute: for VIGIE_WRITE_SCREENSHOTS=1"]
fn screenshots() {
    if std::env::var_os("VIGIE_WRITE_SCREENSHOTS").is_none() {
        return;
    }
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    std::fs::create_dir_all(&images).unwrap();
    let store = uvicorn_store(&python(), &demo(), 1).unwrap();
    let upstream = store.port();
    let proxy = nginx(
        &[],
        &format!("location /api/ {{ proxy_pass http://127.0.0.1:{upstream}; }}"),
        1,
    )
    .unwrap();
    let directory = TempDir::new().unwrap();
    let config = format!(
        "services: [{{name: store, port: {upstream}}}, {{name: front, port: {}}}]",
        proxy.port()
    );
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = common::vigie_alone(&["--config.file", file.to_str().unwrap()]);
    let mut browser = Chromium::start();
    browser.resize(1280, 1200);
    browser.open(&url(&vigie, ""));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stages = [(4, 20), (10, 20), (6, 60)].map(|(users, seconds)| (users, Duration::from_secs(seconds)));
            let think = Duration::from_millis(100)..Duration::from_millis(400);
            run_stages(proxy.address(), &stages, think, &stop, store::store_shot, |_, _, _| {});
        });
        thread::sleep(Duration::from_secs(62));
        let mut take = |name: &str, width, height, scheme| {
            browser.prefer(&[("prefers-color-scheme", scheme)]);
            browser.resize(width, height);
            thread::sleep(Duration::from_secs(3));
            let file: PathBuf = images.join(format!("page-{name}.png"));
            browser.picture(&file);
            let size = std::fs::metadata(&file).unwrap().len();
            assert!(size < 200_000, "{name}: {size} bytes");
        };
        take("desktop", 1200, 1130, "light");
        take("dark", 1200, 1130, "dark");
        take("phone", 390, 1900, "light");
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        browser.text("#services-idle"),
        "",
        "take the pictures again when this host serves nothing else"
    );
    let names = browser.value("[...document.querySelectorAll('[data-service]')].map((row) => row.dataset.service)");
    for name in names.as_array().unwrap() {
        assert!(
            ["front", "store"].iter().any(|known| name == known),
            "there is {name} in the pictures: take them again when this host serves nothing else"
        );
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
