//! `cargo xtask drill`: the store is stopped, and the alert has to come all the way, and to go again.
//!
//! Prometheus has the rules of `dashboards/prometheus` and Alertmanager the configuration of `dashboards/alertmanager`. What is changed
//! in them for the drill is printed: the receivers' address, and, so that it does not take long, times.

#![expect(clippy::print_stdout, reason = "these lines are what the command shows")]

mod alert;
mod notice;
pub mod shorten;

use crate::lab::stand::{End, INSTANCES, Plan, Stand};
use crate::setup::{Monitoring, Tools};
use crate::{command, lab, paths};
use alert::Alert;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use notice::Notice;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Alertmanager, TempDir, Webhook, stop};

const POLL_PERIOD: Duration = Duration::from_millis(100);
/// For each step beside the rule's own time.
const PATIENCE: Duration = Duration::from_secs(45);
/// The same where no time was made shorter: groups wait for minutes.
const REAL_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// What is looked at before anything is done: an alert that fires anyhow proves nothing.
const CALM: Duration = Duration::from_secs(4);
/// How the instances' names begin. Other services of this host can have alerts meanwhile.
const STORE: &str = "store-";
const CONFIG: &str = "alertmanager.yml";

#[derive(Args, Debug)]
pub struct Options {
    /// Leave the rules' and Alertmanager's times as they are; the drill takes minutes then
    #[arg(long)]
    real_time: bool,
    /// The Debian release whose Prometheus and Alertmanager are used: bookworm or sid
    #[arg(long, default_value = "bookworm")]
    suite: String,
}

impl Default for Options {
    /// A short one, as part of all tests.
    fn default() -> Self {
        Self {
            real_time: false,
            suite: "bookworm".to_owned(),
        }
    }
}

/// Lets the alert come and go, and fails if a step does not follow.
pub fn run(tools: &Tools, monitoring: &[Monitoring], options: &Options) -> Result<()> {
    let monitoring = lab::choose(monitoring, &options.suite)?;
    let vigie = command::build(&["vigie"])?.join("vigie");
    let stop = stop::on_signal()?;
    let (rules, alert) = rules(options.real_time)?;
    let webhook = Webhook::start()?;
    let alertmanager = start_alertmanager(monitoring, options.real_time, webhook.address().port())?;
    let mut stand = Stand::start(&Plan {
        tools,
        vigie: &vigie,
        monitoring,
        port: None,
        interval: if options.real_time { "5s" } else { "1s" },
        rules: &rules.files,
        alertmanager: Some(alertmanager.server.port()),
    })?;
    println!(
        "Prometheus is on http://{}, Alertmanager on http://{} (Debian {}'s)",
        stand.prometheus.server.address(),
        alertmanager.server.address(),
        monitoring.suite
    );
    let drill = Drill {
        alert: &alert,
        webhook: &webhook,
        patience: if options.real_time { REAL_PATIENCE } else { PATIENCE },
        stop: &stop,
        begin: Instant::now(),
    };
    drill.go(&mut stand)
}

/// What is drilled.
struct Drill<'a> {
    alert: &'a Alert,
    webhook: &'a Webhook,
    patience: Duration,
    stop: &'a AtomicBool,
    begin: Instant,
}

// === impl Drill ===

