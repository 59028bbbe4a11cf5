//! Whether everything is as it has to be at the end.

use super::load::Statuses;
use super::stand::STORE;
use std::collections::BTreeMap;
use testkit::Scrape;

/// Requests of a service by class of status: what alerts stand on.
const BY_CLASS: &str = "service_http_requests_total";

/// What differs between what clients got from the store and what Vigie has counted of it.
pub fn store(answered: &Statuses, scrape: &Scrape, port: u16) -> Vec<String> {
    let mut counted = Statuses::new();
    for ((_, _, status), count) in scrape.requests(port) {
        *counted.entry(status).or_default() += count;
    }
    let mut problems = Vec::new();
    if *answered != counted {
        problems.push(format!(
            "the store: the clients got {answered:?}, Vigie counts {counted:?}"
        ));
    }
    let (expected, seen) = (classes(answered), by_class(scrape));
    if expected != seen {
        problems.push(format!(
            "{BY_CLASS} of the store: the clients got {expected:?}, Vigie counts {seen:?}"
        ));
    }
    problems
}

fn classes(statuses: &Statuses) -> BTreeMap<String, u64> {
    let mut classes = BTreeMap::new();
    for (status, count) in statuses {
        *classes.entry(format!("{}xx", status / 100)).or_default() += count;
    }
    classes
}

/// A class without requests is there, and says 0.
fn by_class(scrape: &Scrape) -> BTreeMap<String, u64> {
    let mut classes = BTreeMap::new();
    for sample in scrape.samples(BY_CLASS) {
        let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
        if label("service") == STORE && sample.value != 0.0 {
            *classes.entry(label("class").to_owned()).or_default() += sample.value as u64;
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::scrape::REQUESTS;

    fn scrape(extra: &str) -> Scrape {
        let text = format!(
            "# TYPE {REQUESTS} counter\n\
            {REQUESTS}{{service=\"store\",port=\"80\",handler=\"/a\",method=\"GET\",status=\"200\"}} 2\n\
            {REQUESTS}{{service=\"store\",port=\"80\",handler=\"/b\",method=\"GET\",status=\"200\"}} 1\n\
            {REQUESTS}{{service=\"store\",port=\"80\",handler=\"none\",method=\"GET\",status=\"404\"}} 4\n\
            # TYPE {BY_CLASS} counter\n\
            {BY_CLASS}{{service=\"store\",class=\"2xx\"}} 3\n\
            {BY_CLASS}{{service=\"store\",class=\"4xx\"}} 4\n\
            {BY_CLASS}{{service=\"store\",class=\"5xx\"}} {extra}\n"
        );
        Scrape::parse(&text).unwrap()
    }

    #[test]
    fn both_families_have_to_agree_with_the_clients() {
        let answered = Statuses::from([(200, 3), (404, 4)]);
        assert_eq!(store(&answered, &scrape("0"), 80), [""; 0]);
        assert!(store(&answered, &scrape("1"), 80)[0].starts_with(BY_CLASS));
        let more = Statuses::from([(200, 4), (404, 4)]);
        assert_eq!(store(&more, &scrape("0"), 80).len(), 2);
    }
}
