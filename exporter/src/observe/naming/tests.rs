use std::path::PathBuf;

use proptest::prelude::*;

use super::{Described, named_by_parent};
use crate::config::{Config, ServiceRule};
use crate::observe::containers::ContainerFiles;
use crate::observe::identity::Identity;
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

fn files() -> ContainerFiles {
    ContainerFiles::new(std::path::Path::new("/nowhere"))
}

fn describe(process: &ProcessInfo, parent: Option<&ProcessInfo>, ports: &[u16], rules: &[ServiceRule]) -> Described {
    super::describe(process, parent, ports, rules, &files())
}

fn identity(process: &ProcessInfo) -> Identity {
    describe(process, None, &[], &[]).identity(false)
}

fn auto(process: &ProcessInfo) -> String {
    identity(process).service.to_string()
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
    assert_eq!(describe(&worker, Some(&server), &[], &[]).app, "uvicorn/store.main:app");
    // An adopted worker is not named after init.
    let init = process("/usr/lib/systemd/systemd", "/", &["/sbin/init"]);
    assert_eq!(describe(&worker, Some(&init), &[], &[]).app, "python");
    // A rule about the server also names its workers.
    let rules = Config::parse("services: [{name: s, cmdline: uvicorn}]", "x")
        .unwrap()
        .services;
    assert_eq!(
        describe(&worker, Some(&server), &[], &rules).rule,
        Some((0, "s".to_owned()))
    );
    // Other processes are never named after their parent.
    let other = process(exe, "/", &["python", "pay.py"]);
    assert_eq!(describe(&other, Some(&server), &[], &[]).app, "python/pay.py");
}

