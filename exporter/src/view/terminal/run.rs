//! Scrapes, keys and signals.

use std::{future::poll_fn, io::Write as _, pin::Pin, rc::Rc};

use anyhow::{Context as _, Result};
use crossterm::event::{Event, EventStream};
use futures_core::Stream as _;
use ratatui::DefaultTerminal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    app::{App, Next},
    data::Data,
    draw::{Context, draw},
    plain,
};
use crate::view::{scrape::Scrape, source::Source};

/// A terminal that is a program's own until this is dropped: then it is as it was. Panics restore it as well.
struct Screen(DefaultTerminal);

// === impl Screen ===

impl Screen {
    fn take() -> Result<Self> {
        Ok(Self(ratatui::try_init().context("cannot use this terminal")?))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone cannot be restored, and need not.
        let _ = ratatui::try_restore();
    }
}

/// Scrapes once in each period, whether or not somebody has looked at the last one.
fn scrapes(source: Rc<Source>, context: &Context) -> mpsc::Receiver<Result<Scrape>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut ticks = interval(context.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::task::spawn_local(async move {
        loop {
            ticks.tick().await;
            if sender.send(source.scrape().await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next key that is pressed, or change of size.
async fn next(events: &mut EventStream) -> Option<std::io::Result<Event>> {
    poll_fn(|cx| Pin::new(&mut *events).poll_next(cx)).await
}

/// Shows what the source says until somebody wants no more of it. Runs in a `LocalSet`.
///
/// # Errors
///
/// If the terminal cannot be used.
pub async fn live(source: Source, context: &Context) -> Result<()> {
    let mut scrapes = scrapes(Rc::new(source), context);
    let mut signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let mut screen = Screen::take()?;
    let mut events = EventStream::new();
    let mut app = App::default();
    loop {
        screen
            .0
            .draw(|frame| draw(frame, &mut app, context))
            .context("cannot draw")?;
        let [terminate, interrupt, hangup] = &mut signals;
        tokio::select! {
            Some(scrape) = scrapes.recv() => app.take(scrape),
            event = next(&mut events) => match event {
                Some(Ok(Event::Key(key))) if app.key(key) == Next::Quit => return Ok(()),
                // Whatever else happens is drawn: the size may be another.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("cannot read the keyboard"),
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// Writes one table, of the time between two scrapes.
///
/// # Errors
///
/// If a scrape cannot be had, or nobody takes the table.
pub async fn once(source: Source, context: &Context) -> Result<()> {
    let mut data = Data::default();
    data.take(source.scrape().await?);
    tokio::time::sleep(context.period).await;
    data.take(source.scrape().await?);
    let written = std::io::stdout()
        .lock()
        .write_all(plain::table(&data, context).as_bytes());
    match written {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the table"),
    }
}
