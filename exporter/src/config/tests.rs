use proptest::prelude::*;

use super::{Config, ExeRule, Profile};
use crate::observe::template::Template;

const FULL: &str = r"
buckets: [0.0005, 0.1, 1, 2.5e0]
max_routes: 300
services:
  - name: store
    port: 8000
    exe: /usr/bin/python3
    cmdline: 'uvicorn .*main:app'
    unit: store.service
    container: 3F2a
    routes:
      - /api/magasins/{id}/stock
      - /health
    long_lived: [/events, /health]
  - {name: two, port: [80, 443]}
  - name: three
    exe: nginx
    container: 1234
";

fn error(text: &str) -> String {
    let line = Config::parse(text, "vigie.yml").unwrap_err().to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    line
}

#[test]
fn reads_everything() {
    let config = Config::parse(FULL, "x").unwrap();
    assert_eq!(config.buckets.seconds(), [0.0005, 0.1, 1.0, 2.5]);
    assert_eq!(
        config.buckets.nanos(),
        [500_000, 100_000_000, 1_000_000_000, 2_500_000_000]
    );
    assert_eq!(config.max_routes, 300);
    let [one, two, three] = config.services.as_slice() else {
        panic!("{:?}", config.services);
    };
    assert_eq!(one.name, "store");
    assert_eq!(one.ports, [8000]);
    assert_eq!(one.exe, Some(ExeRule::Path("/usr/bin/python3".into())));
    assert!(one.cmdline.as_ref().unwrap().is_match("uvicorn main:app"));
    assert_eq!(one.unit.as_deref(), Some("store.service"));
    assert_eq!(one.container.as_deref(), Some("3f2a"));
    let routes: Vec<&str> = one.routes.iter().map(Template::as_str).collect();
    assert_eq!(routes, ["/events", "/api/magasins/{id}/stock", "/health"]);
    let long_lived: Vec<&str> = one.long_lived.iter().map(Template::as_str).collect();
    assert_eq!(long_lived, ["/events", "/health"]);
    assert!(two.long_lived.is_empty());
    assert_eq!(two.ports, [80, 443]);
    assert_eq!(three.exe, Some(ExeRule::Name("nginx".into())));
    assert_eq!(three.container.as_deref(), Some("1234"));
}

#[test]
fn empty_files_are_the_default() {
    for text in ["", "\n", "# nothing\n", "---\n", "{}", "services:\n", "buckets:\n"] {
        let config = Config::parse(text, "x").unwrap();
        assert_eq!(config.buckets.nanos().len(), 14);
        assert_eq!(config.buckets.nanos()[0], 500_000);
        assert_eq!(config.buckets.seconds()[0].to_string(), "0.0005");
        assert_eq!(config.max_routes, 200);
        assert!(config.services.is_empty());
    }
}

#[test]
fn default_bounds_are_what_the_file_would_give() {
    let text = "buckets: [.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10]";
    let config = Config::parse(text, "x").unwrap();
    assert_eq!(config.buckets, Config::default().buckets);
}

#[test]
fn a_profile_brings_its_bounds() {
    for (profile, first, count) in [
        ("vigie", 500_000, 14),
        ("fastapi", 10_000_000, 21),
        ("express", 3_000_000, 6),
        ("otel", 5_000_000, 14),
    ] {
        let config = Config::parse(&format!("profile: {profile}"), "x").unwrap();
        assert_eq!(config.profile.to_string(), profile);
        assert_eq!(
            (config.buckets.nanos()[0], config.buckets.nanos().len()),
            (first, count)
        );
        // What the program has is what the file would give.
        let bounds = format!("buckets: {:?}", config.buckets.seconds());
        assert_eq!(Config::parse(&bounds, "x").unwrap().buckets, config.buckets);
    }
}

#[test]
fn a_profile_has_its_bounds_whoever_asks_for_it() {
    let text = "buckets: [0.003, 0.03, 0.1, 0.3, 1.5, 2, 10]";
    let config = Config::parse_for(text, "x", Some(Profile::Express)).unwrap();
    assert_eq!(config.profile, Profile::Express);
    assert_eq!(config.buckets.seconds().len(), 7);
    let other = Config::parse_for("profile: otel", "x", Some(Profile::Fastapi)).unwrap();
    assert_eq!((other.profile, other.buckets.seconds().len()), (Profile::Fastapi, 21));
    let lacking = Config::parse_for(text, "vigie.yml", Some(Profile::Otel)).unwrap_err();
    assert_eq!(
        lacking.to_string(),
        "vigie.yml:1:10: buckets has no 0.005, which the metrics profile otel needs: add it, or leave buckets out"
    );
    assert_eq!(
        error("profile: django"),
        "vigie.yml:1:10: there is no metrics profile \"django\": use vigie, fastapi, express or otel"
    );
}

