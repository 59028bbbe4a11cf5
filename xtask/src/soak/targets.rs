//! The servers under load, and what can be asked of each.

use crate::paths;
use crate::setup::Tools;
use anyhow::Result;
use testkit::store::{self, store_shot};
use testkit::{Random, Request, Server, Shot, nginx, python_app, uvicorn_store};

/// A path that is its own handler.
pub type Path = &'static str;

/// A server.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    pub server: Server,
    /// A request that is answered in full.
    pub shot: fn(&mut Random) -> Shot,
    /// How many requests at random have every kind among them.
    pub kinds: usize,
    /// A path for requests whose clients leave behind them. Nothing else asks for it.
    pub abandoned: Path,
    /// A path with a long answer, for requests whose clients leave within it. Nothing else asks for it.
    pub cut: Option<Path>,
    /// Whether it takes half a request line for a request when the client closes behind it.
    pub guesses: bool,
}

/// One thread for each connection, as many small servers have it.
const SCRIPT: &str = r#"
import http.server, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path.startswith("/items/"):
            self.answer(200, b"item\n")
        elif self.path == "/slow":
            time.sleep(0.03)
            self.answer(200, b"slow\n")
        elif self.path == "/abandoned":
            time.sleep(0.005)
            self.answer(200, b"nobody reads this\n")
        elif self.path in ("/chunks", "/cut"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"400\r\n" + b"c" * 1024 + b"\r\n")
                time.sleep(0.001)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(404, b"")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, b"made\n")
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    def handle_error(self, request, address):
        pass
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// Starts them all.
pub fn start(tools: &Tools) -> Result<Vec<Target>> {
    let page = vec![b'p'; 40_000];
    let cut = vec![b'c'; 4_000_000];
    let files: [(&str, &[u8]); 3] = [("small.txt", b"hello\n"), ("page.html", &page), ("cut.bin", &cut)];
    Ok(vec![
        Target {
            name: "nginx",
            server: nginx(&files, "location = /abandoned { return 200 \"ok\\n\"; }", 2)?,
            shot: static_shot,
            kinds: 200,
            abandoned: "/abandoned",
            cut: Some("/cut.bin"),
            guesses: false,
        },
        Target {
            name: "the store",
            server: uvicorn_store(&tools.python, &paths::root()?.join("demo"), 1)?,
            shot: store_shot,
            kinds: 600,
            abandoned: "/sante",
            cut: None,
            guesses: false,
        },
        Target {
            name: "a Python server",
            server: python_app(&tools.python, SCRIPT, &[])?,
            shot: script_shot,
            kinds: 200,
            abandoned: "/abandoned",
            cut: Some("/cut"),
            guesses: true,
        },
    ])
}

fn shot(handler: Path, request: Request, status: u16) -> Shot {
    Shot {
        handler,
        request,
        expected: Some(status),
    }
}

fn static_shot(random: &mut Random) -> Shot {
    match random.below(8) {
        0..3 => shot("/small.txt", Request::get("/small.txt"), 200),
        3 => shot("/small.txt", Request::new("HEAD", "/small.txt"), 200),
        4 => shot("/page.html", Request::get("/page.html?a=1"), 200),
        5 => shot("/status/{id}", Request::get("/status/503"), 503),
        6 => shot("/small.txt", Request::post("/small.txt", vec![b'x'; 3000]), 405),
        _ => shot(store::NO_HANDLER, Request::get("/missing"), 404),
    }
}

fn script_shot(random: &mut Random) -> Shot {
    match random.below(6) {
        0..2 => shot(
            "/items/{id}",
            Request::get(format!("/items/{}", random.below(1_000_000))),
            200,
        ),
        2 => shot("/slow", Request::get("/slow"), 200),
        3 => shot("/chunks", Request::get("/chunks"), 200),
        4 => shot("/items", Request::post("/items", vec![b'x'; 20_000]), 201),
        _ => shot(store::NO_HANDLER, Request::get("/missing"), 404),
    }
}
