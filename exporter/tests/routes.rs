//! Paths become routes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use common::{
    OK, answer_all, connect, counts, lost, read_head, read_request, server, settled, settled_scrape, vigie_alone,
};
use std::io::Write as _;
use testkit::{Request, Shot, TempDir, closed_loop, nginx};

#[test]
fn a_million_ids_are_one_route() {
    let server = nginx(&[], "location /api/ { return 200 \"ok\\n\"; }", 1).unwrap();
    let vigie = vigie_alone(&[]);
    let records = closed_loop(server.address(), 4, 250_000, true, |thread, i| Shot {
        handler: "/api/produits/{id}",
        request: Request::get(format!("/api/produits/{}", thread * 250_000 + i)),
        expected: Some(200),
    })
    .unwrap();
    let expected = counts(&[("/api/produits/{id}", "GET", 200, 1_000_000)]);
    assert_eq!(records.counts(), expected);
    assert_eq!(settled(&vigie, server.port(), &expected), expected);
    let scrape = vigie.scrape().unwrap();
    let events = scrape.sum("vigie_events_total", &[("kind", "path")])
        + scrape.sum("vigie_events_total", &[("kind", "request")]);
    println!("{events} events");
    assert!(events < 100.0, "{events} events");
    assert_eq!(lost(&scrape), 0.0);
}

/// Requests every path once, each on its own connection, and waits for the answer.
fn request_all(address: std::net::SocketAddr, paths: impl IntoIterator<Item = String>) {
    for path in paths {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        read_head(&mut stream).unwrap();
    }
}

/// A name of letters that no rule takes for an identifier.
fn name(number: u32) -> String {
    let letter = |digit: u32| char::from(b'g' + u8::try_from(digit).unwrap());
    [number / 100, number / 10 % 10, number % 10]
        .map(letter)
        .iter()
        .collect()
}

#[test]
fn past_the_cap_is_other() {
    let address = server(answer_all);
    let vigie = vigie_alone(&[]);
    request_all(address, (0..300).map(|i| format!("/{}", name(i))));
    request_all(address, (0..300).map(|i| format!("/{}", name(i))));
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    let seen = settled_scrape(&vigie, |scrape| total(scrape) == 600).requests(address.port());
    // Which 200 of them are first is the server threads' business, near the end.
    let other = seen.get(&("other".to_owned(), "GET".to_owned(), 200)).copied();
    assert_eq!((seen.len(), seen.values().sum(), other), (201, 600, Some(200)));
    assert!(
        seen.iter()
            .all(|((handler, _, _), count)| handler == "other" || *count == 2),
        "{seen:?}"
    );
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// What was only not found is `none`, also after it was scraped; once it is found, it has a name, and no count is lost.
#[test]
fn not_found_is_none_until_it_is_found() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().display();
    let server = nginx(&[], &format!("location /late/ {{ root {root}; }}"), 1).unwrap();
    let vigie = vigie_alone(&[]);
    request_all(
        server.address(),
        [
            "/late/page".to_owned(),
            "/late/page".to_owned(),
            "/wp-login.php".to_owned(),
        ],
    );
    let expected = counts(&[("none", "GET", 404, 3)]);
    assert_eq!(settled(&vigie, server.port(), &expected), expected);
    std::fs::create_dir(directory.path().join("late")).unwrap();
    directory.write("late/page", b"hello").unwrap();
    request_all(server.address(), ["/late/page".to_owned()]);
    std::fs::remove_file(directory.path().join("late/page")).unwrap();
    request_all(server.address(), ["/late/page".to_owned()]);
    let expected = counts(&[
        ("none", "GET", 404, 3),
        ("/late/page", "GET", 200, 1),
        ("/late/page", "GET", 404, 1),
    ]);
    assert_eq!(settled(&vigie, server.port(), &expected), expected);
}

#[test]
fn templates_come_from_the_config() {
    let address = server(answer_all);
    let directory = TempDir::new().unwrap();
    let config = format!(
        "services:\n  - name: shop\n    port: {}\n    routes:\n      - /users/{{name}}/orders\n",
        address.port()
    );
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    request_all(address, (0..30).map(|i| format!("/users/{}/orders?page={i}", name(i))));
    request_all(address, ["/users/17".to_owned()]);
    let expected = counts(&[("/users/{name}/orders", "GET", 200, 30), ("/users/{id}", "GET", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let scrape = vigie.scrape().unwrap();
    assert_eq!(scrape.sum("http_requests_total", &[("service", "shop")]), 31.0);
}

/// A scanner has used up the places for paths that answer 404. A route that does so at first is found all the same.
#[test]
fn a_late_route_is_found() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let is_ok = String::from_utf8(request).unwrap().contains("?ok");
            stream
                .write_all(if is_ok {
                    OK
                } else {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
                })
                .unwrap();
        }
    });
    let directory = TempDir::new().unwrap();
    let file = directory.write("vigie.yml", b"max_routes: 2\n").unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    let wait = || std::thread::sleep(std::time::Duration::from_millis(50));
    request_all(address, ["/x", "/y", "/late", "/late"].map(str::to_owned));
    wait();
    // Its first answer other than 404 has no name yet; the next one shows the path again.
    for _ in 0..3 {
        request_all(address, ["/late?ok".to_owned()]);
        wait();
    }
    let expected = counts(&[
        ("none", "GET", 404, 4),
        ("other", "GET", 200, 1),
        ("/late", "GET", 200, 2),
    ]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
}