#[test]
fn says_where_and_what_to_do() {
    for (text, expected) in [
        (
            "max_routes: 2\nbucket: [1]\n",
            "vigie.yml:2:1: unknown key \"bucket\": known keys: buckets, profile, max_routes, service_label, services",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    path: /x\n",
            "vigie.yml:4:5: unknown key \"path\": known keys: name, port, exe, cmdline, unit, container, routes, long_lived",
        ),
        (
            "max_routes: 1\nmax_routes: 2\n",
            "vigie.yml:2:1: duplicate key \"max_routes\": keep only one of them",
        ),
        (
            "max_routes: 0\n",
            "vigie.yml:1:13: max_routes is out of range: use 1 to 5000",
        ),
        (
            "max_routes: many\n",
            "vigie.yml:1:13: wrong type of value: expected a whole number",
        ),
        (
            "buckets: [2, 1]\n",
            "vigie.yml:1:14: bucket 1 is not above the one before it: sort the bounds, each one once",
        ),
        (
            "services:\n  - name: a\n",
            "vigie.yml:2:5: service \"a\" has no condition: add one of port, exe, cmdline, unit, container",
        ),
        (
            "services:\n  - port: 1\n",
            "vigie.yml:2:5: missing key \"name\": add a line \"name: ...\"",
        ),
        (
            "services:\n  - name: a\n    cmdline: 'x('\n",
            "vigie.yml:3:14: bad regex \"x(\", unclosed group: fix it, or escape the special characters with '\\'",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    routes: [api]\n",
            "vigie.yml:4:14: bad route \"api\", a route must start with '/': write it like /api/items/{id}",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    long_lived: [/a, '/*/events']\n",
            "vigie.yml:4:22: bad long-lived route \"/*/events\", what stands for all that is left must be the whole last segment: end the route with /* or /{path:path}",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    routes: ['/u/{id}', /u/me]\n",
            "vigie.yml:4:25: the route \"/u/me\" can never match, because \"/u/{id}\" is tried before it and matches the same: move it up",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    routes: ['/u/{id}', '/u/:name']\n",
            "vigie.yml:4:25: the route \"/u/:name\" can never match, because \"/u/{id}\" is tried before it and matches the same: keep only one of them",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    long_lived: ['/events/*']\n    routes: [/events/new]\n",
            "vigie.yml:5:14: the route \"/events/new\" can never match, because \"/events/*\" is tried before it and matches the same: move it up",
        ),
        (
            "services:\n  - {name: a, port: 1}\n  - {name: b, port: 1, exe: nginx}\n",
            "vigie.yml:3:5: the rule of service \"b\" can never match, because that of \"a\" stands before it and matches the same: move it up",
        ),
        (
            "services:\n  - {name: a, unit: a}\n  - {name: b, unit: a.service}\n",
            "vigie.yml:3:5: the rule of service \"b\" can never match, because that of \"a\" stands before it and matches the same: keep only one of them",
        ),
        (
            "services:\n  - name: a\n    unit: 'shop@*.service'\n",
            "vigie.yml:3:11: unit \"shop@*.service\" is not a service: name one unit; shop@.service stands for all instances of it",
        ),
        (
            "services:\n  - name: a\n    cmdline: |\n      uvicorn\n",
            "vigie.yml:4:7: cmdline \"uvicorn\\n\" ends with a line break, which no command line does: write it in quotes, or after >-",
        ),
        (
            "services:\n  - name: a\n    cmdline: '[a&&b]'\n",
            "vigie.yml:3:14: the regex \"[a&&b]\" can never match: fix it, or remove it",
        ),
        (
            "service_label: 1st\n",
            "vigie.yml:1:16: service_label \"1st\" is no name of a label: use letters, digits and '_', and no digit first",
        ),
        (
            "service_label: __app\n",
            "vigie.yml:1:16: service_label \"__app\" begins as Prometheus' own labels do: use a name such as app",
        ),
        (
            "service_label: handler\n",
            "vigie.yml:1:16: service_label \"handler\" is the name of another label: use a name such as app",
        ),
        (
            "services:\n  - name: a\n    port: 1\n    long_lived: /events\n",
            "vigie.yml:4:17: wrong type of value: expected a list",
        ),
        (
            "services:\n  - name: a\n    port: '8000'\n",
            "vigie.yml:3:5: found string \"8000\": expected a port number or a list of port numbers",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn refuses_bad_values() {
    let many = format!("buckets: [{}]", ["9"; 28].join(", "));
    for text in [
        many.as_str(),
        "buckets: []",
        "buckets: 1",
        "buckets: [a]",
        "buckets: [null]",
        "buckets: [0]",
        "buckets: [-1]",
        "buckets: [.nan]",
        "buckets: [.inf]",
        "buckets: [1, 1]",
        "buckets: [0.1, 0.1000000001]",
        "buckets: [0.0000000004]",
        "buckets: [0.0000000015]",
        "buckets: [1e300]",
        "max_routes: 5001",
        "max_routes: -1",
        "max_routes: 1.5",
        "max_routes: [1]",
        "max_routes: 99999999999999999999999",
        "services: a",
        "services: {a: b}",
        "services: [a]",
        "- a",
        "text",
        "[",
        "a: b: c",
        "a: *b",
        "---\n{}\n---\n{}\n",
        "services: [{name: '', port: 1}]",
        "services: [{name: \"a\\tb\", port: 1}]",
        "services: [{name: [a], port: 1}]",
        "services: [{name: , port: 1}]",
        "services: [{name: a, port: 0}]",
        "services: [{name: a, port: 65536}]",
        "services: [{name: a, port: []}]",
        "services: [{name: a, port: [1, b]}]",
        "services: [{name: a, port: 1.5}]",
        "services: [{name: a, port: {b: 1}}]",
        "services: [{name: a, port: }]",
        "services: [{name: a, unit: }]",
        "services: [{name: a, unit: a.socket}]",
        "services: [{name: a, exe: bin/python}]",
        "services: [{name: a, exe: /bin/}]",
        "services: [{name: a, exe: ''}]",
        "services: [{name: a, exe: ..}]",
        "services: [{name: a, exe: /usr/bin/.}]",
        "services: [{name: a, exe: ' nginx'}]",
        "services: [{name: ' ', port: 1}]",
        "services: [{name: a, unit: '*.service'}]",
        "services: [{name: a, unit: '@.service'}]",
        "services: [{name: a, unit: .service}]",
        "services: [{name: a, unit: a.swap}]",
        "services: [{name: a, cmdline: 'python3\\x00-m'}]",
        "services: [{name: a, port: 1, routes: [/a, /a]}]",
        "services: [{name: a, port: 1, long_lived: [/a, /a], routes: [/a]}]",
        "services: [{name: a, port: 1, routes: ['/u/:id?']}]",
        "service_label: ''",
        "service_label: a-b",
        "service_label: pod",
        "service_label: instance",
        "service_label: [a]",
        "services: [{name: a, cmdline: ''}]",
        "services: [{name: a, cmdline: '(a{1000}){1000}'}]",
        "services: [{name: a, container: abc}]",
        "services: [{name: a, container: my-shop}]",
        "services: [{name: a, port: 1, routes: /a}]",
        "services: [{name: a, port: 1, routes: ['/a/{}']}]",
        "services: [{name: a, port: 1, routes: ['/a?b']}]",
        "services: [{name: a, port: 1, port: 2}]",
    ] {
        let line = error(text);
        assert!(
            line.starts_with("vigie.yml:1:") || text.starts_with("---"),
            "{text:?} => {line}"
        );
        eprintln!("{text:?} => {line}");
    }
}

#[test]
fn deep_or_exploding_texts_are_refused() {
    for opening in ["[", "{a: ", "- ", "? "] {
        for prefix in ["", "services: ", "services:\n  - name: a\n    port: "] {
            let text = format!("{prefix}{}", opening.repeat(50_000));
            assert!(Config::parse(&text, "x").is_err(), "{prefix:?} {opening:?}");
        }
    }
    let mut bomb = "a0: &a0 [1, 1]\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}]\n"));
    }
    bomb.push_str("buckets: *a39\n");
    assert!(Config::parse(&bomb, "x").is_err());
    let inside = bomb.replace("a0: ", "services:\n- ").replace("\na", "\n- a");
    assert!(Config::parse(&inside, "x").is_err());
}

