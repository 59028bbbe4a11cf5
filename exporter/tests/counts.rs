//! Every request is counted, once, under the right labels: real servers under real load.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use common::{demo, lost, python, settled, vigie_alone};
use testkit::{Random, Records, Request, Shot, Vigie, closed_loop, nginx, uvicorn_store};

/// Compares every count by {handler, method, status} with what the client saw.
fn compare(vigie: &Vigie, port: u16, parts: &[&Records]) {
    let mut expected = testkit::Counts::new();
    for records in parts {
        assert_eq!(records.transport_errors(), 0);
        assert!(records.unexpected().is_empty(), "{:?}", records.unexpected().first());
        for (key, count) in records.counts() {
            *expected.entry(key).or_default() += count;
        }
    }
    assert_eq!(settled(vigie, port, &expected), expected);
    assert_eq!(lost(&vigie.scrape().unwrap()), 0.0);
}

fn shot(handler: &'static str, request: Request, expected: u16) -> Shot {
    Shot {
        handler,
        request,
        expected: Some(expected),
    }
}

fn nginx_shot(thread: usize, i: usize) -> Shot {
    let status = |status: u16, method: &str| {
        shot(
            "/status/{id}",
            Request::new(method, format!("/status/{status}")),
            status,
        )
    };
    match (thread * 7 + i) % 16 {
        0 => status(200, "GET"),
        1 => status(404, "GET"),
        2 => status(500, "POST"),
        3 => status(204, "PUT"),
        4 => status(301, "DELETE"),
        5 => status(403, "PATCH"),
        6 => status(418, "PROPFIND"),
        7 => status(503, "OPTIONS"),
        8 => status(200, "HEAD"),
        9 => shot("none", Request::get("/missing.txt"), 404),
        10 => shot("/large.bin", Request::get("/large.bin"), 200),
        11 => shot("/small.txt", Request::new("HEAD", "/small.txt"), 200),
        12 => shot("/small.txt", Request::get("/small.txt?page=1&q=a%20b"), 200),
        13 => shot("/empty.txt", Request::get("/empty.txt"), 200),
        14 => shot("/small.txt", Request::post("/small.txt", vec![b'x'; 3000]), 405),
        _ => shot("/small.txt", Request::get("/small.txt"), 200),
    }
}

#[test]
fn nginx_at_full_speed() {
    let large = vec![b'x'; 300_000];
    let server = nginx(
        &[("small.txt", b"hello\n"), ("empty.txt", b""), ("large.bin", &large)],
        "",
        2,
    )
    .unwrap();
    let vigie = vigie_alone(&[]);
    let kept = closed_loop(server.address(), 4, 5_000, true, nginx_shot).unwrap();
    let closed = closed_loop(server.address(), 4, 500, false, nginx_shot).unwrap();
    assert_eq!((kept.len(), closed.len()), (20_000, 2_000));
    compare(&vigie, server.port(), &[&kept, &closed]);

    let scrape = vigie.scrape().unwrap();
    let port = server.port().to_string();
    let labels = [("port", port.as_str()), ("handler", "/large.bin")];
    let files = kept.counts()[&("/large.bin".to_owned(), "GET".to_owned(), 200)]
        + closed.counts()[&("/large.bin".to_owned(), "GET".to_owned(), 200)];
    let sent = scrape.sum("http_response_size_bytes_sum", &labels);
    let heads = sent - files as f64 * 300_000.0;
    assert!(
        heads > files as f64 * 200.0 && heads < files as f64 * 300.0,
        "{heads} bytes of heads in {files} responses"
    );
}

fn store_shot(_: usize, i: usize) -> Shot {
    let mut random = Random::new(i as u64);
    let token = |request: Request| request.header("x-token", testkit::store::TOKEN);
    let product = random.range(1..500);
    let sale = |body: &str| token(Request::post("/api/ventes", body).header("content-type", "application/json"));
    match i % 20 {
        0..8 => shot(
            "/api/produits/{id}",
            token(Request::get(format!("/api/produits/{product}"))),
            200,
        ),
        8..10 => shot(
            "/api/produits/{id}",
            Request::get(format!("/api/produits/{product}")),
            401,
        ),
        10..12 => shot(
            "/api/produits/{id}",
            Request::get(format!("/api/produits/{product}")).header("x-token", "no"),
            403,
        ),
        12 => shot("/api/produits/{id}", token(Request::get("/api/produits/99999")), 404),
        13 => shot("/api/produits/{id}", token(Request::get("/api/produits/zero")), 422),
        14 => shot("none", token(Request::get("/nulle/part")), 404),
        15 => shot(
            "/api/magasins/{id}/stock",
            token(Request::get("/api/magasins/3/stock")),
            200,
        ),
        16 => shot(
            "/api/ventes",
            sale("{\"magasin_id\": 1, \"produit_id\": 1, \"quantite\": 1}"),
            201,
        ),
        17 => shot("/api/ventes", sale("{\"magasin_id\": 1}"), 422),
        18 => shot("/api/ventes", token(Request::get("/api/ventes")), 405),
        _ => shot("/sante", Request::get("/sante"), 200),
    }
}

#[test]
fn the_store_at_full_speed() {
    let server = uvicorn_store(&python(), &demo(), 2).unwrap();
    let config = testkit::TempDir::new().unwrap();
    // "/api/produits/zero" is a name by its form. A template says that it is none.
    let file = config
        .write(
            "vigie.yml",
            format!(
                "services:\n  - name: store\n    port: {}\n    routes: ['/api/produits/{{id}}']\n",
                server.port()
            )
            .as_bytes(),
        )
        .unwrap();
    let vigie = vigie_alone(&["--config.file", file.to_str().unwrap()]);
    let kept = closed_loop(server.address(), 4, 5_000, true, store_shot).unwrap();
    let closed = closed_loop(server.address(), 4, 500, false, store_shot).unwrap();
    assert_eq!((kept.len(), closed.len()), (20_000, 2_000));
    compare(&vigie, server.port(), &[&kept, &closed]);
    let scrape = vigie.scrape().unwrap();
    let port = server.port().to_string();
    assert_eq!(
        scrape.sum("http_requests_total", &[("service", "store"), ("port", &port)]),
        22_000.0
    );
}
