use std::path::PathBuf;

use proptest::prelude::*;

use super::{named_by_parent, service_name};
use crate::config::Config;
use crate::observe::process::ProcessInfo;

const ID: &str = "3f2a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";
const SPAWN: &[&str] = &[
    "/venv/bin/python",
    "-c",
    "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)",
    "--multiprocessing-fork",
];

fn process(exe: &str, cwd: &str, argv: &[&str]) -> ProcessInfo {
    let argv = argv.iter().map(|&text| text.to_owned()).collect();
    let mut process = ProcessInfo::from_parts(7, "comm", argv);
    process.exe = (!exe.is_empty()).then(|| PathBuf::from(exe));
    process.cwd = (!cwd.is_empty()).then(|| PathBuf::from(cwd));
    process
}

fn auto(process: &ProcessInfo) -> String {
    let found = service_name(process, None, &[], &[]);
    assert_eq!(found.rule, None);
    found.name
}

/// Checks names of command lines split at blanks.
fn check(exe: &str, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let argv: Vec<&str> = line.split(' ').collect();
        assert_eq!(auto(&process(exe, "/srv/shop", &argv)), *expected, "{line}");
    }
}

fn titled(exe: &str, title: &str) -> String {
    auto(&process(exe, "/srv/shop", &[title]))
}

#[test]
fn names_python_servers() {
    check(
        "/usr/bin/python3.11",
        &[
            ("python -m uvicorn store.main:app --port 1", "uvicorn/store.main:app"),
            (
                "/venv/bin/python /venv/bin/uvicorn store.main:app",
                "uvicorn/store.main:app",
            ),
            (
                "python /v/uvicorn --host localhost --reload store.main:app",
                "uvicorn/store.main:app",
            ),
            (
                "python /v/uvicorn --port 1 --log-config logging.yaml --factory a:make",
                "uvicorn/a:make",
            ),
            (
                "python /v/uvicorn --log-config=a.b --unknown-flag a:app",
                "uvicorn/a:app",
            ),
            (
                "python /v/uvicorn --no-access-log a:app --env-file prod.env",
                "uvicorn/a:app",
            ),
            (
                "python -u -X dev -Wignore -um gunicorn -w 4 proj.wsgi",
                "gunicorn/proj.wsgi",
            ),
            (
                "python /v/gunicorn -b unix:app.sock -k uvicorn.workers.UvicornWorker a.b:c",
                "gunicorn/a.b:c",
            ),
            ("python /v/gunicorn -b unix:app.sock proj.wsgi", "gunicorn/proj.wsgi"),
            ("python /v/gunicorn -w4 -D a:create_app('pw')", "gunicorn/a:create_app"),
            ("python /v/gunicorn -c conf.py wsgi", "gunicorn/wsgi"),
            ("python /v/gunicorn -c conf.py", "gunicorn/shop"),
            ("python3 /v/hypercorn -b 0.0.0.0:80 shop:app", "hypercorn/shop:app"),
            (
                "python3 /v/daphne -b 0.0.0.0 -p 80 shop.asgi:application",
                "daphne/shop.asgi:application",
            ),
            ("python3 /v/granian --interface asgi --ws shop:app", "granian/shop:app"),
            ("python3 /v/flask --app shop.web run --port 1", "flask/shop.web"),
            ("python3 -m flask run", "flask/shop"),
            ("python3 /v/celery -A proj.tasks worker -l info", "celery/proj.tasks"),
            ("python3 -m celery --app=proj worker", "celery/proj"),
        ],
    );
}

#[test]
fn names_python_programs() {
    check(
        "/usr/bin/python3.13t",
        &[
            ("python3 shop.py", "python/shop.py"),
            ("python3 app.py", "python/shop/app.py"),
            ("python3 -B /opt/pay/src/main.py --x", "python/pay/src/main.py"),
            ("python3 ../pay/manage.py runserver", "python/pay/manage.py"),
            ("/usr/bin/python3 /usr/local/bin/tool --x y", "python/tool"),
            ("python3 -m http.server 8000", "python/http.server"),
            ("python3 -mhttp.server", "python/http.server"),
            ("python3 -c print(1)", "python"),
            ("python3 -", "python"),
            ("python3 -m", "python"),
            ("python3", "python"),
            ("python3 -W", "python"),
        ],
    );
}