#[test]
fn aliases_and_merges_are_followed() {
    let text = "services:\n- &a {name: a, port: 1}\n- {<<: *a, name: b}\n- {name: c, port: [*p]}\n";
    assert!(error(text).starts_with("vigie.yml:4:"));
    let text = "services:\n- &a {name: a, port: 1, exe: a}\n- {<<: *a, name: b, exe: b}\n";
    let services = Config::parse(text, "x").unwrap().services;
    assert_eq!(
        (services[1].name.as_str(), services[1].ports.as_slice()),
        ("b", &[1_u16][..])
    );
}

/// A rule behind another one that does not match all that it does.
#[test]
fn rules_that_can_match_are_taken() {
    for (one, other) in [
        ("port: [1, 2]", "port: [2, 3]"),
        ("port: 1", "exe: a"),
        ("exe: a", "exe: b"),
        ("exe: a, port: 1", "exe: a"),
        ("cmdline: a", "cmdline: b"),
        ("unit: shop@blue", "unit: shop@"),
        ("unit: shop@", "unit: shop"),
        ("container: 'abcd1'", "container: 'abcd2'"),
        ("container: 'abcd1'", "container: 'abcd'"),
    ] {
        let rules = |one: &str, other: &str| format!("services: [{{name: a, {one}}}, {{name: b, {other}}}]");
        assert!(Config::parse(&rules(one, other), "x").is_ok(), "{one} {other}");
    }
    for (one, other) in [
        ("port: [1, 2]", "port: 2"),
        ("unit: shop@", "unit: shop@blue.service"),
        ("container: 'ABCD'", "container: 'abcd1', port: 1"),
        ("exe: a", "exe: a, cmdline: b"),
    ] {
        assert!(error(&format!("services: [{{name: a, {one}}}, {{name: b, {other}}}]")).contains("can never match"));
    }
}

