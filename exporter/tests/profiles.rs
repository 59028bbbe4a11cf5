//! The metric profiles beside the libraries whose names they have: the same requests, the same families, labels and counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should, and what it prints helps to see why"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use common::{connect, vigie};
use testkit::{Record, Request, Sched, Scrape, Server, Shot, TempDir, free_port, scrape::Kind, shared_loop};

/// The applications.
const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/profiles");
/// A comparison of times is right if one of so many runs is: a process can be stopped at any time on a virtual machine.
const RUNS: usize = 3;
/// How many clients send at once, and how often each sends every request.
const CLIENTS: usize = 6;
const ROUNDS: usize = 2;
/// How long a client waits that leaves before it is answered.
const PATIENCE: Duration = Duration::from_millis(170);
/// For how long their requests go on in the application, at the most.
const AFTERWARDS: Duration = Duration::from_millis(2500);
/// How many clients leave so.
const LEAVING: usize = 4;
/// How much later than Vigie a library may be done with a request, in the mean: it counts after its last byte was sent, and may have to
/// wait for a CPU before it does.
const LATE: f64 = 0.002;

/// A library, and what is different with it.
struct Library {
    profile: &'static str,
    /// Its families of requests, all of them.
    families: &'static [&'static str],
    /// What its other families' names begin or end with: those of the process, which cannot be had from outside, and
    /// those that `docs/profiles.md` says are not there.
    others: &'static [&'static str],
    /// The labels of a histogram that say what `Shot::handler` and the method are.
    route: [&'static str; 2],
    /// How an application that uses it is started on a port.
    command: fn(u16) -> Command,
    /// Where its metrics are.
    metrics: &'static str,
    /// What it has as its route for a handler: a template, or a path that nothing is at.
    name: fn(&str) -> String,
    /// What the same requests are answered by its application.
    options: u16,
    propfind: u16,
    /// Requests that only this application gets.
    own: &'static [(&'static str, &'static str, &'static str, u16)],
}

const FASTAPI: Library = Library {
    profile: "fastapi",
    families: &[
        "http_requests_total",
        "http_request_size_bytes",
        "http_response_size_bytes",
        "http_request_duration_highr_seconds",
        "http_request_duration_seconds",
    ],
    others: &["python_", "process_", "_created"],
    route: ["handler", "method"],
    command: |port| uvicorn(port, "with_instrumentator:app"),
    metrics: "/metrics",
    name: |handler| {
        if handler.ends_with('!') {
            "none".to_owned()
        } else {
            handler.to_owned()
        }
    },
    options: 405,
    propfind: 405,
    own: &[("GET", "/items/abc", "/items/{item_id}", 422)],
};

const OTEL: Library = Library {
    profile: "otel",
    families: &["http_server_request_duration_seconds"],
    others: &[
        "python_",
        "process_",
        "target_info",
        "http_server_active_requests",
        "_body_size_bytes",
    ],
    route: ["http_route", "http_request_method"],
    command: |port| {
        let mut command = uvicorn(port, "with_opentelemetry:app");
        command.env("OTEL_SEMCONV_STABILITY_OPT_IN", "http");
        command
    },
    metrics: "/metrics/",
    name: |handler| {
        if handler.ends_with('!') {
            String::new()
        } else {
            handler.to_owned()
        }
    },
    options: 405,
    propfind: 405,
    own: &[("GET", "/items/abc", "/items/{item_id}", 422)],
};

const EXPRESS: Library = Library {
    profile: "express",
    families: &["http_request_duration_seconds"],
    others: &["up"],
    route: ["path", "method"],
    command: |port| {
        let directory = std::env::var_os("VIGIE_PROFILES_EXPRESS").expect("run the tests with 'cargo xtask test'");
        let mut command = Command::new("node");
        command
            .arg("server.js")
            .current_dir(directory)
            .env("PORT", port.to_string());
        command
    },
    metrics: "/metrics",
    name: |handler| handler.replace("{item_id}", "#val").replace('!', ""),
    options: 200,
    propfind: 404,
    own: &[
        ("GET", "/items/7/", "/items/{item_id}", 200),
        ("GET", "//items//7", "/items/{item_id}", 404),
        ("GET", "/at/2024-01-02/abcdefa", "/at/#val/#val", 200),
        ("GET", "/at/-5/word", "/at/#val/word", 200),
    ],
};

