//! What the lab prints.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

use super::agreement::Accounts;
use super::deaths::Death;
use super::figures::Figures;
use super::scaling;
use super::stand::{End, Stand};
use testkit::table::{Table, milliseconds};

/// Where everything is.
pub fn stand(stand: &Stand, suite: &str) {
    let instances: Vec<String> = stand
        .instances
        .iter()
        .map(|one| format!("{} on port {}", one.name, one.port))
        .collect();
    println!(
        "nginx is on http://{}, before {}",
        stand.balancer.address(),
        instances.join(", ")
    );
    println!(
        "Vigie's metrics are on http://{}/metrics; Prometheus (Debian {suite}'s) is on http://{}",
        stand.vigie.server.address(),
        stand.prometheus.server.address()
    );
}

pub fn ending(name: &str, how: End) {
    let signal = match how {
        End::Kill => "SIGKILL",
        End::Term => "SIGTERM",
    };
    println!("{name} is ended with {signal}");
}

/// A line for each number of instances, and one for each instance.
pub fn figures(all: &[Figures]) {
    println!(
        "\nBy the number of instances, as the clients saw it and as Prometheus has it from Vigie at nginx (its p95 is from buckets):\n"
    );
    let header = [
        "",
        "",
        "requests/s",
        "",
        "mean ms",
        "",
        "p95 ms",
        "",
        "errors %",
        "",
        "host",
        "store",
    ];
    let mut table = Table::new(0, header);
    table.add(
        [
            "instances",
            "seconds",
            "client",
            "Vigie",
            "client",
            "Vigie",
            "client",
            "Vigie",
            "client",
            "Vigie",
            "CPU %",
            "CPUs",
        ]
        .map(str::to_owned),
    );
    for figures in all {
        let (client, vigie) = (&figures.client, &figures.balancer.requests);
        table.add([
            figures.instances.to_string(),
            figures.seconds.to_string(),
            one(client.rate),
            one(vigie.rate),
            milliseconds(client.mean),
            milliseconds(vigie.mean),
            milliseconds(client.p95),
            milliseconds(vigie.p95),
            percent(client.errors),
            percent(vigie.errors),
            format!("{:.0}", figures.host_busy * 100.0),
            format!("{:.2}", figures.cpus()),
        ]);
    }
    println!("{}", table.render());

    println!("Each instance, as Prometheus has it from Vigie:\n");
    let mut table = Table::new(2, ["", "", "", "", "", "", "", "wait for a CPU", ""]);
    table.add(
        [
            "instances",
            "service",
            "requests/s",
            "mean ms",
            "p95 ms",
            "errors %",
            "CPUs",
            "s per s",
            "ms per request",
        ]
        .map(str::to_owned),
    );
    for figures in all {
        let services = figures.services.iter().chain([&figures.balancer]);
        for (index, service) in services.enumerate() {
            let requests = &service.requests;
            let wait = (requests.rate > 0.0).then(|| service.waiting / requests.rate);
            table.add([
                if index == 0 {
                    figures.instances.to_string()
                } else {
                    String::new()
                },
                service.name.clone(),
                one(requests.rate),
                milliseconds(requests.mean),
                milliseconds(requests.p95),
                percent(requests.errors),
                format!("{:.2}", service.cpus),
                format!("{:.2}", service.waiting),
                milliseconds(wait),
            ]);
        }
    }
    println!("{}", table.render());
}

/// What was lost with each instance.
pub fn deaths(all: &[Death]) {
    let mut table = Table::new(1, ["", "Vigie: requests", "Vigie: nginx' own", "client: requests"]);
    table.add(["ended", "cut off in it", "answers (502, 504)", "lost"].map(str::to_owned));
    for death in all {
        table.add([
            death.name.clone(),
            death.cut_off.to_string(),
            death.own_answers.to_string(),
            death.lost.to_string(),
        ]);
    }
    println!("While an instance died; nginx asks another instance for what it may ask twice:\n");
    println!("{}", table.render());
}

/// The counts of the whole run.
pub fn accounts(accounts: &Accounts) {
    let mut table = Table::new(1, ["", "client", "Vigie: nginx", "Vigie: instances"]);
    for (status, counts) in accounts.by_status() {
        let [client, balancer, instances] = counts.map(|count| count.to_string());
        let status = match status {
            0 => "no answer".to_owned(),
            status => status.to_string(),
        };
        table.add([status, client, balancer, instances]);
    }
    println!("Answers of the whole run, by status:\n");
    println!("{}", table.render());
}

pub fn scaling(all: &[Figures]) {
    println!("What the numbers say (the load runs on the same host):\n");
    for line in scaling::sentences(all) {
        println!("- {line}");
    }
    println!();
}

/// What Prometheus' rules made of it.
pub fn alerts(fired: &[String]) {
    match fired {
        [] => println!("no alert has fired"),
        fired => println!("alerts that have fired: {}", fired.join(", ")),
    }
}

pub fn agree(accounts: &Accounts, series: usize) {
    let all: u64 = accounts.client.values().sum();
    println!("all counts agree: {all} requests, {series} series at nginx");
}

fn one(number: f64) -> String {
    format!("{number:.1}")
}

fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}