#[test]
fn a_label_may_name_the_service_otherwise() {
    let label = |text: &str| Config::parse(text, "x").unwrap().service_label;
    assert_eq!(label(""), "service");
    assert_eq!(label("service_label: service"), "service");
    assert_eq!(label("service_label: vigie_service"), "vigie_service");
}

#[test]
fn names_are_counted_in_characters() {
    let rule = |length| format!("services: [{{name: {}, port: 1}}]", "é".repeat(length));
    assert!(Config::parse(&rule(128), "x").is_ok());
    assert!(Config::parse(&rule(129), "x").is_err());
}

#[test]
fn loads_files() {
    let dir = std::env::temp_dir().join(format!("vigie-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("vigie.yml");
    std::fs::write(&file, FULL).unwrap();
    assert_eq!(Config::load(&file).unwrap().services.len(), 3);
    std::fs::write(&file, b"a: \xff").unwrap();
    let utf8 = Config::load(&file).unwrap_err().to_string();
    assert!(utf8.contains("invalid utf-8 after byte 3"), "{utf8}");
    std::fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("larger than 1024 KiB")
    );
    let missing = Config::load(&dir.join("none.yml")).unwrap_err();
    assert!(missing.to_string().contains("no such file"), "{missing}");
    assert_eq!(missing.position(), None);
    assert!(Config::load(&dir).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

proptest! {
    #[test]
    fn never_panics_on_text(text in any::<String>()) {
        let _ = Config::parse(&text, "x");
    }

    #[test]
    fn never_panics_on_yaml_like_text(
        text in "(buckets|max_routes|services|name|port|exe|routes|[-:,\\[\\]{}&*!|>'\"#0-9.e\n ]){0,30}"
    ) {
        if let Err(error) = Config::parse(&text, "x") {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn whole_nanoseconds_round_trip(mut nanos in prop::collection::btree_set(1_u64..10_000_000_000, 1..28)) {
        let list: Vec<String> = nanos
            .iter()
            .map(|n| format!("{}.{:09}", n / 1_000_000_000, n % 1_000_000_000))
            .collect();
        let config = Config::parse(&format!("buckets: [{}]", list.join(", ")), "x").unwrap();
        let got: Vec<u64> = config.buckets.nanos().to_vec();
        prop_assert_eq!(got, std::mem::take(&mut nanos).into_iter().collect::<Vec<_>>());
    }
}
