//! docs/metrics.md is the catalogue of every metric: no more, no less, with type and labels.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed, as it should"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
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
            let labels = cells[2]
                .split(',')
                .map(|label| label.trim().trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            assert_eq!(cells.len(), 4, "{line}");
            assert!(!cells[3].is_empty(), "{line}");
            catalogue.insert(cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), labels));
        }
    }
    catalogue
}

#[test]
fn the_catalogue_is_true() {
    let address = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if request.starts_with(b"GET /abort") {
                return;
            }
            stream.write_all(OK).unwrap();
        }
    });
    let vigie = vigie(&[]);
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
