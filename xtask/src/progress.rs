//! How the load goes: one line for each stage.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

/// Writes the line of a stage once the stage has ended; on a terminal also every second, in place.
#[derive(Debug)]
pub struct Progress {
    users: &'static [usize],
    live: bool,
    stage: usize,
    /// Requests finished at the last update, and when that was.
    last: (Instant, usize),
}

impl Progress {
    /// For stages with these numbers of users.
    pub fn new(users: &'static [usize]) -> Self {
        Self {
            users,
            live: io::stdout().is_terminal(),
            stage: 0,
            last: (Instant::now(), 0),
        }
    }

    /// Takes what [`testkit::run_stages`] says: no users means that the last stage has ended.
    pub fn update(&mut self, stage: usize, users: usize, finished: usize) {
        let seconds = self.last.0.elapsed().as_secs_f64();
        let rate = (finished - self.last.1) as f64 / seconds.max(1e-3);
        self.last = (Instant::now(), finished);
        let ended = stage != self.stage || users == 0;
        if ended || self.live {
            let line = format!(
                "stage {} of {}: {:>3} users  {finished:>6} requests so far  {rate:>4.0} requests/s",
                self.stage + 1,
                self.users.len(),
                self.users.get(self.stage).copied().unwrap_or(0),
            );
            // Who does not read the progress still gets the comparison.
            let _ = show(&line, ended, self.live);
        }
        self.stage = stage;
    }
}

fn show(line: &str, ended: bool, live: bool) -> io::Result<()> {
    let mut out = io::stdout();
    let begin = if live { "\r" } else { "" };
    let end = if ended { "\n" } else { "" };
    write!(out, "{begin}{line}{end}")?;
    out.flush()
}