#[test]
fn names_other_languages() {
    check(
        "/usr/bin/node",
        &[
            ("node server.js", "node/shop/server.js"),
            ("node /srv/shop-api/server.js", "node/shop-api/server.js"),
            ("node dist/main.js", "node/shop/dist/main.js"),
            (
                "node --inspect -r dotenv/config --max-old-space-size=9 pay.js",
                "node/pay.js",
            ),
            ("node .", "node/shop"),
            ("node -e require('http')", "node"),
            ("node", "node"),
            ("node bin/www", "node/shop/bin/www"),
        ],
    );
    check(
        "/usr/lib/jvm/bin/java",
        &[
            ("java -jar /opt/shop.jar --port 1", "java/shop.jar"),
            ("java -Xmx1g -cp a:b org.acme.Main -jar x", "java/org.acme.Main"),
            (
                "java --add-opens java.base/java.lang=ALL-UNNAMED -jar /srv/pay/app.jar",
                "java/pay/app.jar",
            ),
            ("java -p mods -m shop/org.acme.Main", "java/shop/org.acme.Main"),
            ("java Main.java", "java/Main.java"),
            ("java", "java"),
        ],
    );
    check(
        "/usr/bin/ruby3.1",
        &[
            ("ruby /usr/bin/puma -C config/puma.rb", "puma/shop"),
            ("ruby bin/rails server", "rails/shop"),
            ("ruby -I lib pay.rb", "ruby/pay.rb"),
        ],
    );
    check(
        "/usr/bin/php8.2",
        &[
            ("php -S 0.0.0.0:80 -t public", "php/public"),
            ("php -S 0.0.0.0:80", "php/shop"),
            ("php -d a=1 artisan serve", "php/artisan"),
        ],
    );
    check(
        "/usr/local/bin/bun",
        &[
            ("bun run server.ts", "bun/shop/server.ts"),
            ("bun --hot pay.ts", "bun/pay.ts"),
            ("bun run dev", "bun/shop/dev"),
        ],
    );
    check("/usr/bin/deno", &[("deno run -A --port 1 pay.ts", "deno/pay.ts")]);
    check(
        "/usr/bin/bash",
        &[
            ("bash -e run.sh", "bash/run.sh"),
            ("-bash", "bash"),
            ("bash -c ls", "bash"),
        ],
    );
    check(
        "/usr/bin/perl",
        &[("perl -w -Ilib pay.pl", "perl/pay.pl"), ("perl -e 1", "perl")],
    );
}

#[test]
fn reads_rewritten_titles() {
    let (python, ruby, node) = ("/usr/bin/python3", "/usr/bin/ruby", "/usr/bin/node");
    for (exe, title, expected) in [
        (ruby, "puma 6.4.0 (tcp://0.0.0.0:3000) [app]", "puma/app"),
        (ruby, "puma: cluster worker 0: 12 [app]", "puma/app"),
        (ruby, "unicorn worker[0] -c x.rb", "ruby/unicorn"),
        (python, "gunicorn: master [shop.wsgi:app]", "gunicorn/shop.wsgi:app"),
        (python, "gunicorn: worker [shop.wsgi:app]", "gunicorn/shop.wsgi:app"),
        (
            python,
            "[celeryd: celery@host:MainProcess] -active- (worker -A proj)",
            "celery/proj",
        ),
        (python, "myworker: idle", "python/myworker"),
        (python, "???", "python"),
        (node, "next-server (v14.1.0)", "node/next-server"),
        (node, "node /srv/shop-api/index.js", "node/shop-api/index.js"),
        ("/usr/sbin/nginx", "nginx: worker process", "nginx"),
        ("/usr/lib/postgresql/15/bin/postgres", "postgres: writer", "postgres"),
    ] {
        assert_eq!(titled(exe, title), expected, "{title}");
    }
    assert_eq!(auto(&process(python, "/", &[])), "python");
}

