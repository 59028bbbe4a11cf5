//! Where the metrics come from: a `vigie serve` that runs, or programs of one's own.

use std::{path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::task::LocalSet;

use super::{
    fetch::{Url, get},
    scrape::Scrape,
};
use crate::{
    config::{Config, Profile, SERVICE},
    logging::Level,
    metrics::format::Format,
    watch::{Wanted, Watch},
};

/// Where `vigie serve` is, unless its flags say otherwise.
const USUAL: &str = "http://127.0.0.1:10190/metrics";

/// How long somebody may take who is only perhaps there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take that is needed.
const LIMIT: Duration = Duration::from_secs(10);

/// The flags that say where to look.
#[derive(Args, Debug)]
pub struct Options {
    /// Metrics of a running 'vigie serve' [default: http://127.0.0.1:10190/metrics if it is there, else Vigie watches by
    /// itself, as root]
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// YAML file with services, routes and buckets, for watching by itself.
    #[arg(long = "config.file", value_name = "FILE", conflicts_with = "url")]
    config_file: Option<PathBuf>,
}

/// Runs what reads a source: on one thread, where its own programs report, too.
///
/// # Errors
///
/// Those of the task, and if no task can be run.
pub fn run(task: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    LocalSet::new().block_on(&runtime, task)
}

/// The same metrics under Vigie's own names, whatever profile it serves them in and whatever it calls the label of the service.
fn own(url: &Url) -> Url {
    url.with_query(&format!("profile={}&service_label={SERVICE}", Profile::Vigie))
}

/// A source of metrics.
pub enum Source {
    /// A `vigie serve`.
    Served(Url),
    /// This process.
    Own(Rc<Watch>),
}

// === impl Source ===

impl Source {
    /// Finds it. A config file is for programs of one's own: with one, no other Vigie is looked for.
    ///
    /// # Errors
    ///
    /// If the address that was given is not Vigie's, or no request can be seen from here.
    pub async fn open(options: Options) -> Result<Self> {
        let Options { url, config_file } = options;
        if let Some(url) = url {
            let text = get(&own(&url), LIMIT)
                .await
                .with_context(|| format!("cannot read {url}"))?;
            ensure!(
                Scrape::read(&text).is_ok_and(|scrape| scrape.is_vigie()),
                "{url} is not Vigie: it has no vigie_build_info"
            );
            return Ok(Self::Served(url));
        }
        let config = match &config_file {
            Some(file) => Config::load(file)?,
            None => {
                let usual: Url = USUAL.parse().map_err(anyhow::Error::msg)?;
                let text = get(&own(&usual), PATIENCE).await;
                if text.is_ok_and(|text| Scrape::read(&text).is_ok_and(|scrape| scrape.is_vigie())) {
                    return Ok(Self::Served(usual));
                }
                Config::default()
            }
        };
        let watch = Watch::start(&config, Level::Off).with_context(|| match config_file {
            Some(_) => "cannot watch this host".to_owned(),
            None => format!("no Vigie serves {USUAL} (--url names another), and this one cannot watch by itself"),
        })?;
        Ok(Self::Own(watch))
    }

    /// Everything as it is now.
    ///
    /// # Errors
    ///
    /// If it cannot be had.
    pub async fn scrape(&self) -> Result<Scrape> {
        let text = match self {
            Self::Served(url) => get(&own(url), LIMIT)
                .await
                .with_context(|| format!("cannot read {url}"))?,
            Self::Own(watch) => {
                let wanted = Wanted {
                    profile: Profile::Vigie,
                    service_label: SERVICE,
                    format: Format::Text,
                    with_created: false,
                    shown: None,
                };
                String::from_utf8(watch.metrics(wanted)?.body)?
            }
        };
        let scrape = Scrape::read(&text)?;
        ensure!(scrape.is_vigie(), "this is not Vigie any more");
        Ok(scrape)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Served(url) => write!(formatter, "{url}"),
            Self::Own(_) => formatter.write_str("own programs"),
        }
    }
}
