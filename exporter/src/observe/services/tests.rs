use super::*;
use crate::observe::containers::Container;

fn described(app: &str) -> Described {
    Described {
        app: app.to_owned(),
        ..Described::default()
    }
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
        let number = services.number(described(&format!("s{i}")));
        assert_ne!(name(&services, number), REST, "{i}");
        services.tick(now, &HashMap::new(), |_| None);
    }
    assert_eq!(services.iter().count(), 0);
    assert!(services.by_identity.is_empty() && services.units.is_empty());
}

/// 258 of them within a moment: the next real one has a name.
#[test]
fn who_only_listened_makes_room() {
    let mut services = services();
    for i in 0..258 {
        services.number(described(&format!("s{i}")));
    }
    let real = services.number(described("real"));
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
        let number = services.number(described(&format!("s{}", numbers.len())));
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
    let late = services.number(described("late"));
    assert_eq!((name(&services, late).as_str(), services.dropped().ended), ("late", 1));
}

#[test]
fn what_has_ended_is_kept_for_a_while() {
    let mut services = services();
    let number = services.number(described("shop"));
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
    assert_eq!(services.number(described("shop")), number);
    assert!(services.get(number).is_some_and(Service::is_alive));
    services.tick(now + Duration::from_secs(300), &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(601), &HashMap::new(), |_| None);
    assert!(services.get(number).is_none());
    assert_eq!(services.take_changes(), [Change::Given(number), Change::Freed(number)]);
    assert_ne!(services.number(described("shop")), number);
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
        let number = services.number(described);
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
    let first = services.number(in_unit("uvicorn/a"));
    assert_eq!(name(&services, first), "supervisor");
    assert_eq!(services.number(in_unit("uvicorn/a")), first);
    let second = services.number(in_unit("uvicorn/b"));
    assert_ne!(first, second);
    assert_eq!(
        (name(&services, first), name(&services, second)),
        ("uvicorn/a".to_owned(), "uvicorn/b".to_owned())
    );
    assert_eq!(services.number(in_unit("uvicorn/a")), first);
}

/// A service whose better name is another's is shown as a part of that one, as long as that is there.
#[test]
fn two_become_one() {
    let mut services = services();
    let weak = services.number(Described {
        is_weak: true,
        ..described("python")
    });
    services.note_answer(weak, 80);
    let real = services.number(described("uvicorn/app"));
    services.note_answer(real, 80);
    services.rename(weak, Identity::of("uvicorn/app"));
    assert_eq!(name(&services, weak), "uvicorn/app");
    assert_eq!(services.number(described("uvicorn/app")), real);
    let now = Instant::now();
    services.tick(now, &alive(&[real]), |_| None);
    services.tick(now + Duration::from_secs(900), &alive(&[real]), |_| None);
    assert!(services.get(weak).is_some());
    services.tick(now + Duration::from_secs(901), &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(1800), &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(1801), &HashMap::new(), |_| None);
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
    assert_ne!(apart.number(container("a")), apart.number(container("b")));
    let mut merged = Services::new(Vec::new(), Duration::from_secs(300), true);
    assert_eq!(merged.number(container("a")), merged.number(container("b")));
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
    let old = services.number(by_rule("a"));
    let now = Instant::now();
    services.tick(now, &HashMap::new(), |_| None);
    services.tick(now + Duration::from_secs(100_000), &HashMap::new(), |_| None);
    assert!(services.get(old).is_some_and(Service::is_missed));
    let new = services.number(by_rule("b"));
    services.tick(now + Duration::from_secs(100_001), &alive(&[new]), |_| None);
    assert!(services.get(old).is_none());
}
