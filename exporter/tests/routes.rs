//! Paths become routes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use common::{
    OK, Watch, answer_all, connect, counts, lost, read_head, read_request, request_in_turn, server, settled,
    settled_scrape, vigie_alone, word,
};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};
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
fn request_all(address: SocketAddr, paths: impl IntoIterator<Item = String>) {
    for path in paths {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        read_head(&mut stream).unwrap();
    }
}

/// Each link has another secret: none of them is a label, and all are one route.
#[test]
fn secrets_are_no_labels() {
    const LINKS: usize = 1500;
    let address = server(answer_all);
    let vigie = vigie_alone(&[]);
    let links = (0..LINKS).map(|i| format!("/reset/token/s3cr3t-{i}x7"));
    request_all(address, links);
    request_all(
        address,
        ["/reset/token/request".to_owned(), "/apis/v2beta1/pods".to_owned()],
    );
    let expected = counts(&[
        ("/apis/v2beta1/pods", "GET", 200, 1),
        ("/reset/token/request", "GET", 200, 1),
        ("/reset/token/{id}", "GET", 200, LINKS as u64),
    ]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let text = vigie.get("/metrics").unwrap().text();
    assert!(!text.contains("s3cr3t"));
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// A level of words has collapsed, and a template matches words there that come later.
#[test]
fn templates_match_below_what_has_collapsed() {
    let address = server(answer_as_asked);
    let config = format!(
        "max_routes: 40\nservices:\n  - name: shop\n    port: {}\n    routes:\n      - /@{{user}}\n",
        address.port()
    );
    let (_directory, vigie) = vigie_with(&config);
    let strangers = (0..400).map(|i| ("GET", format!("/{}?200", word(i))));
    let mut sent = request_in_turn(address, strangers.collect::<Vec<_>>());
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    settled_scrape(&vigie, |scrape| total(scrape) == sent);
    // Room is made once a second.
    std::thread::sleep(Duration::from_millis(1200));
    let more = (400..420).map(|i| ("GET", format!("/{}?200", word(i))));
    sent += request_in_turn(address, more.collect::<Vec<_>>());
    let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
    let collapsed = ("/{…}".to_owned(), "GET".to_owned(), 200);
    assert!(
        scrape.requests(address.port()).contains_key(&collapsed),
        "nothing has collapsed"
    );
    let users = (0..50).map(|i| ("GET", format!("/@{}?200", word(i))));
    sent += request_in_turn(address, users.collect::<Vec<_>>());
    let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
    let of_users = ("/@{user}".to_owned(), "GET".to_owned(), 200);
    assert_eq!(scrape.requests(address.port()).get(&of_users), Some(&50));
}

/// A Vigie with this config.
fn vigie_with(config: &str) -> (TempDir, Watch) {
    let directory = TempDir::new().unwrap();
    let file = directory.write("vigie.yml", config.as_bytes()).unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    (directory, vigie)
}

#[test]
fn past_the_cap_is_other() {
    let address = server(answer_all);
    let (_directory, vigie) = vigie_with("max_routes: 10\n");
    request_all(address, (0..30).map(|i| format!("/{}", word(i))));
    request_all(address, (0..30).map(|i| format!("/{}", word(i))));
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    let seen = settled_scrape(&vigie, |scrape| total(scrape) == 60).requests(address.port());
    // Which 10 of them are first is the server threads' business, near the end.
    let other = seen.get(&("other".to_owned(), "GET".to_owned(), 200)).copied();
    assert_eq!((seen.len(), seen.values().sum(), other), (11, 60, Some(40)));
    assert!(
        seen.iter()
            .all(|((handler, _, _), count)| handler == "other" || *count == 2),
        "{seen:?}"
    );
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// Answers every request with the status that its query names, `/a?404`, else with 200; `?201-put` is 201 if the method is PUT, else 404.
fn answer_as_asked(mut stream: TcpStream) {
    while let Some(request) = read_request(&mut stream) {
        let request = String::from_utf8(request).unwrap();
        let target = request.split(' ').nth(1).unwrap();
        let status = match target.split_once('?') {
            Some((_, "201-put")) if request.starts_with("PUT ") => "201",
            Some((_, "201-put")) => "404",
            Some((_, status)) => status,
            None => "200",
        };
        let answer = format!("HTTP/1.1 {status} A\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn events(scrape: &testkit::Scrape) -> f64 {
    ["path", "request"]
        .map(|kind| scrape.sum("vigie_events_total", &[("kind", kind)]))
        .iter()
        .sum()
}

/// More words than there may be routes, whatever they are answered with, and then 20 real routes. Each of these has its name.
#[test]
fn words_of_a_stranger_do_not_use_up_the_routes() {
    for status in [200, 302, 401, 403, 405, 400] {
        let address = server(answer_as_asked);
        let vigie = vigie_alone(&[]);
        let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
        let words = || (0..400).map(|i| ("GET", format!("/{}?{status}", word(i))));
        let mut sent = request_in_turn(address, words());
        settled_scrape(&vigie, |scrape| total(scrape) == sent);
        let real: Vec<String> = (500..520).map(|i| format!("/api/{}", word(i))).collect();
        for i in 0..40 {
            sent += request_in_turn(address, real.iter().map(|path| ("GET", format!("{path}/{i}"))));
            // User space has to hear of what is new before it is asked for again.
            std::thread::sleep(Duration::from_millis(10));
        }
        let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
        let seen = scrape.requests(address.port());
        for path in &real {
            let key = (format!("{path}/{{id}}"), "GET".to_owned(), 200);
            let count = seen.get(&key).copied().unwrap_or_default();
            assert!(count >= 20, "{status}: {key:?} {count} times; {seen:?}");
        }
        assert_eq!(total(&scrape), sent);
        assert_eq!(lost(&scrape), 0.0);
        // What the stranger goes on with costs nothing, if it has been answered by something.
        if status == 200 {
            // The first one starts the series of the collapsed route.
            sent += request_in_turn(address, [("GET", format!("/{}", word(520)))]);
            let before = events(&settled_scrape(&vigie, |scrape| total(scrape) == sent));
            sent += request_in_turn(address, (521..1000).map(|i| ("GET", format!("/{}", word(i)))));
            let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
            assert_eq!(events(&scrape), before);
        }
    }
}

/// A path of so many bytes that ends with a word.
fn long_path(length: usize, word: &str) -> String {
    let mut path = String::new();
    while path.len() + 1 + word.len() < length {
        let rest = length - 1 - word.len() - path.len();
        path.push('/');
        path.extend(std::iter::repeat_n('p', rest.min(40) - 1));
    }
    format!("{path}/{word}")
}

/// Paths as long as the kernel reads at once, and a byte more or less: it makes of them what user space does, and so knows the route
/// into which they have collapsed.
#[test]
fn long_paths_collapse() {
    for length in [127, 128, 129, 256, 384, 511, 512] {
        let address = server(answer_as_asked);
        let vigie = vigie_alone(&[]);
        let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
        let words = |range: std::ops::Range<usize>| range.map(move |i| ("GET", long_path(length, &word(i))));
        assert!(words(0..10).all(|(_, path)| path.len() == length));
        let mut sent = request_in_turn(address, words(0..400));
        settled_scrape(&vigie, |scrape| total(scrape) == sent);
        // The first one starts the series of the collapsed route.
        sent += request_in_turn(address, words(400..401));
        let before = events(&settled_scrape(&vigie, |scrape| total(scrape) == sent));
        sent += request_in_turn(address, words(401..1000));
        let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
        let of_all = scrape.requests(address.port());
        let collapsed = of_all.iter().find(|((handler, _, _), _)| handler.ends_with("/{…}"));
        assert!(
            collapsed.is_some_and(|(_, count)| *count >= 600),
            "{length}: {of_all:?}"
        );
        assert_eq!(
            (total(&scrape), events(&scrape), lost(&scrape)),
            (sent, before, 0.0),
            "{length}"
        );
    }
}

/// Only the start of a path is kept. A longer one is no request of the route that its start would be, however it comes and whichever of
/// them comes first.
#[test]
fn long_paths_are_routes_of_their_own() {
    let address = server(answer_all);
    let vigie = vigie_alone(&[]);
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    let send = |path: &str, cut: Option<usize>| {
        let mut stream = connect(address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (one, other) = request.split_at(cut.unwrap_or(request.len()));
        stream.write_all(one.as_bytes()).unwrap();
        if !other.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(other.as_bytes()).unwrap();
        }
        read_head(&mut stream).unwrap();
    };
    let mut sent = 0;
    for (case, (cut, is_long_first)) in (0..).zip([(None, false), (None, true), (Some(300), false), (Some(300), true)])
    {
        let prefix = word(case);
        let long = format!("/{prefix}/{}/delete", "x".repeat(600));
        let short = format!("/{prefix}/{}", "x".repeat(60));
        for _ in 0..3 {
            for path in if is_long_first {
                [&long, &short]
            } else {
                [&short, &long]
            } {
                send(path, cut.filter(|cut| *cut < path.len()));
                sent += 1;
                // The next one is of a route that is known.
                settled_scrape(&vigie, |scrape| total(scrape) == sent);
            }
        }
        let scrape = vigie.scrape().unwrap();
        let mut found: Vec<_> = scrape.requests(address.port()).into_iter().collect();
        found.retain(|((handler, _, _), _)| handler.contains(&prefix));
        found.sort();
        let counts: Vec<_> = found
            .iter()
            .map(|((handler, ..), count)| (handler.as_str(), *count))
            .collect();
        let exact = format!("/{prefix}/{{id}}");
        assert_eq!(counts.len(), 2, "{cut:?} {is_long_first} {counts:?}");
        assert_eq!(counts[0], (exact.as_str(), 3), "{cut:?} {is_long_first}");
        assert!(counts[1].0.ends_with('…') && counts[1].1 == 3, "{counts:?}");
    }
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

/// A client invents paths and methods, at a service with a template: what is shown is bounded, and what is asked for again costs nothing.
#[test]
fn capped_routes_are_bounded_and_cost_nothing() {
    let address = server(answer_as_asked);
    let config = format!(
        "max_routes: 5\nservices:\n  - name: shop\n    port: {}\n    routes:\n      - /stock/{{name}}\n",
        address.port()
    );
    let (_directory, vigie) = vigie_with(&config);
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    let all = || {
        (0..400).flat_map(|i| {
            let path = format!("/x{}?201-put", word(i));
            [
                ("GET", path.clone()),
                ("PUT", path),
                ("GET", format!("/stock/{}", word(i))),
            ]
        })
    };
    let mut sent = 0;
    let mut before = 0.0;
    for round in 0..4 {
        // Slowly: a service shows at most 1,000 new paths a second, and the rest is not looked at for templates.
        let requests: Vec<_> = all().collect();
        for requests in requests.chunks(300) {
            sent += request_in_turn(address, requests.iter().cloned());
            std::thread::sleep(Duration::from_millis(600));
        }
        let scrape = settled_scrape(&vigie, |scrape| total(scrape) == sent);
        let seen = scrape.requests(address.port());
        // Five routes and none, other, the template, with two methods and a status each at the most.
        assert!(seen.len() <= 16, "{seen:?}");
        assert_eq!(
            seen[&("/stock/{name}".to_owned(), "GET".to_owned(), 200)],
            400 * (round + 1)
        );
        if round > 1 {
            assert_eq!(events(&scrape), before, "in round {round}");
        }
        before = events(&scrape);
    }
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
    request_all(address, (0..30).map(|i| format!("/users/{}/orders?page={i}", word(i))));
    request_all(address, ["/users/17".to_owned()]);
    let expected = counts(&[("/users/{name}/orders", "GET", 200, 30), ("/users/{id}", "GET", 200, 1)]);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let scrape = vigie.scrape().unwrap();
    assert_eq!(scrape.sum("http_requests_total", &[("service", "shop")]), 31.0);
}

/// All forms of templates, on paths of few shapes: numbers, addresses, files with hashes, and long paths. What is sent is counted where it
/// belongs, from the first request on.
#[test]
fn each_form_of_a_template_counts_exactly() {
    let address = server(answer_all);
    let config = format!(
        "services:\n  - name: shop\n    port: {}\n    routes:\n      - /users/0\n      - /users/{{id:int}}\n      - /@{{user}}\n      \
         - /files/{{id}}.json\n      - /v{{version}}/x\n      - /static/*\n      - /docs/{{path:path}}\n      - /orders/:id\n      \
         - /carts/<uuid:id>\n",
        address.port()
    );
    let (_directory, vigie) = vigie_with(&config);
    let long = "x/".repeat(400);
    let paths = |i: usize| {
        [
            ("/users/{id:int}", format!("/users/{}", i + 1)),
            ("/users/0", "/users/0".to_owned()),
            ("/users/{id}", format!("/users/a{i}@example.org")),
            ("/@{user}", format!("/@{}", word(i))),
            ("/@{user}", format!("/@a{i}@example.org")),
            ("/{id}", format!("/{i}")),
            ("/files/{id}.json", format!("/files/{i}.json")),
            ("/files/{id}.json", format!("/files/0123456789abcd{i:02}.json")),
            ("/files/{id}", format!("/files/0123456789abcd{i:02}.css")),
            ("/v{version}/x", format!("/v{i}/x")),
            ("/v{version}/x", format!("/v{i}.{i}/x?y=/v1/y")),
            ("/static/*", format!("/static/{i}")),
            ("/static/*", format!("/static/css/{i}/a.css")),
            ("/static/*", "/static/".to_owned()),
            ("/static/*", format!("/static/{long}{i}")),
            ("/docs/{path:path}", format!("/docs/{}/{i}/", word(i))),
            ("/orders/:id", format!("/orders/{}", word(i))),
            (
                "/carts/<uuid:id>",
                format!("/carts/123e4567-e89b-12d3-a456-4266141740{i:02}"),
            ),
            ("/carts/{id}", format!("/carts/{i}")),
        ]
    };
    let mut sent = std::collections::BTreeMap::<&str, u64>::new();
    let rounds = 40;
    for i in 0..rounds {
        // All of a round at once, and in another order each time.
        let mut round = paths(i);
        round.rotate_left(i % 19);
        let mut stream = connect(address);
        for (expected, path) in round {
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                .unwrap();
            read_head(&mut stream).unwrap();
            *sent.entry(expected).or_default() += 1;
        }
    }
    let expected: Vec<_> = sent
        .into_iter()
        .map(|(handler, count)| (handler, "GET", 200, count))
        .collect();
    let expected = counts(&expected);
    assert_eq!(settled(&vigie, address.port(), &expected), expected);
    let scrape = vigie.scrape().unwrap();
    assert_eq!(lost(&scrape), 0.0);
    // What is known costs nothing.
    let before = events(&scrape);
    let all: Vec<String> = (0..rounds).flat_map(|i| paths(i).map(|(_, path)| path)).collect();
    let again = request_in_turn(address, all.iter().map(|path| ("GET", path.clone())));
    let total = |scrape: &testkit::Scrape| scrape.requests(address.port()).values().sum::<u64>();
    let scrape = settled_scrape(&vigie, |scrape| total(scrape) == 2 * again);
    assert_eq!(events(&scrape), before);
    let twice = expected.into_iter().map(|(key, count)| (key, 2 * count)).collect();
    assert_eq!(scrape.requests(address.port()), twice);
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
    let wait = || std::thread::sleep(Duration::from_millis(50));
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
