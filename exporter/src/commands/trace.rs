//! `vigie trace`: single requests, as they end.
//!
//! It asks a running `vigie serve` for them, or watches on its own if there is none.

mod own;
mod remote;
mod text;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::SignedDuration;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use crate::{
    logging::{Format, Level, start},
    observe::{
        filter::{DEFAULT_RATE, Filter},
        tracers::{Line, NotShown},
    },
    web::trace_socket::USUAL,
};
use own::Own;
use remote::{Found, Remote, is_forbidden};
use text::Style;

/// How long the last lines may take after the trace was ended.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The flags of `vigie trace`.
#[derive(Args, Debug)]
pub struct Trace {
    /// Only this service; may be given several times.
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Only this handler, a route's template as /items/{id}; may be given several times.
    #[arg(long, value_name = "TEMPLATE")]
    handler: Vec<String>,
    /// Only this status; 0 is a request whose connection was closed before it was answered.
    #[arg(long, value_name = "CODE")]
    status: Option<u16>,
    /// Only requests that take at least this long, as 100ms or 1.5s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slower: Option<Duration>,
    /// Only errors: a status from 400 on, or no answer at all.
    #[arg(long)]
    errors: bool,
    /// How many requests to show in a second at the most; 0 is all of them.
    #[arg(long, value_name = "NUMBER", default_value_t = DEFAULT_RATE)]
    rate: u32,
    /// Write a JSON object for each request, with durations in seconds.
    #[arg(long)]
    json: bool,
    /// End after so many requests.
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The socket of the Vigie to ask [default: /run/vigie/trace.sock, or none: watch on its own, as root].
    #[arg(long = "trace.socket", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The config to watch with on its own, as that of `vigie serve`.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "write it as 100ms, 1.5s or 2m".to_owned())?;
    duration.try_into().map_err(|_| "it cannot be negative".to_owned())
}

/// Where the lines come from.
enum Source {
    Remote(Remote),
    Own(Own),
}

// === impl Source ===

impl Source {
    /// The next line; `None`: that was the last.
    async fn next(&mut self) -> Result<Option<Line>> {
        match self {
            Self::Remote(remote) => remote.next().await,
            Self::Own(own) => own.next().await,
        }
    }

    /// Asks for the end: what is left follows, and how much was not shown.
    async fn end(&mut self) -> Result<()> {
        match self {
            Self::Remote(remote) => remote.end().await,
            Self::Own(own) => own.end(),
        }
    }
}

// === impl Trace ===

impl Trace {
    /// Shows requests until it is told to stop.
    ///
    /// # Errors
    ///
    /// If there is no Vigie to ask, and no request can be seen without.
    pub fn run(self) -> Result<()> {
        start(Level::Warn, Format::Text)?;
        let filter = Filter {
            services: self.service.clone(),
            handlers: self.handler.clone(),
            status: self.status,
            slower: self.slower.unwrap_or_default(),
            errors: self.errors,
            rate: self.rate,
        };
        filter.check()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        LocalSet::new().block_on(&runtime, async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let source = self.source(filter).await?;
            let stop = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            self.show(source, stop).await
        })
    }

    async fn source(&self, filter: Filter) -> Result<Source> {
        let is_given = self.socket.is_some();
        let socket = self.socket.as_deref().unwrap_or(Path::new(USUAL));
        let place = socket.display();
        match Remote::begin(socket, &filter).await {
            Ok(Found::Vigie(remote)) => return Ok(Source::Remote(*remote)),
            Ok(Found::Refused(reason)) => bail!("the Vigie at {place} refuses: {reason}"),
            Ok(Found::Other(reason)) => bail!("no Vigie with traces at {place}: {reason}"),
            Err(error) if is_forbidden(&error) => {
                bail!("traces are for root and the group vigie: you may not use {place}")
            }
            Err(error) if is_given => return Err(error),
            Err(_) => {}
        }
        let own = Own::begin(self.config_file.as_deref(), filter).with_context(|| {
            format!("there is no Vigie at {place} to ask (--trace.socket), and watching without one fails")
        })?;
        eprintln!("vigie: no Vigie at {place}: watching without one");
        Ok(Source::Own(own))
    }

    async fn show(&self, mut source: Source, stop: impl Future<Output = ()>) -> Result<()> {
        let style = Style::new(io::stdout().is_terminal());
        let (mut shown, mut not_shown) = (0, NotShown::default());
        tokio::pin!(stop);
        let mut is_ending = false;
        let deadline = tokio::time::sleep(Duration::MAX);
        tokio::pin!(deadline);
        loop {
            let line = tokio::select! {
                line = source.next() => match line? {
                    Some(line) => line,
                    None => break,
                },
                () = &mut stop, if !is_ending => {
                    source.end().await?;
                    is_ending = true;
                    deadline.as_mut().reset(tokio::time::Instant::now() + END_TIMEOUT);
                    continue;
                }
                () = &mut deadline, if is_ending => break,
            };
            match line {
                Line::Begin { .. } => {}
                Line::NotShown { not_shown: now } => {
                    let more = now.total().saturating_sub(not_shown.total());
                    not_shown = now;
                    if more > 0 && !is_ending {
                        eprintln!("… {more} not shown");
                    }
                }
                Line::Request(request) => {
                    if self.count.is_some_and(|count| shown >= count) {
                        continue;
                    }
                    let text = if self.json {
                        serde_json::to_string(&request)?
                    } else {
                        style.line(&request)
                    };
                    match writeln!(io::stdout(), "{text}") {
                        // Whoever read the lines has seen enough, as `head` does: that is no error.
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                        result => result.context("cannot write to standard output")?,
                    }
                    shown += 1;
                    if self.count == Some(shown) && !is_ending {
                        source.end().await?;
                        is_ending = true;
                        deadline.as_mut().reset(tokio::time::Instant::now() + END_TIMEOUT);
                    }
                }
            }
        }
        eprintln!("{}", text::summary(shown, &not_shown));
        if !is_ending {
            bail!("Vigie has ended the trace");
        }
        Ok(())
    }
}
