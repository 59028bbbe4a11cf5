//! docs/metrics.md is the catalogue of every metric: no more, no less, with type and labels.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use common::{OK, connect, read_request, server, settled_scrape, vigie};

/// Type and labels by name.
type Catalogue = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Catalogue {
    let text = include_str!("../../docs/metrics.md");
    let mut catalogue = Catalogue::new();
    let mut is_metrics = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            is_metrics = false;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0] == "metric" {
            is_metrics = true;
        } else if is_metrics && !cells[0].starts_with("---") {
            if cells.len() == 5 && !is_there(cells[3]) {
                println!("there is no {} here: {}", cells[3], cells[0]);
                continue;
            }
            let labels = cells[2]
                .split(',')
                .map(|label| label.trim().trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            assert!([4, 5].contains(&cells.len()), "{line}");
            assert!(cells.iter().skip(3).all(|cell| !cell.is_empty()), "{line}");
            catalogue.insert(cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), labels));
        }
    }
    catalogue
}

/// Whether this machine has what some metrics tell of. The server that is watched is this process, and so are its cgroups.
fn is_there(what: &str) -> bool {
    match what {
        "a CPU quota" => has_limit(&["cpu.max", "cpu.cfs_quota_us"], |text| {
            !text.starts_with("max") && text.trim() != "-1"
        }),
        "a memory limit" => has_limit(&["memory.max", "memory.limit_in_bytes"], |text| {
            text.trim().parse::<u64>().is_ok_and(|limit| limit < 1 << 62)
        }),
        // At the top it is the host's.
        "pressure of a cgroup" => cgroups()
            .iter()
            .any(|cgroup| fs::read(cgroup.join("cpu.pressure")).is_ok() && cgroup.join("cgroup.events").exists()),
        "pressure of the host" => fs::read("/proc/pressure/cpu").is_ok(),
        "`/proc/schedstat`" => Path::new("/proc/schedstat").exists(),
        "a network speed" => fs::read_dir("/sys/class/net").unwrap().any(|interface| {
            let speed = fs::read_to_string(interface.unwrap().path().join("speed"));
            speed.is_ok_and(|speed| speed.trim().parse::<i64>().is_ok_and(|speed| speed > 0))
        }),
        _ => panic!("how can a test know whether there is {what}?"),
    }
}

/// The directories of this process's cgroups.
fn cgroups() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut found = Vec::new();
    for line in fs::read_to_string("/proc/self/cgroup").unwrap().lines() {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let mount = mounts.lines().find(|mount| {
            if controllers.is_empty() {
                mount.contains(" - cgroup2 ")
            } else {
                mount.contains(" - cgroup ") && mount.ends_with(controllers)
            }
        });
        if let Some(mount) = mount {
            let point = Path::new(mount.split(' ').nth(4).unwrap());
            found.push(point.join(path.trim_start_matches('/')));
        }
    }
    found
}

/// Whether one of this process's cgroups, or one around it, has a limit in one of these files.
fn has_limit(names: &[&str], is_limit: impl Fn(&str) -> bool) -> bool {
    let cgroups = cgroups();
    let mut directories = cgroups.iter().flat_map(|cgroup| cgroup.ancestors());
    directories.any(|directory| {
        let mut files = names.iter().map(|name| fs::read_to_string(directory.join(name)));
        files.any(|text| text.is_ok_and(|text| is_limit(&text)))
    })
}

#[test]
fn the_catalogue_is_true() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if request.starts_with(b"GET /abort") {
                return;
            }
            let is_http = request.starts_with(b"GET ");
            stream.write_all(if is_http { OK } else { b"no" }).unwrap();
        }
    });
    let vigie = vigie(&[]);
    let mut other = connect(address);
    other.write_all(b"hello\r\n").unwrap();
    let _ = read_request(&mut other);
    for path in ["/", "/abort"] {
        let mut stream = connect(address);
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap();
        let _ = read_request(&mut stream);
    }
    let scrape = settled_scrape(&vigie, |scrape| scrape.family("http_requests_aborted_total").is_some());
    let mut seen = Catalogue::new();
    for family in scrape.families() {
        assert!(family.help.ends_with('.'), "{}: {}", family.name, family.help);
        let kind = format!("{:?}", family.kind).to_lowercase();
        let mut labels = BTreeSet::new();
        for suffix in ["", "_bucket", "_sum", "_count"] {
            for sample in scrape.samples(&format!("{}{suffix}", family.name)) {
                labels.extend(sample.labels.keys().filter(|label| *label != "le").cloned());
            }
        }
        seen.insert(family.name.clone(), (kind, labels));
    }
    assert_eq!(seen, documented());
}