fn uvicorn(port: u16, app: &str) -> Command {
    let python = std::env::var_os("VIGIE_PROFILES_PYTHON").expect("run the tests with 'cargo xtask test'");
    let mut command = Command::new(PathBuf::from(python));
    command
        .args(["-m", "uvicorn", app, "--no-access-log", "--app-dir", APPLICATIONS])
        .args(["--port", &port.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The labels of a sample that are compared. Not those that only one side has: which service it is and where, which library
/// has counted, and the version of HTTP, which Vigie does not tell apart.
type Labels = BTreeMap<String, String>;

fn labels(sample: &testkit::scrape::Sample) -> Labels {
    let is_compared = |name: &str| {
        !["service", "port", "network_protocol_version"].contains(&name) && !name.starts_with("otel_scope_")
    };
    let all = sample
        .labels
        .iter()
        .filter(|(name, value)| is_compared(name) && !value.is_empty());
    all.map(|(name, value)| match name.as_str() {
        // The same number, however it is written.
        "le" => (name.clone(), format!("{:?}", value.parse::<f64>().unwrap())),
        _ => (name.clone(), value.clone()),
    })
    .collect()
}

/// All samples of a family: name with suffix, labels, value.
fn samples(scrape: &Scrape, family: &str, filter: &[(&str, &str)]) -> BTreeMap<(String, Labels), f64> {
    let names = ["", "_bucket", "_count", "_sum"].map(|suffix| format!("{family}{suffix}"));
    let has = |sample: &testkit::scrape::Sample| {
        let mut pairs = filter.iter();
        pairs.all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value))
    };
    names
        .iter()
        .flat_map(|name| scrape.samples(name))
        .filter(|sample| has(sample))
        .map(|sample| ((sample.name.clone(), labels(sample)), sample.value))
        .collect()
}

fn shot(method: &str, path: &str, handler: &'static str, status: u16) -> Shot {
    Shot {
        handler,
        request: Request::new(method, path),
        expected: Some(status),
    }
}

/// What is sent, as often on connections that are kept as each client has rounds.
fn shots(library: &Library) -> Vec<Shot> {
    let json = |request: Request| request.header("content-type", "application/json");
    let body = br#"{"a": 1, "b": 2}"#;
    let mut shots = vec![
        shot("GET", "/items/7", "/items/{item_id}", 200),
        shot("GET", "/items/8?with=query", "/items/{item_id}", 200),
        shot("GET", "/items/500", "/items/{item_id}", 404),
        shot("DELETE", "/items/9", "/items/{item_id}", 204),
        shot("OPTIONS", "/items/7", "/items/{item_id}", library.options),
        shot("PROPFIND", "/items/7", "/items/{item_id}", library.propfind),
        shot("GET", "/refused", "/refused", 403),
        shot("GET", "/moved", "/moved", 302),
        shot("GET", "/busy", "/busy", 503),
        shot("GET", "/slow", "/slow", 200),
        shot("GET", "/slower", "/slower", 200),
        shot("GET", "/stream", "/stream", 200),
        shot("GET", "/head", "/head", 200),
        shot("HEAD", "/head", "/head", 200),
        // Nothing is there: marked.
        shot("GET", "/nowhere", "/nowhere!", 404),
        shot("GET", "/.env", "/.env!", 404),
        Shot {
            request: json(Request::post("/items", body)),
            ..shot("POST", "", "/items", 201)
        },
        Shot {
            request: json(Request::put("/items", body).in_chunks_of(5)),
            ..shot("PUT", "", "/items", 200)
        },
    ];
    let own = library.own.iter();
    shots.extend(own.map(|(method, path, handler, status)| shot(method, path, handler, *status)));
    shots
}

/// Both sides after the same requests.
struct Run {
    /// What the library says.
    library: Scrape,
    /// What Vigie says.
    vigie: Scrape,
    /// What the clients know.
    records: Vec<Record>,
    /// How many seconds the application's threads waited for a CPU meanwhile.
    waited: f64,
    port: String,
}

impl Library {
    /// Sends everything to an application that nobody has asked before.
    fn run(&self) -> Run {
        let port = free_port().unwrap();
        let dir = TempDir::new().unwrap();
        let mut config = format!("profile: {}\nservices:\n  - {{name: shop, port: {port}", self.profile);
        if self.profile != "express" {
            // The library has the templates of the application, and so has Vigie.
            config.push_str(", routes: [\"/items/{item_id}\"]");
        }
        config.push_str("}\n");
        let config = dir.write("vigie.yml", config.as_bytes()).unwrap();
        let vigie = vigie(&["--config.file", config.to_str().unwrap()]);
        let server = Server::start((self.command)(port), TempDir::new().unwrap(), port).unwrap();
        server.wait_ready().unwrap();
        let waited = || Sched::of_process(server.pid()).unwrap().waited().as_secs_f64();
        let before = waited();

        let shots = shots(self);
        let next = |_: usize, index: usize| Some(shots[index % shots.len()].clone());
        let mut records = shared_loop(server.address(), CLIENTS, CLIENTS * ROUNDS * shots.len(), true, next).unwrap();
        // Each on a connection of its own: some servers close it after an error, without saying so before.
        let mut closing = shots.clone();
        closing.extend([shot("GET", "/boom", "/boom", 500), shot("GET", "/boom", "/boom", 500)]);
        let next = |_: usize, index: usize| Some(closing[index % closing.len()].clone());
        let more = shared_loop(server.address(), CLIENTS, CLIENTS * closing.len(), false, next).unwrap();
        records.list.extend(more.list);
        let unexpected = records.unexpected();
        assert!(unexpected.is_empty(), "{}: {:#?}", self.profile, &unexpected[..1]);
        if self.profile == "express" {
            self.leave(&server);
        }

        let port = port.to_string();
        let total = records.len() + if self.profile == "express" { LEAVING } else { 0 };
        let seen = |scrape: &Scrape| {
            let family = self.families[0];
            let name = if family.ends_with("_total") {
                family.to_owned()
            } else {
                format!("{family}_count")
            };
            scrape.sum(&name, &[("port", &port)])
        };
        let scrape = vigie.settled(|scrape| seen(scrape) >= total as f64).unwrap();
        let run = Run {
            library: self.metrics(&server),
            vigie: scrape,
            records: records.list,
            waited: waited() - before,
            port,
        };
        if self.profile != "express" {
            self.check_leaving(&server, &vigie, &run.port);
        }
        assert_eq!(common::lost(&run.vigie), 0.0, "{}", run.vigie.lost_text());
        run
    }

    fn metrics(&self, server: &Server) -> Scrape {
        let response = server.connect().unwrap().send(&Request::get(self.metrics)).unwrap();
        assert_eq!(response.status, 200);
        Scrape::parse(&String::from_utf8(response.body).unwrap()).unwrap()
    }

    /// Clients that do not wait.
    fn leave(&self, server: &Server) {
        let clients: Vec<_> = (0..LEAVING)
            .map(|_| {
                let mut client = connect(server.address());
                std::io::Write::write_all(&mut client, b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                client
            })
            .collect();
        thread::sleep(PATIENCE);
        drop(clients);
        // The application goes on, and notices or not.
        thread::sleep(AFTERWARDS);
    }

    /// An application under uvicorn is not told that a client has left: what it would have answered is what these libraries count. From
    /// outside there is no answer.
    fn check_leaving(&self, server: &Server, vigie: &testkit::Vigie, port: &str) {
        self.leave(server);
        let leaving = LEAVING as f64;
        let aborted = [("port", port), ("handler", "/left"), ("method", "GET")];
        let aborted = ("http_requests_aborted_total", aborted);
        // It is only known as a path that was never answered.
        let none = [("port", port), ("handler", "none"), ("method", "GET")];
        let count = |scrape: &Scrape| scrape.sum(aborted.0, &aborted.1) + scrape.sum(aborted.0, &none);
        let scrape = vigie.settled(|scrape| count(scrape) >= leaving).unwrap();
        assert_eq!(count(&scrape), leaving, "{}", self.profile);
        let library = self.metrics(server);
        match self.profile {
            "fastapi" => {
                let labels = [("handler", "/left"), ("status", "2xx")];
                assert_eq!(library.sum("http_requests_total", &labels), leaving);
                assert_eq!(
                    scrape.sum("http_requests_total", &[("port", port), ("handler", "/left")]),
                    0.0
                );
            }
            _ => {
                let name = "http_server_request_duration_seconds_count";
                let labels = [("http_route", "/left"), ("http_response_status_code", "200")];
                assert_eq!(library.sum(name, &labels), leaving);
                let labels = [
                    ("port", port),
                    ("error_type", "aborted"),
                    ("http_response_status_code", ""),
                ];
                assert_eq!(scrape.sum(name, &labels), leaving);
            }
        }
    }

    /// The families of the library, and of what kind they are, are those of the profile.
    fn check_families(&self, run: &Run) {
        let is_other = |name: &str| {
            self.others
                .iter()
                .any(|other| name.starts_with(other) || name.ends_with(other))
        };
        let kinds = |scrape: &Scrape| -> BTreeMap<String, Kind> {
            let families = scrape.families().iter();
            families.map(|family| (family.name.clone(), family.kind)).collect()
        };
        let (library, vigie) = (kinds(&run.library), kinds(&run.vigie));
        let requests: BTreeSet<&str> = library
            .keys()
            .map(String::as_str)
            .filter(|name| !is_other(name))
            .collect();
        assert_eq!(requests, self.families.iter().copied().collect(), "{}", self.profile);
        for name in self.families {
            assert_eq!(library[*name], vigie[*name], "{}: {name}", self.profile);
        }
        // None of Vigie's own names is left that one of the profile stands for.
        for name in [
            "http_requests_total",
            "http_request_size_bytes",
            "http_request_duration_seconds",
        ] {
            assert_eq!(
                vigie.contains_key(name),
                self.families.contains(&name),
                "{}: {name}",
                self.profile
            );
        }
    }

    /// All counts are equal, whatever happens. What is wrong with the times is the result.
    fn compare(&self, run: &Run) -> String {
        self.check_families(run);
        let mut wrong = String::new();
        for family in self.families {
            let (library, vigie) = (
                self.as_refused(samples(&run.library, family, &[])),
                samples(&run.vigie, family, &[("port", &run.port)]),
            );
            let keys = |samples: &BTreeMap<(String, Labels), f64>| samples.keys().cloned().collect::<BTreeSet<_>>();
            let (left, right) = (keys(&library), keys(&vigie));
            let only = |one: &BTreeSet<_>, other: &BTreeSet<_>| one.difference(other).cloned().collect::<Vec<_>>();
            assert_eq!(
                (only(&left, &right), only(&right, &left)),
                (vec![], vec![]),
                "{}: {family}: what only the library has, and what only Vigie has",
                self.profile
            );
            for ((name, labels), value) in &library {
                let found = vigie[&(name.clone(), labels.clone())];
                if name.ends_with("_bucket") && labels["le"] != "inf" {
                    if found != *value {
                        writeln!(wrong, "{name}{labels:?}: {value}, Vigie {found}").unwrap();
                    }
                } else if name.ends_with("_bytes_sum") {
                    // Lengths of bodies there, also of that which no answer to HEAD has; here what was sent, heads included.
                    let has_bodies = labels["handler"] != "/head";
                    assert!(
                        found > *value || !has_bodies,
                        "{name}{labels:?}: {value}, Vigie {found}"
                    );
                } else if !name.ends_with("_sum") {
                    assert_eq!(found, *value, "{name}{labels:?}");
                }
            }
        }
        self.compare_sums(run, &mut wrong);
        wrong
    }

    /// Each route's time is between what the library and what the clients have measured.
    fn compare_sums(&self, run: &Run, wrong: &mut String) {
        let family = self.families[self.families.len() - 1];
        let mut clients = BTreeMap::<[String; 2], (f64, f64)>::new();
        for record in &run.records {
            let (count, sum) = clients
                .entry([(self.name)(record.handler), self.method(&record.method)])
                .or_default();
            *count += 1.0;
            *sum += record.seconds();
        }
        for (key, (count, client)) in clients {
            let route = [(self.route[0], key[0].as_str()), (self.route[1], key[1].as_str())];
            let on_port = [route[0], route[1], ("port", &run.port)];
            let value =
                |scrape: &Scrape, what: &str, labels: &[(&str, &str)]| scrape.sum(&format!("{family}_{what}"), labels);
            assert_eq!(
                value(&run.vigie, "count", &on_port),
                count,
                "{}: {route:?}",
                self.profile
            );
            let (library, vigie) = (value(&run.library, "sum", &route), value(&run.vigie, "sum", &on_port));
            if vigie > client || vigie < library - LATE * count - run.waited {
                writeln!(wrong, "{route:?}: library {library}, Vigie {vigie}, clients {client}").unwrap();
            }
        }
    }

    /// The samples of the library with those methods taken together that the application refuses: Vigie counts these under one name.
    fn as_refused(&self, samples: BTreeMap<(String, Labels), f64>) -> BTreeMap<(String, Labels), f64> {
        let mut all = BTreeMap::new();
        for ((name, mut labels), value) in samples {
            for label in ["method", "http_request_method"] {
                if let Some(method) = labels.get_mut(label) {
                    *method = self.method(method);
                }
            }
            *all.entry((name, labels)).or_default() += value;
        }
        all
    }

    fn method(&self, method: &str) -> String {
        let refused = [("OPTIONS", self.options), ("PROPFIND", self.propfind)];
        match refused.contains(&(method, 405)) {
            true => "_OTHER".to_owned(),
            false => method.to_owned(),
        }
    }

    fn check(&self) {
        let mut all = Vec::new();
        for _ in 0..RUNS {
            let run = self.run();
            let wrong = self.compare(&run);
            if wrong.is_empty() {
                println!("{}: {} requests, all counts are equal", self.profile, run.records.len());
                return;
            }
            all.push(wrong);
        }
        panic!("{}: times are wrong in all runs:\n{}", self.profile, all.join("\n"));
    }
}

#[test]
fn fastapi_is_what_the_instrumentator_says() {
    FASTAPI.check();
}

#[test]
fn express_is_what_the_bundle_says() {
    EXPRESS.check();
}

#[test]
fn otel_is_what_the_instrumentation_says() {
    OTEL.check();
}
