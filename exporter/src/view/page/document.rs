//! The page.

use std::collections::BTreeMap;

use super::{charts, escape::escape, record::Record, tables};
use crate::view::{
    host,
    work::{Route, Work},
};

const STYLE: &str = include_str!("style.css");

/// The whole page. It asks for nothing: style and plots are in it, and scripts there are none.
pub fn page(record: &Record, source: &str) -> String {
    let routes = record.routes();
    let seconds = record.seconds();
    let mut by_service: BTreeMap<&str, Vec<(&Route, &Work)>> = BTreeMap::new();
    for (route, work) in &routes {
        by_service.entry(&route.service).or_default().push((*route, work));
    }
    let requests_of = |service: &str| {
        let routes = by_service.get(service).into_iter().flatten();
        routes.map(|(_, work)| work.requests()).fold(0.0, |a, b| a + b)
    };
    // The busiest first; those without requests are only named.
    let (mut busy, idle): (Vec<&str>, Vec<&str>) = record
        .services()
        .into_iter()
        .partition(|service| requests_of(service) > 0.0);
    busy.sort_by(|a, b| requests_of(b).total_cmp(&requests_of(a)));

    let name = escape(&host::name());
    let (begin, end) = (
        humantime::format_rfc3339_seconds(record.begin).to_string(),
        humantime::format_rfc3339_seconds(record.end()).to_string(),
    );
    let range = format!(
        "{} {} – {} UTC",
        begin.get(..10).unwrap_or_default(),
        begin.get(11..19).unwrap_or_default(),
        end.get(11..19).unwrap_or_default()
    );
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <link rel=\"icon\" href=\"data:,\">\
         <title>{name}, {range}: Vigie</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
         <header><h1>{name}</h1><p>{range}, {seconds:.1} s</p></header>\n<main>\n"
    );
    html.push_str("<section id=\"host\">\n");
    html.push_str(&tables::signals(&Work::sum(routes.values()), seconds));
    html.push_str(&format!(
        "<div class=\"plots\">{}</div>\n</section>\n",
        charts::of_host(record)
    ));
    let has_phases = routes.values().any(|work| work.phases.is_some());
    for service in &busy {
        let routes = by_service.get(service).map(Vec::as_slice).unwrap_or_default();
        let work = Work::sum(routes.iter().map(|(_, work)| *work));
        html.push_str(&format!(
            "<section class=\"service\" data-service=\"{0}\">\n<h2>{0}</h2>\n",
            escape(service)
        ));
        html.push_str(&tables::signals(&work, seconds));
        if work.phases.is_some() {
            html.push_str(&tables::bar(&work));
        }
        html.push_str(&format!(
            "<div class=\"plots\">{}</div>\n",
            charts::of_service(record, service)
        ));
        html.push_str(&tables::endpoints(routes, seconds));
        let state = record
            .intervals
            .last()
            .and_then(|interval| interval.services.get(*service));
        html.push_str(&state.map(tables::state).unwrap_or_default());
        html.push_str("</section>\n");
    }
    if has_phases {
        html.push_str(&format!("<section>\n<h2>Phases</h2>\n{}</section>\n", tables::legend()));
    }
    if !idle.is_empty() {
        let names: Vec<String> = idle
            .iter()
            .map(|name| format!("<li><code>{}</code></li>", escape(name)))
            .collect();
        html.push_str(&format!(
            "<section>\n<h2>Without requests</h2>\n<ul>{}</ul>\n</section>\n",
            names.concat()
        ));
    }
    if busy.is_empty() {
        html.push_str("<section><p>No request ended in this time.</p></section>\n");
    }
    html.push_str(&format!(
        "<section>\n<h2>What was watched</h2>\n{}</section>\n</main>\n</body></html>\n",
        tables::facts(record, source)
    ));
    html
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, time::Duration};

    use super::*;
    use crate::view::scrape::Scrape;

    /// What a Vigie says that has counted so many requests of each of these handlers.
    fn text(handlers: &[String], count: u64) -> String {
        let mut text = "vigie_build_info{version=\"1\"} 1\n".to_owned();
        for handler in handlers {
            let labels = format!("service=\"a<b>&c\",port=\"80\",method=\"GET\",handler=\"{handler}\"");
            writeln!(text, "http_requests_total{{{labels},status=\"200\"}} {count}").unwrap();
            for bound in ["0.1", "+Inf"] {
                let name = "http_request_duration_seconds_bucket";
                writeln!(text, "{name}{{{labels},status=\"200\",le=\"{bound}\"}} {count}").unwrap();
            }
        }
        text
    }

    fn record(handlers: &[String]) -> Record {
        let mut scrape = Scrape::read(&text(handlers, 1)).unwrap();
        let mut record = Record::new(scrape.clone());
        for count in [3, 7] {
            let read = scrape.read + Duration::from_secs(1);
            scrape = Scrape::read(&text(handlers, count)).unwrap();
            scrape.read = read;
            record.take(scrape.clone());
        }
        record
    }

    #[test]
    fn values_are_never_markup() {
        let page = page(&record(&["/<script>alert(1)</script>".to_owned()]), "own programs");
        assert!(!page.contains("<script") && !page.contains("a<b>"));
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("a&lt;b&gt;&amp;c"));
    }

    #[test]
    fn every_route_has_its_row_and_its_requests() {
        for count in [1, 200] {
            let handlers: Vec<String> = (0..count).map(|number| format!("/{number}")).collect();
            let page = page(&record(&handlers), "own programs");
            assert_eq!(page.matches("<tr data-route=").count(), count);
            assert_eq!(page.matches("<td data-name=\"requests\">6</td>").count(), count);
            let all = format!("<div class=\"tile requests\"><b>{}</b>", 6 * count);
            // Of the host, and of its only service.
            assert_eq!(page.matches(&all).count(), 2);
        }
    }

    #[test]
    fn a_time_without_requests() {
        let page = page(&record(&[]), "own programs");
        assert!(page.contains("No request ended in this time."));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
