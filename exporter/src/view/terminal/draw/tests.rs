use std::{sync::OnceLock, time::Instant};

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::view::scrape::Scrape;
use crossterm::event::{KeyCode, KeyEvent};

/// Two services, one of which has many routes: what has been counted up to now.
fn text(count: u64) -> String {
    let mut text = "vigie_build_info{version=\"1\",arch=\"x\"} 1\nprocess_start_time_seconds 1\n".to_owned();
    let mut route = |service: &str, handler: &str, status: u16, count: u64| {
        let labels = format!("service=\"{service}\",port=\"80\",method=\"GET\",handler=\"{handler}\"");
        text += &format!("http_requests_total{{{labels},status=\"{status}\"}} {count}\n");
        for bound in ["0.1", "+Inf"] {
            text += &format!(
                "http_request_duration_seconds_bucket{{{labels},status=\"{status}\",le=\"{bound}\"}} {count}\n"
            );
        }
        if status == 200 {
            for (phase, seconds) in [("queue", count), ("cpu", count * 3)] {
                text += &format!("http_request_phase_seconds_total{{{labels},phase=\"{phase}\"}} {seconds}\n");
            }
        }
    };
    route(
        "shop",
        "/products/{id}/a-route-with-a-name-that-is-too-long/{id}/stock",
        200,
        300 * count,
    );
    route(
        "shop",
        "/products/{id}/a-route-with-a-name-that-is-too-long/{id}/stock",
        500,
        100 * count,
    );
    for number in 0..30 {
        route("shop", &format!("/route-{number}"), 200, number * count);
    }
    route("blog", "/", 404, 50 * count);
    text += "service_runqueue_wait_seconds_sum{service=\"shop\"} 0\nhttp_requests_in_flight{service=\"shop\"} 123456\n";
    text += "service_listen_backlog{service=\"shop\",port=\"80\"} 7\nservice_listen_backlog_limit{service=\"shop\",port=\"80\"} 128\n";
    text
}

/// A scrape, so many seconds after all tests have begun.
fn scrape(text: &str, seconds: u64) -> Scrape {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let mut scrape = Scrape::read(text).unwrap();
    scrape.read = *BEGIN.get_or_init(Instant::now) + Duration::from_secs(seconds);
    scrape
}

fn app() -> App {
    let mut app = App::default();
    app.take(Ok(scrape(&text(0), 0)));
    app.take(Ok(scrape(&text(1), 1)));
    app
}

fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let context = Context {
        source: "http://127.0.0.1:10190/metrics".to_owned(),
        host: "host".to_owned(),
        period: Duration::from_secs(1),
        theme: Theme { is_coloured: true },
    };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, &context)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn key(app: &mut App, code: KeyCode) {
    app.key(KeyEvent::from(code));
}

#[test]
fn eighty_by_twenty_four() {
    let mut app = app();
    let lines = screen(&mut app, 80, 24);
    println!("{}", lines.join("\n"));
    assert_eq!(lines[1], "885 req/s  errors 16.9%  cpu –  in flight 123k  lost 0");
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(4),
        ["shop", "835", "12%", "50ms", "95ms", "99ms", "qqcccccc", "0", "123k"]
    );
    // In the middle, where routes are alike.
    assert!(lines[5].starts_with("  GET /produ…/{id}/stock"), "{}", lines[5]);
    assert_eq!(words(5)[2..], ["400", "25%", "50ms", "95ms", "99ms", "qqcccccc", "0"]);
    let more = lines.iter().position(|line| line.starts_with("  … 22 more")).unwrap();
    assert!(lines[more + 1].starts_with("blog"));
    let text = lines.join("\n");
    for expected in [
        "q queue 25%",
        "c cpu 75%",
        "500: 100/s",
        "in flight 123k",
        "backlog 7/128",
        "space freeze",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
}

#[test]
fn no_size_is_too_small() {
    let mut app = app();
    for (width, height) in [(1, 1), (5, 3), (20, 5), (40, 10), (80, 16), (300, 100)] {
        screen(&mut app, width, height);
        key(&mut app, KeyCode::Char('?'));
        screen(&mut app, width, height);
        key(&mut app, KeyCode::Char('?'));
    }
}

#[test]
fn a_large_screen_has_every_column_and_route() {
    let lines = screen(&mut app(), 200, 60);
    for title in ["4XX/S", "5XX/S", "ABRT/S", "CPUS", "FLY", "BKLG", "COUNT"] {
        assert!(lines[3].contains(title), "{title}");
    }
    assert!(lines.iter().any(|line| line.contains("GET /route-0 ")));
    assert!(!lines.iter().any(|line| line.contains("more")));
    assert!(lines[5].contains("  GET /products/{id}/a-route-with-a-name-that-is-too-long/{id}/stock "));
}

#[test]
fn keys() {
    let mut app = app();
    screen(&mut app, 80, 24);
    // By errors: blog has nothing else.
    key(&mut app, KeyCode::Right);
    assert!(screen(&mut app, 80, 24)[4].starts_with("blog"));
    key(&mut app, KeyCode::Char('r'));
    assert!(screen(&mut app, 80, 24)[4].starts_with("shop"));
    assert!(screen(&mut app, 80, 24)[3].contains("▲ERR"));
    for letter in "/ROUTE-7".chars() {
        key(&mut app, KeyCode::Char(letter));
    }
    key(&mut app, KeyCode::Enter);
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[2], "services  filter: ROUTE-7");
    assert!(
        lines[5].starts_with("  GET /route-7") && lines[6].is_empty(),
        "{lines:?}"
    );
    key(&mut app, KeyCode::Down);
    key(&mut app, KeyCode::Enter);
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[2], "services › shop › GET /route-7  filter: ROUTE-7");
    assert!(lines[4].starts_with("200 "), "{lines:?}");
    key(&mut app, KeyCode::Esc);
    key(&mut app, KeyCode::Esc);
    assert_eq!(screen(&mut app, 80, 24)[2], "services");
    // A screen that is frozen stays.
    key(&mut app, KeyCode::Char(' '));
    let frozen = screen(&mut app, 80, 24);
    assert!(frozen[0].contains("FROZEN"));
    app.take(Ok(scrape(&text(5), 2)));
    assert_eq!(screen(&mut app, 80, 24), frozen);
    key(&mut app, KeyCode::Char(' '));
    assert!(screen(&mut app, 80, 24)[1].starts_with("3540 req/s"));
    assert_eq!(
        app.key(KeyEvent::from(KeyCode::Char('q'))),
        crate::view::terminal::app::Next::Quit
    );
}

/// A Vigie that has gone is said, and one that has come back counts from 0.
#[test]
fn a_vigie_that_goes_and_comes_back() {
    let mut app = app();
    app.take(Err(anyhow::anyhow!("cannot read it")));
    assert!(screen(&mut app, 80, 24)[23].contains("cannot read it: trying again"));
    app.take(Ok(
        Scrape::read(&text(0).replace("_seconds 1\n", "_seconds 2\n")).unwrap()
    ));
    let lines = screen(&mut app, 80, 24);
    assert!(lines[1].starts_with("0 req/s"), "{}", lines[1]);
    assert!(lines[23].contains("started anew"));
}