#[test]
fn containers_then_units_then_programs() {
    let mut nginx = process("/usr/sbin/nginx (deleted)", "/", &["nginx: master process"]);
    assert_eq!(auto(&nginx), "nginx");
    nginx.cgroups = vec!["0::/system.slice/front.service".to_owned()];
    assert_eq!(auto(&nginx), "front");
    nginx.cgroups = vec![format!("0::/system.slice/docker.service/docker/{ID}")];
    assert_eq!(auto(&nginx), "nginx");
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
    let rule =
        |process: &ProcessInfo, ports: &[u16]| describe(process, None, ports, &rules).rule.map(|(index, _)| index);
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
fn a_template_unit_stands_for_its_instances() {
    for (wanted, unit, expected) in [
        ("shop@.service", "shop@blue.service", true),
        ("shop@", "shop@1.service", true),
        ("shop@blue", "shop@blue.service", true),
        ("shop@blue", "shop@green.service", false),
        ("shop@", "shop.service", false),
        ("shop@", "shop-eu@1.service", false),
        ("shop", "shop@1.service", false),
    ] {
        let rules = Config::parse(&format!("services: [{{name: s, unit: {wanted}}}]"), "x").unwrap();
        let mut server = process("/usr/bin/shop", "/", &["shop"]);
        server.cgroups = vec![format!("0::/system.slice/{unit}")];
        let is_named = describe(&server, None, &[], &rules.services).rule.is_some();
        assert_eq!(is_named, expected, "{wanted} {unit}");
    }
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
    assert_eq!(auto(&odd), name);
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

#[test]
fn names_of_units_hold_no_connection_and_nothing_random() {
    for (unit, expected) in [
        ("web@7-10.0.0.1:80-203.0.113.9:51234.service", "web"),
        ("web@7-[2001:db8::1]:80-[2001:db8::2]:51234.service", "web"),
        ("web@12-4711-1000.service", "web"),
        ("web@12-4711_99-1000.service", "web"),
        ("web@12-unknown.service", "web"),
        ("web@10.0.0.1.service", "web"),
        ("web@8080.service", "web"),
        ("web@0f6b2c1e-1111-2222-3333-444455556666.service", "web"),
        ("web@blue-0f6b2c1e-1111-2222-3333-444455556666.service", "web@blue"),
        ("web@example.org:8080.service", "web@example.org"),
        ("postgresql@15-main.service", "postgresql@15-main"),
        ("getty@tty1.service", "getty@tty1"),
        ("shop@blue.service", "shop@blue"),
        ("worker@2.service", "worker@2"),
        ("php@8.2.service", "php@8.2"),
        ("shop\\x2dapi@blue\\x2dgreen.service", "shop-api@blue-green"),
        ("run-r0123456789abcdef0123456789abcdef.service", "nginx"),
        ("run-u17.service", "nginx"),
        ("run-p1234-i5678.service", "nginx"),
        ("run-shop.service", "run-shop"),
        ("session-3.service", "nginx"),
        ("app-gnome-org.acme.Shop-12345.service", "app-gnome-org.acme.Shop"),
        (
            "app-org.acme.Shop@0123456789abcdef0123456789abcdef.service",
            "app-org.acme.Shop",
        ),
        ("dbus-:1.42-org.acme.Shop@0.service", "org.acme.Shop@0"),
        (
            "snap.shop.web-0f6b2c1e-1111-2222-3333-444455556666.service",
            "snap.shop.web",
        ),
        ("supervisor.service", "nginx"),
        ("pm2-deploy.service", "nginx"),
        ("sshd@3-10.0.0.1:22-10.0.0.2:40000.service", "nginx"),
        ("snap.docker.dockerd.service", "nginx"),
    ] {
        let mut nginx = process("/usr/sbin/nginx", "/", &["nginx: master process"]);
        nginx.cgroups = vec![format!("0::/system.slice/{unit}")];
        assert_eq!(auto(&nginx), expected, "{unit}");
    }
}

#[test]
fn a_new_master_of_gunicorn_is_the_same_service() {
    let python = "/usr/bin/python3";
    assert_eq!(titled(python, "gunicorn: master [wsgi:app.2]"), "gunicorn/wsgi:app");
    assert_eq!(titled(python, "gunicorn: worker [wsgi:app.13]"), "gunicorn/wsgi:app");
    assert_eq!(titled(python, "gunicorn: worker [shop.v2]"), "gunicorn/shop.v2");
}

#[test]
fn servers_that_share_a_program_have_names_of_their_own() {
    check(
        "/usr/lib/jvm/bin/java",
        &[
            (
                "java -Dcatalina.base=/var/lib/tomcat-shop -Dcatalina.home=/usr/share/tomcat -cp a.jar org.apache.catalina.startup.Bootstrap start",
                "java/tomcat-shop",
            ),
            (
                "java -Dcatalina.base=/srv/pay/tomcat -cp a.jar org.apache.catalina.startup.Bootstrap start",
                "java/pay/tomcat",
            ),
            (
                "java -cp /opt/shop.jar org.springframework.boot.loader.launch.JarLauncher",
                "java/shop.jar",
            ),
            (
                "java -cp /srv/pay/app.jar org.springframework.boot.loader.PropertiesLauncher",
                "java/pay/app.jar",
            ),
            (
                "java -Dloader.main=org.acme.Pay -cp a.jar org.springframework.boot.loader.PropertiesLauncher",
                "java/org.acme.Pay",
            ),
            ("java org.springframework.boot.loader.launch.JarLauncher", "java/shop"),
            ("java org/springframework/boot/loader/WarLauncher", "java/shop"),
            ("java -cp /srv/a/lib/*:b.jar JarLauncher", "java/a/lib"),
            (
                "java -jar /srv/pay/quarkus-app/quarkus-run.jar",
                "java/pay/quarkus-app/quarkus-run.jar",
            ),
            (
                "java -jar quarkus-app/quarkus-run.jar",
                "java/shop/quarkus-app/quarkus-run.jar",
            ),
            ("java -jar server.jar", "java/shop/server.jar"),
            ("java -jar /opt/jetty/start.jar jetty.base=/srv/pay", "java/pay"),
            ("java -jar /opt/jetty/start.jar", "java/opt/jetty/start.jar"),
            ("java -jar /opt/pay-1.4.2-SNAPSHOT.jar", "java/pay.jar"),
            ("java -jar /opt/pay-0.0.1-20261127.120000-3.jar", "java/pay.jar"),
            ("java -jar /opt/log4j-2.jar", "java/log4j-2.jar"),
        ],
    );
    check(
        "/usr/bin/node",
        &[
            ("node /srv/shop/node_modules/.bin/next start", "node/shop/next"),
            ("node node_modules/tsx/dist/cli.mjs pay.ts", "node/cli.mjs"),
            ("node node_modules/.bin/tsx pay.ts", "node/pay.ts"),
        ],
    );
    let name = |exe: &str| auto(&process(exe, "/", &["x"]));
    assert_eq!(name("/srv/pay/server"), "pay/server");
    assert_eq!(name("/srv/shop/bin/server"), "shop/server");
    assert_eq!(name("/usr/local/bin/server"), "server");
    assert_eq!(name("/app/server"), "server");
}

#[test]
fn names_hold_no_deployment_and_no_temporary_directory() {
    check(
        "/usr/bin/python3.11",
        &[
            ("python3 /srv/pay/releases/20261127120000/app.py", "python/pay/app.py"),
            ("python3 /srv/pay/current/app.py", "python/pay/app.py"),
            ("python3 /tmp/tmpabc123/app.py", "python/app.py"),
            ("python3 /tmp/tmpk3x9q7z2/pay.py", "python/pay.py"),
            ("python3 /tmp/tmpk3x9q7z2.py", "python"),
            ("python3 /tmp/shop/app.py", "python/shop/app.py"),
            ("python3 /srv/pay/3f2a1b2c3d4e5f60/main.py", "python/pay/main.py"),
        ],
    );
    let name = |exe: &str| auto(&process(exe, "/", &["x"]));
    assert_eq!(name("/tmp/go-build3823904/b001/exe/main"), "main");
    assert_eq!(name("/srv/target/debug/deps/shop-0a1b2c3d4e5f6789"), "shop");
    assert_eq!(
        name("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-shop-1.0/bin/server"),
        "shop-1.0/server"
    );
    let puma = |cwd: &str| auto(&process("/usr/bin/ruby3.1", cwd, &["ruby", "/usr/bin/puma"]));
    assert_eq!(puma("/srv/shop/releases/20261127120000"), "puma/shop");
}

#[test]
fn a_fork_server_tells_the_script_of_an_unknown_server() {
    let code = "from multiprocessing.forkserver import main; main(5, 6, ['__main__'], **{'sys_path': ['/srv/pay'], 'main_path': '/srv/pay/app.py'})";
    let exe = "/usr/bin/python3.14";
    assert_eq!(
        auto(&process(exe, "/srv/pay", &["python", "-c", code])),
        "python/pay/app.py"
    );
    assert_eq!(auto(&process(exe, "/srv/pay", SPAWN)), "python/pay");
    assert_eq!(auto(&process(exe, "/", SPAWN)), "python");
}

#[test]
fn a_title_changes_no_name() {
    for (exe, argv, title, expected) in [
        (
            "/usr/bin/node",
            &["node", "api/index.js"][..],
            "shop",
            "node/api/index.js",
        ),
        (
            "/usr/bin/node",
            &["node", "server.js"],
            "next-server (v14.1.0)",
            "node/shop/server.js",
        ),
        (
            "/usr/bin/python3",
            &["python", "pay.py"],
            "pay: 17 connections",
            "python/pay.py",
        ),
        (
            "/usr/bin/python3",
            &["python", "/v/gunicorn", "-n", "blue", "wsgi:app"],
            "gunicorn: master [blue.2]",
            "gunicorn/wsgi:app",
        ),
    ] {
        let before = process(exe, "/srv/shop", argv);
        let mut after = process(exe, "/srv/shop", &[title]);
        after.original = Some(before.argv.clone());
        assert_eq!((auto(&before).as_str(), auto(&after).as_str()), (expected, expected));
        // A rule may ask for either.
        for pattern in [title, &argv.join(" ")] {
            let pattern = format!("'^{}$'", regex::escape(pattern));
            let rules = Config::parse(&format!("services: [{{name: s, cmdline: {pattern}}}]"), "x").unwrap();
            assert!(describe(&after, None, &[], &rules.services).rule.is_some(), "{pattern}");
        }
    }
}

#[test]
fn a_program_of_many_names_has_the_one_it_was_started_with() {
    let name = |exe: &str, executed: &str, argv: &[&str]| {
        let mut program = process(exe, "/", argv);
        program.executed = Some(executed.to_owned());
        auto(&program)
    };
    let redis = "/usr/bin/redis-check-rdb";
    assert_eq!(
        name(redis, "/usr/bin/redis-server", &["/usr/bin/redis-server *:6379"]),
        "redis-server"
    );
    assert_eq!(
        name(redis, "/usr/bin/redis-server", &["redis-server", "--port", "1"]),
        "redis-server"
    );
    assert_eq!(name("/bin/busybox", "/usr/sbin/httpd", &["httpd", "-f"]), "httpd");
    assert_eq!(
        name("/usr/sbin/nginx", "/usr/sbin/nginx", &["nginx: worker process"]),
        "nginx"
    );
    // A script of an interpreter that is not known, a program run by its descriptor, a name of its own choice.
    assert_eq!(
        name(
            "/usr/bin/lua5.4",
            "/srv/shop.lua",
            &["/usr/bin/lua5.4", "/srv/shop.lua"]
        ),
        "lua5.4"
    );
    assert_eq!(name("/srv/shop", "/dev/fd/5", &["shop"]), "shop");
    assert_eq!(name("/srv/shop", "/srv/shop", &["worker 17"]), "shop");
}

#[test]
fn identities_tell_instances_apart() {
    let mut shop = process("/srv/bin/shop", "/", &["shop"]);
    let labels = |process: &ProcessInfo| {
        let Identity {
            service,
            container,
            namespace,
            pod,
        } = identity(process);
        [service, container, namespace, pod].map(|label| label.to_string())
    };
    assert_eq!(labels(&shop), ["shop", "", "", ""]);
    shop.cgroups = vec![format!("0::/docker/{ID}")];
    assert_eq!(labels(&shop), ["shop", "3f2a1b2c3d4e", "", ""]);
    shop.cgroups = vec!["0::/machine.slice/machine-foo.scope/payload/system.slice/store.service".to_owned()];
    assert_eq!(labels(&shop), ["store", "foo", "", ""]);
    shop.cgroups = vec!["0::/lxc.payload.foo".to_owned()];
    assert_eq!(labels(&shop), ["shop", "foo", "", ""]);
    // A unit that runs several applications names none.
    shop.cgroups = vec!["0::/system.slice/store.service".to_owned()];
    let described = describe(&shop, None, &[], &[]);
    assert_eq!(&*described.identity(false).service, "store");
    assert_eq!(&*described.identity(true).service, "shop");
    // A rule names the service, and leaves the instance.
    let rules = Config::parse("services: [{name: s, exe: shop}]", "x").unwrap().services;
    shop.cgroups = vec![format!("0::/docker/{ID}")];
    let ruled = describe(&shop, None, &[], &rules).identity(true);
    assert_eq!((&*ruled.service, &*ruled.container), ("s", "3f2a1b2c3d4e"));
}

#[test]
fn names_of_containers_come_from_their_runtime() {
    let root = std::env::temp_dir().join(format!("vigie-naming-{}", std::process::id()));
    let logs = root.join("var/log/containers");
    std::fs::create_dir_all(&logs).unwrap();
    let files = ContainerFiles::new(&root);
    let mut shop = process("/srv/bin/shop", "/", &["shop"]);
    shop.cgroups = vec![format!("0::/kubepods.slice/cri-containerd-{ID}.scope")];
    let early = super::describe(&shop, None, &[], &[], &files);
    assert!(early.is_weak);
    std::fs::write(logs.join(format!("web-7d9f_prod_web-{ID}.log")), "").unwrap();
    let found = super::describe(&shop, None, &[], &[], &files);
    std::fs::remove_dir_all(&root).unwrap();
    assert!(!found.is_weak);
    let expected = Identity {
        service: "web".into(),
        container: "web".into(),
        namespace: "prod".into(),
        pod: "web-7d9f".into(),
    };
    assert_eq!(found.identity(false), expected);
}

#[test]
fn weak_names_are_those_that_may_get_better() {
    let is_weak = |exe: &str, argv: &[&str]| describe(&process(exe, "/srv/shop", argv), None, &[], &[]).is_weak;
    assert!(is_weak("/usr/bin/python3", &["python3"]));
    assert!(is_weak("/usr/bin/python3", SPAWN));
    assert!(is_weak("", &[]));
    assert!(!is_weak("/usr/bin/python3", &["python3", "pay.py"]));
    assert!(!is_weak("/usr/sbin/nginx", &["nginx"]));
}

#[test]
fn node_has_one_name_before_and_after_its_title() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let directory = std::env::temp_dir().join(format!("vigie-title-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("api")).unwrap();
    let script = "const say = (text) => console.log(text);
        process.stdin.on('data', () => { process.title = 'shop'; say('titled'); }); say('ready');";
    std::fs::write(directory.join("api/index.js"), script).unwrap();
    let mut node = Command::new("node")
        .args(["api/index.js", "--port", "80"])
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let name = || auto(&ProcessInfo::read(node.id()).unwrap());
    assert_eq!(next(), "ready");
    let before = name();
    node.stdin.as_ref().unwrap().write_all(b"x").unwrap();
    assert_eq!(next(), "titled");
    let after = name();
    let _ = node.kill();
    let _ = node.wait();
    let _ = std::fs::remove_dir_all(&directory);
    assert_eq!(
        (before.as_str(), after.as_str()),
        ("node/api/index.js", "node/api/index.js")
    );
}

#[test]
fn a_script_behind_200_kilobytes_of_options_is_found() {
    use std::process::{Command, Stdio};

    let long = "x".repeat(100_000);
    let mut sleeper = Command::new("perl")
        .args(["-I", &long, "-I", &long, "/dev/stdin", "end"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // The child is a copy of this process until it has called execve.
    let info = loop {
        let info = ProcessInfo::read(sleeper.id()).unwrap();
        if info.comm == "perl" && !info.argv.is_empty() {
            break info;
        }
        std::thread::yield_now();
    };
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    let perl = process(
        "/usr/bin/perl",
        "/",
        &info.argv.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(auto(&perl), "perl/stdin");
}

#[test]
fn a_unit_of_a_machine_is_told_from_the_hosts() {
    let mut shop = process("/srv/bin/shop", "/", &["shop"]);
    shop.cgroups = vec!["0::/machine.slice/systemd-nspawn@foo.service/payload".to_owned()];
    assert_eq!(auto(&shop), "shop");
}

/// Starts a worker with a method of Python's `multiprocessing`, and returns what it is called while its server lives, and after.
fn worker_names(method: &str) -> (String, String) {
    use std::io::{BufRead, BufReader};
    use std::num::NonZeroUsize;
    use std::process::{Command, Stdio};

    let directory = std::env::temp_dir().join(format!("vigie-{method}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let script = "
import multiprocessing, os, sys, time
def work():
    print(os.getpid(), flush=True)
    time.sleep(60)
if __name__ == '__main__':
    multiprocessing.set_start_method(sys.argv[1])
    multiprocessing.Process(target=work).start()
    time.sleep(60)
";
    std::fs::write(directory.join("pay.py"), script).unwrap();
    let mut server = Command::new("python3")
        .args(["pay.py", method])
        .current_dir(&directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let worker: u32 = line.trim().parse().unwrap();
    let mut remembered = super::Remembered::new(NonZeroUsize::MIN);
    let mut name = || {
        let info = ProcessInfo::read(worker).unwrap();
        let seen = describe(&info, super::namer(&info).as_ref(), &[], &[]);
        remembered.settle(&info, seen).app
    };
    let before = name();
    let _ = server.kill();
    let _ = server.wait();
    let after = name();
    let _ = Command::new("kill").args(["-9", &worker.to_string()]).status();
    let _ = std::fs::remove_dir_all(&directory);
    (before, after)
}

#[test]
fn workers_of_python_keep_the_name_of_their_server() {
    for method in ["spawn", "forkserver"] {
        let expected = ("python/pay.py".to_owned(), "python/pay.py".to_owned());
        assert_eq!(worker_names(method), expected, "{method}");
    }
}
