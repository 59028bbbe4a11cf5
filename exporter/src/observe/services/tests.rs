use super::*;
use crate::observe::containers::Container;

fn described(app: &str) -> Described {
    Described {
        app: app.to_owned(),
        ..Described::default()
    }
}

/// The number of a service, while all that are known have a process.
fn named(services: &mut Services, described: Described) -> u16 {
    services.number(described, |_| true)
}

fn services() -> Services {
    Services::new(Vec::new(), Duration::from_secs(300), false)
}

fn name(services: &Services, number: u16) -> String {
    services
        .get(number)
        .map_or_else(String::new, |service| service.identity.service.to_string())
}

fn alive(numbers: &[u16]) -> HashMap<u16, u64> {
    numbers.iter().map(|number| (*number, 1)).collect()
}

/// Services that listen, answer nothing, and end.
#[test]
fn numbers_are_given_back() {
    let mut services = services();
    let now = Instant::now();
    for i in 0..10_000 {
        let number = named(&mut services, described(&format!("s{i}")));
        assert_ne!(name(&services, number), REST, "{i}");
        services.tick(now, &HashMap::new(), |_| None);
    }
    services.tick(now + Duration::from_secs(2), &HashMap::new(), |_| None);
    assert_eq!(services.iter().count(), 0);
    assert!(services.by_identity.is_empty());
}

/// 258 of them within a moment: the next real one has a name.
#[test]
fn who_only_listened_makes_room() {
    let mut services = services();
    for i in 0..258 {
        named(&mut services, described(&format!("s{i}")));
    }
    let real = named(&mut services, described("real"));
    assert_eq!(name(&services, real), "real");
    assert_eq!(
        services.dropped(),
        Dropped {
            silent: 7,
            ..Dropped::default()
        }
    );
}

/// All of them answer: one too many is `other`, and gets its name when one of them has ended.
#[test]
fn numbers_run_out_gracefully() {
    let mut services = services();
    let mut numbers = Vec::new();
    loop {
        let number = named(&mut services, described(&format!("s{}", numbers.len())));
        if name(&services, number) == REST {
            break;
        }
        services.note_answer(number, 80);
        numbers.push(number);
    }
    assert_eq!((numbers.len(), services.dropped().nameless), (252, 1));
    assert_eq!(
        services.nameless().map(|number| name(&services, number)).as_deref(),
        Some(REST)
    );
    let now = Instant::now();
    services.tick(now, &alive(&numbers[1..]), |_| None);
    assert!(!services.has_room());
    let late = named(&mut services, described("late"));
    assert_eq!((name(&services, late).as_str(), services.dropped().ended), ("late", 1));
}

#[test]
fn what_has_ended_is_kept_for_a_while() {
    let mut services = services();
    let number = named(&mut services, described("shop"));
    services.note_answer(number, 80);
    let now = Instant::now();
    services.tick(now, &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(299), &HashMap::new(), |_| None);
    assert!(
        services
            .get(number)
            .is_some_and(|service| !service.is_alive() && !service.is_missed())
    );
    // It comes back under the same number.
    assert_eq!(named(&mut services, described("shop")), number);
    assert!(services.get(number).is_some_and(Service::is_alive));
    services.tick(now + Duration::from_secs(300), &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(601), &HashMap::new(), |_| None);
    assert!(services.get(number).is_none());
    assert_eq!(services.take_changes(), [Change::Given(number), Change::Freed(number)]);
    assert_ne!(named(&mut services, described("shop")), number);
}

#[test]
fn who_is_missed() {
    let killed = |signal, age| {
        move |_| {
            Some(Kill {
                age: Duration::from_secs(age),
                signal,
            })
        }
    };
    let end = |described: Described, kill: &dyn Fn(u16) -> Option<Kill>| {
        let mut services = services();
        let number = named(&mut services, described);
        services.note_answer(number, 80);
        services.tick(Instant::now(), &HashMap::new(), kill);
        services.get(number).is_some_and(Service::is_missed)
    };
    assert!(!end(described("dev"), &|_| None));
    assert!(!end(described("dev"), &killed(2, 1)));
    assert!(!end(described("dev"), &killed(15, 1)));
    assert!(end(described("dev"), &killed(9, 1)));
    assert!(end(described("dev"), &killed(11, 1)));
    // One of its workers was killed long before.
    assert!(!end(described("dev"), &killed(9, 60)));
    let in_unit = Described {
        unit: Some("shop".to_owned()),
        ..described("shop")
    };
    assert!(end(in_unit, &|_| None));
}

/// The unit's name is the service's until a second application is seen in it.
#[test]
fn a_unit_with_two_applications_names_none() {
    let mut services = services();
    let in_unit = |app: &str| Described {
        unit: Some("supervisor".to_owned()),
        ..described(app)
    };
    let first = named(&mut services, in_unit("uvicorn/a"));
    assert_eq!(name(&services, first), "supervisor");
    assert_eq!(named(&mut services, in_unit("uvicorn/a")), first);
    let second = named(&mut services, in_unit("uvicorn/b"));
    assert_ne!(first, second);
    assert_eq!(
        (name(&services, first), name(&services, second)),
        ("uvicorn/a".to_owned(), "uvicorn/b".to_owned())
    );
    assert_eq!(named(&mut services, in_unit("uvicorn/a")), first);
    // One of them ends: the other one keeps its name.
    let now = Instant::now();
    services.tick(now, &alive(&[second]), |_| None);
    let again = services.number(in_unit("uvicorn/b"), |number| number == second);
    assert_eq!((again, name(&services, again).as_str()), (second, "uvicorn/b"));
}

