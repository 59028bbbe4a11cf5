//! `vigie serve`: watch, and serve what is seen to Prometheus.

use std::{path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use log::{info, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::LocalSet,
};

use crate::{
    config::{Config, Profile},
    logging::{Format, Level, start},
    watch::Watch,
    web::{
        connections::Connections,
        pages::Site,
        server, trace,
        trace_socket::{self, TraceSocket},
    },
};

/// The flags of `vigie serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Address to serve on, `host:port` or `:port`; may be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10190")]
    listen_address: Vec<String>,
    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    telemetry_path: String,
    /// How many answers may be on their way at once: what finds no place gets 503; 0 is no limit.
    #[arg(long = "web.max-requests", value_name = "NUMBER", default_value_t = 40)]
    max_requests: usize,
    /// Unix socket for 'vigie trace', which root may use, and the group vigie.
    #[arg(long = "trace.socket", value_name = "PATH", default_value = trace_socket::USUAL)]
    trace_socket: PathBuf,
    /// YAML file with services, routes and buckets.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Whose names, labels and buckets the request metrics have [default: what the file says, else vigie]
    #[arg(long = "metrics.profile", value_name = "PROFILE")]
    profile: Option<Profile>,
    /// How long to show a service, and what was counted for it, after it has ended: `5m`, `90s`
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = retention)]
    retention: Duration,
    /// Whether to tell the instances of a service apart by their containers and pods, or to add them up
    #[arg(long = "metrics.instances", value_name = "HOW", default_value = "apart")]
    instances: Instances,
    /// What to log at the least.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// How to write log lines.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// What the programs in the kernel log at the least; costs time for each event.
    #[arg(long = "log.kernel-level", value_name = "LEVEL", default_value = "off")]
    kernel_log_level: Level,
}

/// How instances of a service are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Instances {
    /// With labels of their own, where they say something.
    Apart,
    /// As one.
    Merged,
}

/// The signals that would end a program that knows nothing of them, and that others send to have something read or opened again.
const IGNORED: [(SignalKind, &str); 3] = [
    (SignalKind::hangup(), "SIGHUP"),
    (SignalKind::user_defined1(), "SIGUSR1"),
    (SignalKind::user_defined2(), "SIGUSR2"),
];

/// Up to a day: what is kept takes memory.
const LONGEST_RETENTION: Duration = Duration::from_secs(86_400);

fn retention(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST_RETENTION {
        return Err("it is longer than a day".to_owned());
    }
    Ok(duration)
}

fn telemetry_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("it has to start with '/'".to_owned());
    }
    if ["/", "/-/healthy", "/-/ready", trace::PATH].contains(&text) {
        return Err("there is another page at that path".to_owned());
    }
    Ok(text.to_owned())
}

// === impl Serve ===

impl Serve {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    ///
    /// If the config is wrong, an address cannot be had, or no request can be seen.
    pub fn run(self) -> Result<()> {
        start(self.log_level, self.log_format)?;
        let mut config = match &self.config_file {
            Some(path) => Config::load_for(path, self.profile)?,
            None => Config::of(self.profile.unwrap_or_default()),
        };
        config.retention = self.retention;
        config.merges_instances = self.instances == Instances::Merged;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        LocalSet::new().block_on(&runtime, self.watch(config))
    }

    async fn watch(self, config: Config) -> Result<()> {
        let mut listeners = Vec::new();
        for address in &self.listen_address {
            listeners.push(server::listen(address).await?);
        }
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        for (kind, name) in IGNORED {
            tokio::task::spawn_local(ignore(signal(kind)?, name));
        }

        let watch = Watch::start(&config, self.kernel_log_level)?;
        let site = Rc::new(Site::new(self.telemetry_path, Rc::clone(&watch), self.max_requests));
        let connections: Rc<Connections> = Rc::default();
        if let Some(socket) = TraceSocket::open_if_possible(&self.trace_socket) {
            let serve = server::serve_traces(socket, Rc::clone(&site), Rc::clone(&connections));
            tokio::task::spawn_local(serve);
        }
        for (listener, address) in listeners {
            info!("listening on http://{address}");
            tokio::task::spawn_local(server::serve(listener, Rc::clone(&site), Rc::clone(&connections)));
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = watch.has_ended() => bail!("a part of Vigie has failed, and it does not watch any more: the lines before say why"),
        }
        info!("stopping");
        connections.stop().await;
        Ok(())
    }
}

/// Says of a signal, each time that it comes, that it does nothing here.
async fn ignore(mut signal: Signal, name: &str) {
    while signal.recv().await.is_some() {
        warn!("{name} does nothing here: restart Vigie to have it read its configuration again");
    }
}
