//! One body for the scrapes of one moment.
//!
//! A hundred clients that come at once get what was collected once. Each gets what was collected after its request was read: whoever has
//! had an answer of a service, and then asks Vigie, finds that request counted.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;
use hyper::body::Bytes;
use tokio::task::yield_now;

use super::{connections::Connections, requests::Requests};
use crate::{
    metrics::clients::Clients,
    watch::{Metrics, Wanted},
};

/// How many bodies may be in memory at once: one for each pair of a format and of when a scraper was last here. Most hosts have two.
const BODIES: usize = 8;

/// How long others are waited for who come without a break.
const PATIENCE: Duration = Duration::from_millis(20);

/// What was collected.
#[derive(Debug)]
pub struct Rendered {
    /// Its bytes.
    pub body: Bytes,
    /// When it was taken, by the monotonic clock, in nanoseconds.
    pub taken: u64,
    zipped: OnceCell<Option<Bytes>>,
}

/// What is collected for those who wait.
#[derive(Debug)]
pub struct Moments {
    /// How often something was collected.
    made: Cell<u64>,
    /// What somebody waits for.
    wanted: RefCell<HashMap<Wanted, Entry>>,
    /// How many bodies may be in memory at once.
    bodies: Requests,
}

/// What is known of what somebody waits for.
#[derive(Debug, Default)]
struct Entry {
    waiting: usize,
    /// What was collected last, and as which.
    rendered: Option<(u64, Rc<Rendered>)>,
}

/// Somebody who waits, also if the connection ends meanwhile.
struct Waiting<'a> {
    moments: &'a Moments,
    wanted: Wanted,
}

// === impl Rendered ===

impl Rendered {
    /// The body as gzip, if that can be made.
    pub fn zipped(&self, zip: impl FnOnce(&[u8]) -> std::io::Result<Vec<u8>>) -> Option<Bytes> {
        let zipped = self.zipped.get_or_init(|| zip(&self.body).ok().map(Bytes::from));
        zipped.clone()
    }
}

// === impl Moments ===

impl Default for Moments {
    fn default() -> Self {
        Self {
            made: Cell::new(0),
            wanted: RefCell::default(),
            bodies: Requests::new(BODIES),
        }
    }
}

impl Moments {
    /// What is wanted, as it is from now on. `None`: there is no room for another body.
    ///
    /// # Errors
    ///
    /// Those of `collect`.
    pub async fn rendered(
        &self,
        wanted: Wanted,
        connections: &Connections,
        clients: &Clients,
        collect: impl FnOnce(Wanted) -> Result<Metrics>,
    ) -> Result<Option<Rc<Rendered>>> {
        let begun = self.made.get();
        self.wanted.borrow_mut().entry(wanted.clone()).or_default().waiting += 1;
        let _waiting = Waiting {
            moments: self,
            wanted: wanted.clone(),
        };
        // All who are there already are let in, and their requests read, before anything is collected. That takes a turn for each, and one
        // to hear of it.
        let end = Instant::now() + PATIENCE;
        let mut before = None;
        while before != Some(connections.came()) && Instant::now() < end {
            before = Some(connections.came());
            yield_now().await;
            yield_now().await;
        }
        if let Some(rendered) = self.newer(&wanted, begun) {
            return Ok(Some(rendered));
        }
        let Some(place) = self.bodies.begin(connections, clients).await else {
            return Ok(None);
        };
        // It may have been waited for.
        if let Some(rendered) = self.newer(&wanted, begun) {
            return Ok(Some(rendered));
        }
        let Metrics { body, taken } = collect(wanted.clone())?;
        let rendered = Rc::new(Rendered {
            body: place.keep_for(body.into()),
            taken,
            zipped: OnceCell::new(),
        });
        self.made.set(self.made.get() + 1);
        if let Some(entry) = self.wanted.borrow_mut().get_mut(&wanted) {
            entry.rendered = Some((self.made.get(), Rc::clone(&rendered)));
        }
        Ok(Some(rendered))
    }

    /// What was collected after so much had been.
    fn newer(&self, wanted: &Wanted, begun: u64) -> Option<Rc<Rendered>> {
        let all = self.wanted.borrow();
        let (number, rendered) = all.get(wanted)?.rendered.as_ref()?;
        (*number > begun).then(|| Rc::clone(rendered))
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.moments.wanted.borrow_mut();
        if let Some(entry) = all.get_mut(&self.wanted) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                all.remove(&self.wanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Profile, metrics::format::Format};

    fn wanted(shown: Option<u64>) -> Wanted {
        Wanted {
            profile: Profile::Vigie,
            service_label: "service",
            format: Format::Text,
            with_created: false,
            shown,
        }
    }

    /// Counts what is collected.
    fn count(made: &Cell<u64>) -> impl FnOnce(Wanted) -> Result<Metrics> {
        |_| {
            made.set(made.get() + 1);
            Ok(Metrics {
                body: vec![0; 100],
                taken: made.get(),
            })
        }
    }

    #[tokio::test]
    async fn who_comes_at_once_gets_the_same() {
        let (moments, made) = (Moments::default(), Cell::new(0));
        let (connections, clients) = (Connections::default(), Clients::default());
        let get = async |shown| {
            let rendered = moments
                .rendered(wanted(shown), &connections, &clients, count(&made))
                .await;
            rendered.unwrap().unwrap()
        };
        let (one, other, third) = tokio::join!(get(None), get(Some(7)), get(None));
        assert!(Rc::ptr_eq(&one, &third) && !Rc::ptr_eq(&one, &other));
        assert_eq!(made.get(), 2);
        assert!(moments.wanted.borrow().is_empty(), "nobody waits any more");
        assert_eq!(get(None).await.taken, 3);
    }

    /// What was collected before a request came is not for it, also if others still wait.
    #[tokio::test]
    async fn nobody_gets_what_is_older() {
        let (moments, made) = (Moments::default(), Cell::new(0));
        let (connections, clients) = (Connections::default(), Clients::default());
        // It waits all the time.
        moments.wanted.borrow_mut().entry(wanted(None)).or_default().waiting = 1;
        for taken in [1, 2] {
            let rendered = moments
                .rendered(wanted(None), &connections, &clients, count(&made))
                .await;
            assert_eq!(rendered.unwrap().unwrap().taken, taken);
            assert_eq!(moments.wanted.borrow().len(), 1);
        }
    }

    /// Whoever has a history of its own needs a body of its own: there are only so many.
    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded() {
        let (moments, made) = (Moments::default(), Cell::new(0));
        let (connections, clients) = (Connections::default(), Clients::default());
        let get = async |shown| {
            let rendered = moments
                .rendered(wanted(Some(shown)), &connections, &clients, count(&made))
                .await;
            rendered.unwrap()
        };
        let mut held = Vec::new();
        for shown in 0..BODIES as u64 {
            held.push(get(shown).await.unwrap().body.clone());
        }
        assert!(get(99).await.is_none());
        assert!(moments.wanted.borrow().is_empty());
        held.pop();
        assert!(get(99).await.is_some());
    }
}