impl Drill<'_> {
    fn go(&self, stand: &mut Stand) -> Result<()> {
        let (name, pending) = (&self.alert.name, &self.alert.pending);
        let state = |stand: &Stand, state: &str| -> Result<bool> {
            let query = format!("ALERTS{{alertname=\"{name}\",alertstate=\"{state}\",service=~\"{STORE}.*\"}}");
            Ok(!stand.prometheus.query(&query)?.is_empty())
        };
        let is_known = "count(service_listening{service=~\"store-.*\"} == 1)";
        self.wait("Prometheus sees the instances listen", || {
            let samples = stand.prometheus.query(is_known)?;
            Ok(samples.first().is_some_and(|sample| sample.value >= INSTANCES as f64))
        })?;
        thread::sleep(CALM);
        ensure!(
            !state(stand, "pending")? && !state(stand, "firing")?,
            "{name} is there before anything was done"
        );

        for index in 0..INSTANCES {
            stand.end(index, End::Kill)?;
        }
        self.say("all instances of the store are stopped");
        self.wait(&format!("{name} is pending in Prometheus (for {pending})"), || {
            state(stand, "pending")
        })?;
        self.wait(&format!("{name} fires in Prometheus"), || state(stand, "firing"))?;
        let firing = self.notice("firing")?;
        ensure!(
            firing.severity == self.alert.severity,
            "it came with severity '{}' instead of '{}'",
            firing.severity,
            self.alert.severity
        );
        println!("           {}: {}", firing.severity, firing.summary);
        check_runbook(&firing)?;

        for index in 0..INSTANCES {
            stand.restart(index)?;
        }
        self.say("all instances of the store are started again");
        self.wait(&format!("{name} is over in Prometheus"), || {
            Ok(!state(stand, "pending")? && !state(stand, "firing")?)
        })?;
        self.notice("resolved")?;
        stand.check()?;
        println!(
            "the alert has come and gone  {:.0} s",
            self.begin.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Waits until the webhook has got the alert.
    fn notice(&self, status: &str) -> Result<Notice> {
        let find = || notice::find(self.webhook, &self.alert.name, STORE, status);
        self.wait(&format!("Alertmanager has delivered '{status}' to the webhook"), || {
            Ok(find()?.is_some())
        })?;
        let notice = find()?.context("the notice is gone")?;
        println!("           on {}", notice.path);
        Ok(notice)
    }

    fn wait(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let end =
            Instant::now() + self.patience + Duration::from_secs(shorten::seconds(&self.alert.pending).unwrap_or(0));
        while !holds()? {
            ensure!(!self.stop.load(Ordering::Relaxed), "told to stop");
            if Instant::now() > end {
                bail!("not seen within {:?}: {what}", self.patience);
            }
            thread::sleep(POLL_PERIOD);
        }
        self.say(what);
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("{:>7.1} s  {what}", self.begin.elapsed().as_secs_f64());
    }
}

/// Rule files for Prometheus, in a directory of their own.
struct Rules {
    _dir: TempDir,
    files: Vec<PathBuf>,
}

/// Copies the rules, with shorter times unless they are to be left as they are.
fn rules(real_time: bool) -> Result<(Rules, Alert)> {
    let dir = TempDir::new()?;
    let mut files = Vec::new();
    let mut texts = Vec::new();
    for file in lab::rules()? {
        let name = file
            .file_name()
            .context("a file without a name")?
            .to_string_lossy()
            .into_owned();
        let text = read(&file)?;
        let copy = match real_time {
            true => shorten::Copy {
                text,
                changes: Vec::new(),
            },
            false => shorten::shorten(&text, &shorten::RULES),
        };
        say_changes(&format!("dashboards/prometheus/rules/{name}"), &copy.changes);
        files.push(dir.write(&name, copy.text.as_bytes())?);
        texts.push(copy.text);
    }
    let alert = alert::find(texts.iter().map(String::as_str))?;
    Ok((Rules { _dir: dir, files }, alert))
}

/// Starts Alertmanager with a copy of its directory, whose receivers are the webhook.
fn start_alertmanager(monitoring: &Monitoring, real_time: bool, webhook: u16) -> Result<Alertmanager> {
    let source = paths::root()?.join("dashboards/alertmanager");
    let dir = TempDir::new()?;
    copy_all(&source, dir.path())?;
    let redirected = shorten::redirect(&read(&source.join(CONFIG))?, webhook);
    ensure!(
        !redirected.changes.is_empty(),
        "dashboards/alertmanager/{CONFIG} has no webhook"
    );
    let mut copy = match real_time {
        true => shorten::Copy {
            text: redirected.text.clone(),
            changes: Vec::new(),
        },
        false => shorten::shorten(&redirected.text, &shorten::ROUTES),
    };
    copy.changes.splice(0..0, redirected.changes);
    say_changes(&format!("dashboards/alertmanager/{CONFIG}"), &copy.changes);
    Alertmanager::start(&monitoring.alertmanager(), dir, &copy.text).context("cannot start Alertmanager")
}

fn say_changes(file: &str, changes: &[String]) {
    match changes {
        [] => println!("{file}: as it is"),
        _ => println!("{file}: as it is, but for {}", changes.join(", ")),
    }
}

fn copy_all(source: &Path, target: &Path) -> Result<()> {
    let context = || format!("cannot copy {}", source.display());
    fs::create_dir_all(target).with_context(context)?;
    for entry in fs::read_dir(source).with_context(context)? {
        let entry = entry.with_context(context)?;
        let to = target.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to).with_context(context)?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Who is woken up by an alert follows its link: it must lead somewhere.
fn check_runbook(notice: &Notice) -> Result<()> {
    let page = notice.runbook.split_once("docs/runbooks/").map(|(_, page)| page);
    let page = page.with_context(|| format!("its runbook '{}' is not in docs/runbooks", notice.runbook))?;
    let page = page.split('#').next().unwrap_or(page);
    let file = paths::root()?.join("docs/runbooks").join(page);
    ensure!(
        file.is_file(),
        "there is no docs/runbooks/{page}, to which the alert leads"
    );
    Ok(())
}