#[test]
fn workers_bear_the_name_of_their_server() {
    let exe = "/usr/bin/python3.11";
    let server = process(
        exe,
        "/",
        &["python", "-m", "uvicorn", "store.main:app", "--workers", "2"],
    );
    let worker = process(exe, "/", SPAWN);
    assert!(named_by_parent(&worker) && !named_by_parent(&server));
    assert_eq!(
        service_name(&worker, Some(&server), &[], &[]).name,
        "uvicorn/store.main:app"
    );
    // An adopted worker is not named after init.
    let init = process("/usr/lib/systemd/systemd", "/", &["/sbin/init"]);
    assert_eq!(service_name(&worker, Some(&init), &[], &[]).name, "python");
    // A rule about the server also names its workers.
    let rules = Config::parse("services: [{name: s, cmdline: uvicorn}]", "x")
        .unwrap()
        .services;
    assert_eq!(service_name(&worker, Some(&server), &[], &rules).rule, Some(0));
    // Other processes are never named after their parent.
    let other = process(exe, "/", &["python", "pay.py"]);
    assert_eq!(service_name(&other, Some(&server), &[], &[]).name, "python/pay.py");
}

#[test]
fn containers_then_units_then_programs() {
    let mut nginx = process("/usr/sbin/nginx (deleted)", "/", &["nginx: master process"]);
    assert_eq!(auto(&nginx), "nginx");
    nginx.cgroups = vec!["0::/system.slice/front.service".to_owned()];
    assert_eq!(auto(&nginx), "front");
    nginx.cgroups = vec![format!("0::/system.slice/docker.service/docker/{ID}")];
    assert_eq!(auto(&nginx), "nginx@3f2a1b2c3d4e");
    let mut proxy = process("/usr/bin/docker-proxy", "/", &["docker-proxy"]);
    proxy.cgroups = vec!["0::/system.slice/docker.service".to_owned()];
    assert_eq!(auto(&proxy), "docker-proxy");
}

#[test]
fn rules_need_every_condition_and_the_first_wins() {
    let text = format!(
        "services:
  - {{name: port, port: [80, 81], exe: nope}}
  - {{name: all, port: [80, 81], exe: python3, cmdline: 'main:app$', unit: store, container: {}}}
  - {{name: path, exe: /usr/bin/python3.11}}
  - {{name: never, port: 80}}
",
        &ID[..6]
    );
    let rules = Config::parse(&text, "x").unwrap().services;
    let mut server = process("/usr/bin/python3.11", "/", &["/v/python3", "/v/uvicorn", "main:app"]);
    let rule = |process: &ProcessInfo, ports: &[u16]| service_name(process, None, ports, &rules).rule;
    assert_eq!(rule(&server, &[80]), Some(2));
    server.cgroups = vec![format!("0::/system.slice/store.service/docker-{ID}.scope")];
    assert_eq!(rule(&server, &[443, 81]), Some(1));
    assert_eq!(rule(&server, &[443]), Some(2));
    server.exe = Some("/usr/bin/other".into());
    server.argv = vec!["other".to_owned()];
    assert_eq!(rule(&server, &[80]), Some(3));
    assert_eq!(rule(&server, &[]), None);
}

#[test]
fn without_executable_the_command_name_is_used() {
    let kernel = ProcessInfo::from_parts(2, "kthreadd", vec![]);
    assert_eq!(auto(&kernel), "kthreadd");
    assert_eq!(auto(&ProcessInfo::from_parts(2, "", vec![])), "unknown");
}

#[test]
fn names_are_short_and_printable() {
    let long = "é".repeat(300);
    let mut odd = process(&format!("/bin/a\nb{long}"), "/", &["x"]);
    let name = auto(&odd);
    assert!(name.starts_with("a_b") && name.chars().count() == 128);
    odd.cgroups = vec![format!("0::/docker/{ID}")];
    let name = auto(&odd);
    assert!(name.ends_with("@3f2a1b2c3d4e") && name.chars().count() == 128);
}

proptest! {
    #[test]
    fn any_process_gets_a_clean_name(
        exe in "/(python3|node|ruby|java|php|bun|sh|perl|x|\\PC{0,9})",
        argv in prop::collection::vec(prop_oneof![
            any::<String>(),
            "(-|--)?[cmWXASejar=.:/\\[\\]( ]{0,6}",
            Just("-m".to_owned()), Just("uvicorn".to_owned()), Just("celeryd: -A".to_owned()),
        ], 0..6),
        cwd in "(/[a-z.]{0,4}){0,3}",
        container in any::<bool>(),
    ) {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut odd = process(&exe, &cwd, &argv);
        if container {
            odd.cgroups = vec![format!("0::/docker/{ID}")];
        }
        let name = auto(&odd);
        prop_assert!((1..=128).contains(&name.chars().count()));
        prop_assert!(!name.contains(char::is_control));
    }
}
