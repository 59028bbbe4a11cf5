use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Objectives, String> {
    Objectives::parse(text, "slo.yml", &Config::default()).map_err(|error| error.to_string())
}

fn error(text: &str) -> String {
    let line = parse(text).unwrap_err();
    assert!(!line.contains('\n') && line.len() < 400, "{line}");
    line
}

#[test]
fn reads_everything() {
    let text = r"
period: 28d
min_failures: 10
runbooks: https://example.org/runbooks/
labels: {team: shop}
slos:
  - service: store
    name: availability
    objective: 99.95
    errors: '5..|429'
    match: {service: 'store|shop.*', job: vigie}
  - {service: store, name: fast, objective: 95, faster_than: 250ms}
";
    let objectives = parse(text).unwrap();
    assert_eq!((objectives.period_days, objectives.min_failures), (28, 10));
    assert_eq!(objectives.runbooks, "https://example.org/runbooks");
    assert_eq!(objectives.labels["team"], "shop");
    let [one, two] = objectives.slos.as_slice() else {
        panic!("{objectives:?}");
    };
    assert_eq!((one.ratio(), one.budget(), one.percent()), (0.9995, 0.0005, 99.95));
    assert_eq!(one.bad, Bad::Status("5..|429".to_owned()));
    assert_eq!(one.selector, r#"job=~"vigie",service=~"store|shop.*""#);
    assert_eq!(one.source, Source::Routes);
    assert_eq!(two.bad, Bad::Slower("0.25".to_owned()));
    assert_eq!(
        (two.selector.as_str(), two.id().as_str()),
        (r#"service="store""#, "store-fast")
    );
}

#[test]
fn statuses_are_classes_if_the_pattern_is_made_of_whole_ones() {
    for (pattern, expected) in [
        ("5..", Some(vec!["5xx"])),
        ("5[0-9]{2}", Some(vec!["5xx"])),
        ("[45]..", Some(vec!["4xx", "5xx"])),
        ("4..|5..", Some(vec!["4xx", "5xx"])),
        ("[^23]..", Some(vec!["1xx", "4xx", "5xx"])),
        ("...", Some(vec!["1xx", "2xx", "3xx", "4xx", "5xx"])),
        ("5.*", Some(vec!["5xx"])),
        // Prometheus anchors a pattern: neither is 5 the beginning of a status, nor are these alternatives half free.
        ("5", None),
        ("5..|429", None),
        ("50[0-9]", None),
        ("500|5..", Some(vec!["5xx"])),
        ("5..|9..", Some(vec!["5xx"])),
        ("none", None),
    ] {
        assert_eq!(classes(pattern), expected, "{pattern}");
    }
}

#[test]
fn what_only_routes_know_is_asked_of_routes() {
    let of_services = |classes: &[&'static str]| Source::Services {
        classes: classes.to_vec(),
    };
    for (what, expected) in [
        ("errors: 5..", of_services(&["5xx"])),
        ("errors: '[45]..'", of_services(&["4xx", "5xx"])),
        ("errors: '5..|429'", Source::Routes),
        ("faster_than: 2s", of_services(&[])),
        (
            "errors: 5.., match: {service: 'a|b', container: c, namespace: d, pod: e, job: f, instance: g, cluster: h}",
            of_services(&["5xx"]),
        ),
        ("faster_than: 2s, match: {namespace: d}", of_services(&[])),
        ("errors: 5.., match: {handler: /a}", Source::Routes),
        ("errors: 5.., match: {method: GET}", Source::Routes),
        ("faster_than: 2s, match: {port: '80'}", Source::Routes),
    ] {
        let text = format!("slos: [{{service: a, name: b, objective: 95, {what}}}]");
        assert_eq!(parse(&text).unwrap().slos[0].source, expected, "{what}");
    }
}

#[test]
fn a_namespace_is_known_if_there_is_one() {
    for (pattern, expected) in [
        ("shop", Some("shop")),
        ("shop-2", Some("shop-2")),
        ("shop|test", None),
        ("shop.*", None),
    ] {
        let text =
            format!("slos: [{{service: a, name: b, objective: 95, errors: 5.., match: {{namespace: '{pattern}'}}}}]");
        assert_eq!(
            parse(&text).unwrap().slos[0].namespace.as_deref(),
            expected,
            "{pattern}"
        );
    }
}

#[test]
fn thresholds_are_bounds() {
    let with = |threshold: &str, buckets: &Buckets| {
        let text = format!("slos: [{{service: a, name: b, objective: 95, faster_than: {threshold}}}]");
        let vigie = Config {
            buckets: buckets.clone(),
            ..Config::default()
        };
        Objectives::parse(&text, "slo.yml", &vigie).map(|objectives| objectives.slos[0].bad.clone())
    };
    let default = Buckets::default();
    for (threshold, le) in [
        ("2s", "2.0"),
        ("2", "2.0"),
        ("2000ms", "2.0"),
        ("5s", "5.0"),
        ("0.5ms", "0.0005"),
        ("10s", "10.0"),
    ] {
        assert_eq!(
            with(threshold, &default).unwrap(),
            Bad::Slower(le.to_owned()),
            "{threshold}"
        );
    }
    assert_eq!(
        with("3s", &default).unwrap_err().to_string(),
        "slo.yml:1:58: faster_than \"3s\" is no bound of the latency buckets: use one of 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, \
         0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, or add it to buckets and give that file with --config.file"
    );
    let own = Config::parse("buckets: [0.1, 3]", "x").unwrap().buckets;
    assert_eq!(with("3s", &own).unwrap(), Bad::Slower("3.0".to_owned()));
    assert!(with("2s", &own).is_err());
}

#[test]
fn says_where_and_what_to_do() {
    for (text, expected) in [
        ("", "slo.yml:1:1: "),
        ("slos: []", "slo.yml:1:7: slos is empty: give at least one objective"),
        (
            "slos:\n- {service: a, name: b, objective: 99.9}",
            "slo.yml:2:22: objective \"b\" does not say what is bad: add errors: '5..', or faster_than: 2s",
        ),
        (
            "slos:\n- {service: a, name: b, objective: 99.9, errors: 5.., faster_than: 2s}",
            "slo.yml:2:68: an objective with both errors and faster_than: make two objectives of it",
        ),
        (
            "slos:\n- {service: a, name: b, objective: 100, errors: 5..}",
            "slo.yml:2:36: objective 100 is not between 0 and 100: give a percentage such as 99.9",
        ),
        (
            "slos:\n- {service: a, name: b, objective: 99.99999999, errors: 5..}",
            "slo.yml:2:36: objective 99.99999999 is too exact: use at most 6 decimals",
        ),
        (
            "slos:\n- {service: a, name: b, objective: .nan, errors: 5..}",
            "slo.yml:2:36: objective NaN is not between 0 and 100: give a percentage such as 99.9",
        ),
        (
            "slos:\n- {service: a, name: b c, objective: 99, errors: 5..}",
            "slo.yml:2:22: bad name \"b c\": use 1 to 64 letters, digits, '-', '_' and '.'",
        ),
        (
            "slos:\n- {service: a, name: b, objective: 99, errors: '5(.'}",
            "slo.yml:2:48: bad regex \"5(.\", unclosed group: fix it, or escape the special characters with '\\'",
        ),
        (
            "slos:\n- {service: a, name: b, objective: 99, errors: 5.., match: {le: a}}",
            "slo.yml:2:65: match has a label \"le\": use labels of requests, such as service, handler, method, port, namespace, job",
        ),
        (
            "labels: {severity: high}\nslos: [{service: a, name: b, objective: 99, errors: 5..}]",
            "slo.yml:1:20: labels has a label \"severity\": use letters, digits and '_', and no label that the rules set themselves",
        ),
        (
            "period: 7d\nslos: [{service: a, name: b, objective: 99, errors: 5..}]",
            "slo.yml:1:9: period \"7d\" is no number of days that will do: use 28d to 92d, such as 30d",
        ),
        (
            "slos:\n- &a {service: a, name: b, objective: 99, errors: 5..}\n- {service: a, name: b, objective: 98, errors: 5..}",
            "slo.yml:3:22: a second objective \"a-b\": give each of a service's another name",
        ),
        (
            "min_failures: 0\nslos: [{service: a, name: b, objective: 99, errors: 5..}]",
            "slo.yml:1:15: min_failures is out of range: use 1 to 1000000",
        ),
        (
            "objectives: []",
            "slo.yml:1:1: unknown key \"objectives\": known keys: period, min_failures, runbooks, labels, slos",
        ),
    ] {
        let line = error(text);
        assert!(line.starts_with(expected), "{text:?} => {line}");
    }
}

#[test]
fn a_missing_file_is_named_with_its_flag() {
    let error = Objectives::load(Path::new("/no/such/slo.yml"), &Config::default()).unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with("/no/such/slo.yml: cannot read") && line.contains("given to --config and"),
        "{line}"
    );
}

proptest! {
    #[test]
    fn percentages_are_exact(millionths in 1_u32..100_000_000) {
        let text = format!("slos: [{{service: a, name: b, objective: {}, errors: 5..}}]", f64::from(millionths) / 1e6);
        let slo = parse(&text).unwrap().slos.remove(0);
        prop_assert_eq!(slo.objective, millionths);
    }

    #[test]
    fn never_panics(
        text in "(slos|service|name|objective|errors|faster_than|match|labels|[-:,\\[\\]{}&*'\"0-9.s\n ]){0,30}"
    ) {
        let _ = parse(&text);
    }
}