/// A deployment that runs another program in the same unit: it is the same service.
#[test]
fn a_unit_gets_another_program() {
    let mut services = services();
    let in_unit = |app: &str| Described {
        unit: Some("shop".to_owned()),
        ..described(app)
    };
    let old = named(&mut services, in_unit("node/server.js"));
    services.note_answer(old, 80);
    // The old one has no process any more, whether that is known yet or not.
    let new = services.number(in_unit("node/dist/main.js"), |_| false);
    assert_eq!((new, name(&services, new).as_str()), (old, "shop"));
    services.tick(Instant::now(), &HashMap::new(), |_| None);
    let newest = services.number(in_unit("gunicorn/shop"), |_| false);
    assert_eq!((newest, name(&services, newest).as_str()), (old, "shop"));
}

/// What has no name yet does not share a unit with what gets a better one.
#[test]
fn a_weak_name_shares_no_unit() {
    let mut services = services();
    let in_unit = |app: &str, is_weak| Described {
        unit: Some("shop".to_owned()),
        is_weak,
        ..described(app)
    };
    let weak = named(&mut services, in_unit("python", true));
    let better = named(&mut services, in_unit("uvicorn/app", false));
    assert_eq!((weak, name(&services, better).as_str()), (better, "shop"));
}

/// A rule that matches later, and gives the name that the service has.
#[test]
fn a_rule_is_found_later() {
    let mut services = services();
    let by_unit = Described {
        unit: Some("shop".to_owned()),
        ..described("uvicorn/app")
    };
    let number = named(&mut services, by_unit.clone());
    let by_rule = Described {
        rule: Some((0, "shop".to_owned())),
        ..by_unit
    };
    assert_eq!(named(&mut services, by_rule), number);
    assert_eq!(services.get(number).and_then(|service| service.rule), Some(0));
}

/// Scrapes a minute apart: it was killed at any time between two of them.
#[test]
fn a_kill_between_rare_scrapes_is_a_kill() {
    let mut services = services();
    let number = named(&mut services, described("dev"));
    services.note_answer(number, 80);
    let now = Instant::now();
    let minute = Duration::from_secs(60);
    services.tick(now, &alive(&[number]), |_| None);
    let kill = |_| {
        Some(Kill {
            age: Duration::from_secs(50),
            signal: 9,
        })
    };
    services.tick(now + minute, &HashMap::new(), kill);
    assert!(services.get(number).is_some_and(Service::is_missed));
}

/// A port that a living service has closed long ago.
#[test]
fn closed_ports_are_forgotten() {
    let mut services = services();
    let number = named(&mut services, described("ftp"));
    for port in 1..1000 {
        services.note_answer(number, port);
        services.found(|_, _| true, [(number, port)].into_iter());
    }
    assert!(services.take_closed().is_empty());
    services.set_retention(Duration::ZERO);
    std::thread::sleep(Duration::from_millis(2));
    services.found(|_, _| true, [(number, 999)].into_iter());
    assert_eq!(services.take_closed().len(), 998);
    assert_eq!(services.get(number).map(|service| service.answered.len()), Some(1));
    // One that was never seen in a list is not known to be closed.
    services.note_answer(number, 7);
    services.found(|_, _| true, std::iter::empty());
    assert!(services.take_closed().iter().all(|(_, port)| *port == 999));
}

/// A service whose better name is another's is shown as a part of that one, as long as that is there.
#[test]
fn two_become_one() {
    let mut services = services();
    let weak = named(
        &mut services,
        Described {
            is_weak: true,
            ..described("python")
        },
    );
    services.note_answer(weak, 80);
    let real = named(&mut services, described("uvicorn/app"));
    services.note_answer(real, 80);
    services.rename(weak, Identity::of("uvicorn/app"));
    assert_eq!(name(&services, weak), "uvicorn/app");
    assert_eq!(named(&mut services, described("uvicorn/app")), real);
    let now = Instant::now();
    services.tick(now, &alive(&[real]), |_| None);
    services.tick(now + Duration::from_secs(900), &alive(&[real]), |_| None);
    assert!(services.get(weak).is_some());
    services.tick(now + Duration::from_secs(901), &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(1800), &HashMap::new(), |_| None);
    // They are shown as one, and go together.
    assert_eq!(services.iter().count(), 0);
}

#[test]
fn instances_are_one_if_asked() {
    let container = |id: &str| Described {
        container: Some(Container {
            id: id.repeat(64),
            ..Container::default()
        }),
        ..described("shop")
    };
    let mut apart = services();
    assert_ne!(named(&mut apart, container("a")), named(&mut apart, container("b")));
    let mut merged = Services::new(Vec::new(), Duration::from_secs(300), true);
    assert_eq!(named(&mut merged, container("a")), named(&mut merged, container("b")));
}

/// A container that was replaced is not missed for ever, whatever a rule says.
#[test]
fn a_rule_keeps_what_was_not_replaced() {
    let by_rule = |id: &str| Described {
        rule: Some((0, "store".to_owned())),
        container: Some(Container {
            id: id.repeat(64),
            ..Container::default()
        }),
        ..described("uvicorn/app")
    };
    let mut services = services();
    let old = named(&mut services, by_rule("a"));
    let now = Instant::now();
    services.tick(now, &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(100_000), &HashMap::new(), |_| None);
    assert!(services.get(old).is_some_and(Service::is_missed));
    let new = named(&mut services, by_rule("b"));
    services.tick(now + Duration::from_secs(100_001), &alive(&[new]), |_| None);
    assert!(services.get(old).is_none());
}
