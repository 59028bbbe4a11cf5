//! A real Alertmanager with the configuration of `dashboards/alertmanager`: what arrives, and where.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use testkit::{Alertmanager, TempDir, Webhook};

use super::files::{self, Files};

/// The address in the configuration, in whose place the test's own is put.
const PLACEHOLDER: &str = "127.0.0.1:9099";
/// How long deliveries may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long nothing more must come: several of the intervals that notifications are sent at.
const QUIET: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(100);

/// What has arrived, as `path status alert of`.
type Arrivals = BTreeSet<String>;

/// An alert as the rules make it: its name, level, category, and the label that says of what. `service@namespace` is a service in a
/// namespace.
#[derive(Clone, Copy)]
struct Alert(&'static str, &'static str, &'static str, (&'static str, &'static str));

/// All fire at once. What is not in [`FIRST`] must be silent.
const ALERTS: [Alert; 16] = [
    Alert("ServiceDown", "P1", "availability", ("service", "store")),
    Alert("ServiceSlow", "P1", "latency", ("service", "store")),
    Alert("ServiceErrors", "P2", "errors", ("service", "store")),
    Alert("SloBudgetBurn", "P3", "latency", ("service", "store")),
    Alert("BacklogFilling", "P2", "saturation", ("service", "shop")),
    Alert("ServiceThrottled", "P3", "saturation", ("service", "shop")),
    Alert("ServiceErrors", "P2", "errors", ("service", "shop")),
    Alert("ServiceErrors", "P3", "errors", ("service", "shop")),
    Alert("HostMemory", "P1", "saturation", ("instance", "h:10190")),
    Alert("HostMemory", "P2", "saturation", ("instance", "h:10190")),
    Alert("HostCpu", "P3", "saturation", ("instance", "h:10190")),
    Alert("VigieLosingEvents", "P2", "vigie", ("instance", "h:10190")),
    Alert("HostMemory", "P2", "saturation", ("instance", "i:10190")),
    // What is down in one namespace says nothing of a service of that name in another one.
    Alert("ServiceDown", "P1", "availability", ("service", "web@shop")),
    Alert("ServiceErrors", "P2", "errors", ("service", "web@shop")),
    Alert("ServiceErrors", "P2", "errors", ("service", "web@test")),
];
const FIRST: [&str; 13] = [
    "/page firing ServiceDown store",
    "/chat/p1 firing ServiceDown store",
    "/page firing HostMemory h:10190",
    "/chat/p1 firing HostMemory h:10190",
    "/chat/p2 firing BacklogFilling shop",
    "/chat/p2 firing ServiceErrors shop",
    "/chat/p2 firing VigieLosingEvents h:10190",
    "/chat/p2 firing HostMemory i:10190",
    "/page firing ServiceDown web@shop",
    "/chat/p1 firing ServiceDown web@shop",
    "/chat/p2 firing ServiceErrors web@test",
    "/ticket firing ServiceThrottled shop",
    "/ticket firing HostCpu h:10190",
];
/// When the service listens again, and a host has memory again: that is said, and then that the service is slow, which still silences
/// the lower levels.
const THEN: [&str; 5] = [
    "/chat/p2 resolved HostMemory i:10190",
    "/page resolved ServiceDown store",
    "/chat/p1 resolved ServiceDown store",
    "/page firing ServiceSlow store",
    "/chat/p1 firing ServiceSlow store",
];

/// Starts an Alertmanager, gives it alerts, and looks at what it delivers.
pub fn check(program: &Path, files: &Files) -> Result<()> {
    let webhook = Webhook::start()?;
    let dir = TempDir::new()?;
    for template in files::list(&files.alertmanager().join("templates"), "tmpl")? {
        let name = template
            .file_name()
            .context("a template without a name")?
            .to_string_lossy();
        dir.write(&format!("templates/{name}"), files::text(&template)?.as_bytes())?;
    }
    let config = files::text(&files.alertmanager().join("alertmanager.yml"))?;
    let alertmanager = Alertmanager::start(program, dir, &hastened(&config, &webhook)?)?;

    let begin = Timestamp::now();
    let firing: Vec<Value> = ALERTS.iter().map(|alert| alert.json(begin, None)).collect();
    alertmanager.post(&Value::from(firing))?;
    let first = FIRST.map(str::to_owned).into_iter().collect::<Arrivals>();
    wait_for(&webhook, &first).context("when all fire")?;

    let end = Some(Timestamp::now());
    alertmanager.post(&json!([ALERTS[0].json(begin, end), ALERTS[12].json(begin, end)]))?;
    let then = THEN.map(str::to_owned).into_iter().collect::<Arrivals>();
    wait_for(&webhook, &first.union(&then).cloned().collect()).context("when the service listens again")?;
    check_texts(&webhook)
}

// === impl Alert ===

impl Alert {
    fn json(self, begin: Timestamp, end: Option<Timestamp>) -> Value {
        let Self(name, severity, category, (label, of)) = self;
        let (of_label, namespace) = of.split_once('@').unwrap_or((of, ""));
        let mut alert = json!({
            "labels": { "alertname": name, "severity": severity, "category": category, label: of_label },
            "annotations": {
                "summary": format!("{name} of {of}"),
                "description": format!("{name} of {of} is 42"),
                "runbook_url": format!("docs/runbooks/{name}.md"),
            },
            "startsAt": begin.to_string(),
        });
        if !namespace.is_empty() {
            alert["labels"]["namespace"] = namespace.into();
        }
        if let Some(end) = end {
            alert["endsAt"] = end.to_string().into();
        }
        alert
    }
}

/// The configuration with the test's address, and without the time in which more of a group is waited for.
fn hastened(config: &str, webhook: &Webhook) -> Result<String> {
    ensure!(config.contains(PLACEHOLDER), "no {PLACEHOLDER} in the configuration");
    let lines = config.lines().map(|line| {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        match text.split_once(':') {
            Some((key @ ("group_wait" | "group_interval"), _)) => format!("{indent}{key}: 1s\n"),
            _ => format!("{line}\n"),
        }
    });
    Ok(lines
        .collect::<String>()
        .replace(PLACEHOLDER, &webhook.address().to_string()))
}

/// Waits until all of that has arrived, and then a little longer: nothing else may.
fn wait_for(webhook: &Webhook, expected: &Arrivals) -> Result<()> {
    let end = Instant::now() + LIMIT;
    loop {
        let missing: Vec<String> = expected.difference(&arrivals(webhook)?).cloned().collect();
        if missing.is_empty() {
            break;
        }
        ensure!(Instant::now() < end, "did not arrive: {}", missing.join(", "));
        thread::sleep(LOOK);
    }
    thread::sleep(QUIET);
    let more: Vec<String> = arrivals(webhook)?.difference(expected).cloned().collect();
    ensure!(more.is_empty(), "should not have arrived: {}", more.join(", "));
    Ok(())
}

fn arrivals(webhook: &Webhook) -> Result<Arrivals> {
    let mut arrivals = Arrivals::new();
    for message in webhook.messages()? {
        if let Some(alerts) = message.body["alerts"].as_array() {
            for alert in alerts {
                let labels = &alert["labels"];
                let of = labels["service"].as_str().or(labels["instance"].as_str());
                let words = [alert["status"].as_str(), labels["alertname"].as_str(), of];
                let words = words.map(|word| word.unwrap_or("?")).join(" ");
                let namespace = labels["namespace"].as_str();
                let namespace = namespace.map_or_else(String::new, |name| format!("@{name}"));
                arrivals.insert(format!("{} {words}{namespace}", message.path));
            }
            continue;
        }
        // A chat's message: the template has made text of the alerts, one paragraph for each.
        for line in chat_text(&message.body)?.lines() {
            let (status, rest) = match line.strip_prefix("Resolved: ") {
                Some(rest) => ("resolved", rest),
                None => ("firing", line),
            };
            if let Some((name, of)) = rest.split_once(" of ")
                && !name.contains(' ')
            {
                let of = of.split_whitespace().next().unwrap_or("?");
                arrivals.insert(format!("{} {status} {name} {of}", message.path));
            }
        }
    }
    Ok(arrivals)
}

fn chat_text(body: &Value) -> Result<&str> {
    let text = body["attachments"][0]["text"].as_str();
    text.with_context(|| format!("neither alerts nor a chat's text: {body}"))
}

/// What the templates make of an alert that fires, and of one that is over.
fn check_texts(webhook: &Webhook) -> Result<()> {
    let messages = webhook.messages()?;
    let chats = messages.iter().filter(|message| message.path.starts_with("/chat/"));
    let attachments: Vec<&Value> = chats.map(|message| &message.body["attachments"][0]).collect();
    for (title, color, text) in [
        (
            "[P1] store: ServiceDown of store",
            "danger",
            "ServiceDown of store is 42\nP1 ServiceDown since 20",
        ),
        (
            "[P1] shop/web: ServiceDown of web@shop",
            "danger",
            "ServiceDown of web@shop is 42\nP1 ServiceDown since 20",
        ),
        (
            "[resolved] i:10190: HostMemory of i:10190",
            "good",
            "Resolved: HostMemory of i:10190\nP2 HostMemory since 20",
        ),
        (
            "[P1] h:10190: HostMemory of h:10190",
            "danger",
            "What to do: docs/runbooks/HostMemory.md",
        ),
    ] {
        let is_it = |attachment: &&Value| {
            let part = |name: &str| attachment[name].as_str().unwrap_or_default();
            part("title") == title && part("color") == color && part("text").contains(text)
        };
        let shown = || {
            attachments
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        ensure!(
            attachments.iter().any(is_it),
            "no message '{title}' ({color}) with '{text}' among\n{}",
            shown()
        );
    }
    Ok(())
}
