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

use crate::watch::{Metrics, Wanted};

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
#[derive(Debug, Default)]
pub struct Moments {
    /// How often something was collected.
    made: Cell<u64>,
    waiting: Cell<usize>,
    /// What was collected while somebody waited, and as which.
    rendered: RefCell<HashMap<Wanted, (u64, Rc<Rendered>)>>,
}

/// Somebody who waits, also if the connection ends meanwhile.
struct Waiting<'a>(&'a Moments);

// === impl Rendered ===

impl Rendered {
    /// The body as gzip, if that can be made.
    pub fn zipped(&self, zip: impl FnOnce(&[u8]) -> std::io::Result<Vec<u8>>) -> Option<Bytes> {
        let zipped = self.zipped.get_or_init(|| zip(&self.body).ok().map(Bytes::from));
        zipped.clone()
    }
}

// === impl Moments ===

impl Moments {
    /// What is wanted, as it is from now on. `came`: how many clients and requests have come so far.
    ///
    /// # Errors
    ///
    /// Those of `collect`.
    pub async fn rendered(
        &self,
        wanted: Wanted,
        came: impl Fn() -> u64,
        collect: impl FnOnce(Wanted) -> Result<Metrics>,
    ) -> Result<Rc<Rendered>> {
        let begun = self.made.get();
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(self);
        // All who are there already are let in, and their requests read, before anything is collected. That takes a turn for each, and one
        // to hear of it.
        let end = Instant::now() + PATIENCE;
        let mut before = None;
        while before != Some(came()) && Instant::now() < end {
            before = Some(came());
            yield_now().await;
            yield_now().await;
        }
        if let Some((number, rendered)) = self.rendered.borrow().get(&wanted)
            && *number > begun
        {
            return Ok(Rc::clone(rendered));
        }
        let Metrics { body, taken } = collect(wanted.clone())?;
        let rendered = Rc::new(Rendered {
            body: body.into(),
            taken,
            zipped: OnceCell::new(),
        });
        self.made.set(self.made.get() + 1);
        let entry = (self.made.get(), Rc::clone(&rendered));
        self.rendered.borrow_mut().insert(wanted, entry);
        Ok(rendered)
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self(moments) = self;
        moments.waiting.set(moments.waiting.get() - 1);
        if moments.waiting.get() == 0 {
            moments.rendered.borrow_mut().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Profile, metrics::format::Format};

    fn wanted(format: Format) -> Wanted {
        Wanted {
            profile: Profile::Vigie,
            service_label: "service",
            format,
            with_created: false,
            scraper: None,
        }
    }

    #[tokio::test]
    async fn who_comes_at_once_gets_the_same() {
        let (moments, made) = (Moments::default(), Cell::new(0));
        let collect = |_: Wanted| {
            made.set(made.get() + 1);
            Ok(Metrics {
                body: vec![0; 100],
                taken: made.get(),
            })
        };
        let text = || moments.rendered(wanted(Format::Text), || 1, collect);
        let protobuf = moments.rendered(wanted(Format::Protobuf), || 1, collect);
        let (one, other, third) = tokio::join!(text(), protobuf, text());
        let (one, other, third) = (one.unwrap(), other.unwrap(), third.unwrap());
        assert!(Rc::ptr_eq(&one, &third) && !Rc::ptr_eq(&one, &other));
        assert_eq!(made.get(), 2);
        assert!(moments.rendered.borrow().is_empty(), "nobody waits any more");
        assert_eq!(text().await.unwrap().taken, 3);
    }

    /// What was collected before a request came is not for it, also if others still wait.
    #[tokio::test]
    async fn nobody_gets_what_is_older() {
        let moments = Moments::default();
        let made = Cell::new(0);
        let collect = |_: Wanted| {
            made.set(made.get() + 1);
            Ok(Metrics {
                body: Vec::new(),
                taken: made.get(),
            })
        };
        // It waits all the time.
        moments.waiting.set(1);
        let text = || moments.rendered(wanted(Format::Text), || 1, collect);
        let first = text().await.unwrap();
        assert_eq!(moments.rendered.borrow().len(), 1);
        let second = text().await.unwrap();
        assert_eq!((first.taken, second.taken), (1, 2));
    }
}
