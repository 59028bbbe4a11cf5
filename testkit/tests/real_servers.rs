//! The testkit against real servers. Run with `cargo test -p testkit -- --ignored`.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use testkit::{Request, Shot, closed_loop, nginx, python_app, run_stages, store, uvicorn_store};

fn shot(path: String, handler: &'static str, expected: u16) -> Shot {
    Shot {
        handler,
        request: Request::get(path),
        expected: Some(expected),
    }
}

/// The interpreter of an environment that has the demo's requirements.
fn store_python() -> PathBuf {
    let Some(python) = env::var_os("STORE_PYTHON") else {
        panic!("STORE_PYTHON must be the path of a python that has demo/requirements.txt");
    };
    python.into()
}

fn demo_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}

#[test]
#[ignore = "needs nginx"]
fn nginx_answers_every_status_and_file() {
    let files: [(&str, &[u8]); 2] = [("index.html", b"home"), ("sub/big", &[b'x'; 300_000])];
    let server = nginx(&files, "location /extra { return 200 more; }", 1).unwrap();
    let mut client = server.connect().unwrap();
    for status in testkit::servers::STATUSES {
        let response = client.send(&Request::get(format!("/status/{status}"))).unwrap();
        assert_eq!(response.status, status);
        assert!(client.is_open(), "{status}");
    }
    assert_eq!(client.send(&Request::get("/")).unwrap().text(), "home");
    assert_eq!(client.send(&Request::get("/sub/big")).unwrap().body.len(), 300_000);
    assert_eq!(
        client
            .send(&Request::new("HEAD", "/sub/big"))
            .unwrap()
            .header("content-length"),
        Some("300000")
    );
    assert_eq!(client.send(&Request::get("/extra")).unwrap().text(), "more");
    assert_eq!(client.send(&Request::get("/absent")).unwrap().status, 404);
}

#[test]
#[ignore = "needs nginx; a measurement"]
fn closed_loop_against_nginx() {
    for (threads, keep_alive, per_thread) in [(1, true, 10_000), (2, true, 10_000), (2, false, 5_000)] {
        let server = nginx(&[("index.html", b"home")], "", 1).unwrap();
        let records = closed_loop(server.address(), threads, per_thread, keep_alive, |_, index| {
            match index % 10 {
                0 => shot("/status/404".to_owned(), "not found", 404),
                _ => shot("/".to_owned(), "home", 200),
            }
        })
        .unwrap();
        assert_eq!(records.len(), threads * per_thread);
        assert!(records.unexpected().is_empty());
        eprintln!(
            "{threads} threads, keep-alive {keep_alive}: {:.0} requests/s, mean {:.1} µs, p95 {:.1} µs",
            records.len() as f64 / records.elapsed(),
            records.mean("home").unwrap() * 1e6,
            records.quantile("home", 0.95).unwrap() * 1e6,
        );
    }
}

#[test]
#[ignore = "needs STORE_PYTHON"]
fn the_store_answers_as_expected() {
    for workers in [1, 2] {
        let server = uvicorn_store(&store_python(), &demo_dir(), workers).unwrap();
        let stages = [2, 5, 10].map(|users| (users, Duration::from_secs(2)));
        let stop = AtomicBool::new(false);
        let records = run_stages(
            server.address(),
            &stages,
            store::THINK,
            &stop,
            store::store_shot,
            |_, _, _| {},
        );
        for ((handler, method, status), count) in records.counts() {
            eprintln!("{count:5} {method} {handler} {status}");
        }
        assert!(records.unexpected().is_empty(), "{:?}", records.unexpected());
        eprintln!(
            "{workers} workers: {} requests in {:.2} s",
            records.len(),
            records.elapsed()
        );
    }
}

#[test]
#[ignore = "needs STORE_PYTHON"]
fn a_python_script_gets_its_port_and_arguments() {
    let script = "
import sys, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";
    let server = python_app(&store_python(), script, &["argument"]).unwrap();
    assert_eq!(
        server.connect().unwrap().send(&Request::get("/")).unwrap().text(),
        "argument"
    );
    let error = python_app(&store_python(), "raise SystemExit('no reason')", &[]).unwrap_err();
    assert!(error.to_string().contains("no reason"));
}
