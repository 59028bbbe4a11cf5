//! What the clients send: a mix of the contract's paths, methods and statuses.

use testkit::store::NO_HANDLER;
use testkit::{Request, Shot};

const STATUS: &str = "/status/{id}";
const BYTES: &str = "/bytes/{id}";
const SLEEP: &str = "/sleep/{id}";
const ECHO: &str = "/echo";

/// The sizes of bodies that are asked for: within one read or write of any server, and in several.
pub const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// A body that no server reads at once.
const LARGE_BODY: usize = 50_000;

/// Which part of the contract a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// All of it.
    Application,
    /// Files: nothing sleeps, and which methods a path takes is the server's to say.
    Files,
}

// === impl Mix ===

impl Mix {
    /// The request of a thread at an index.
    pub fn shot(self, thread: usize, index: usize) -> Shot {
        // Threads begin at different places of the mix.
        let place = thread * 131 + index;
        match self {
            Self::Application if place % 199 == 50 => shot(SLEEP, Request::get("/sleep/20"), 200),
            Self::Application => mixed(place),
            Self::Files => Shot {
                expected: None,
                ..mixed(place)
            },
        }
    }
}

fn mixed(place: usize) -> Shot {
    match place % 18 {
        // This is the first request of all: a path that has answered nothing but 404 would have no handler.
        0 => status("GET", 200),
        1 => status("GET", 404),
        2 => status("GET", 500),
        3 => status("DELETE", 204),
        4 => shot(STATUS, Request::post("/status/201", *b"{\"new\": true}"), 201),
        5 => status("GET", 503),
        6 => status("PATCH", 422),
        7 => shot(STATUS, Request::get("/status/200?page=1&q=a%20b"), 200),
        8 => bytes("GET", SIZES[0]),
        9 => bytes("GET", SIZES[1]),
        10 => bytes("GET", SIZES[2]),
        11 => bytes("HEAD", SIZES[1]),
        12 => echo(Request::post(ECHO, vec![b'x'; 20])),
        13 => echo(Request::post(ECHO, vec![b'x'; LARGE_BODY])),
        14 => echo(Request::post(ECHO, vec![b'x'; 3_000]).in_chunks_of(1_000)),
        15 => echo(Request::post(ECHO, vec![b'x'; 3_000]).body_apart()),
        16 => echo(Request::put(ECHO, vec![b'x'; 3_000])),
        _ => shot(NO_HANDLER, Request::get("/missing"), 404),
    }
}

fn shot(handler: &'static str, request: Request, expected: u16) -> Shot {
    Shot {
        handler,
        request,
        expected: Some(expected),
    }
}

fn status(method: &str, status: u16) -> Shot {
    shot(STATUS, Request::new(method, format!("/status/{status}")), status)
}

fn bytes(method: &str, size: usize) -> Shot {
    shot(BYTES, Request::new(method, format!("/bytes/{size}")), 200)
}

fn echo(request: Request) -> Shot {
    shot(ECHO, request.header("content-type", "application/octet-stream"), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_sleep() {
        for (threads, each) in [(1, 1000), (16, 62), (128, 7)] {
            let shots = (0..threads).flat_map(|thread| (0..each).map(move |i| Mix::Application.shot(thread, i)));
            let sleeping = shots.filter(|shot| shot.handler == SLEEP).count();
            assert!((1..=20).contains(&sleeping), "{sleeping} with {threads} threads");
        }
        assert!((0..1000).all(|i| Mix::Files.shot(0, i).handler != SLEEP));
    }

    #[test]
    fn the_first_request_shows_that_its_path_exists() {
        let first = Mix::Application.shot(0, 0);
        assert_eq!((first.handler, first.expected), (STATUS, Some(200)));
    }
}
