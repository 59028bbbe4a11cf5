//! Which requests somebody who traces asks for.
//!
//! The kernel side knows numbers and not names. It is told every number that the filter may mean, and those that are not given
//! yet; what comes of it is looked at again here.

use std::{borrow::Cow, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use vigie_ebpf::{
    service::slot,
    traced::{ANY_STATUS, ROUTES, TraceEvent, Wanted, burst, interval, is_error},
    types::SERVICES,
};

use super::{routes::Routes, services::Services};
use crate::kernel::traces::RouteSet;

/// How many requests are shown in a second at the most, if nothing else is said.
pub const DEFAULT_RATE: u32 = 100;
/// The largest status, and the largest rate.
const MAX_STATUS: u16 = 999;
const MAX_RATE: u32 = 1_000_000;

/// What is asked for: all of it has to be true of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Names of services, one of which it is. None: any.
    pub services: Vec<String>,
    /// Handlers, one of which it is. None: any.
    pub handlers: Vec<String>,
    /// Its status; 0: it was not answered.
    pub status: Option<u16>,
    /// How long it takes at the least.
    pub slower: Duration,
    /// Whether it is an error: a status from 400 on, or no answer.
    pub errors: bool,
    /// How many are shown in a second at the most; 0: all.
    pub rate: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            handlers: Vec::new(),
            status: None,
            slower: Duration::ZERO,
            errors: false,
            rate: DEFAULT_RATE,
        }
    }
}

// === impl Filter ===

impl Filter {
    /// The filter as the query of a URL.
    pub fn query(&self) -> String {
        let Self {
            services,
            handlers,
            status,
            slower,
            errors,
            rate,
        } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for service in services {
            query.append_pair("service", service);
        }
        for handler in handlers {
            query.append_pair("handler", handler);
        }
        if let Some(status) = status {
            query.append_pair("status", &status.to_string());
        }
        if !slower.is_zero() {
            query.append_pair("slower_ms", &(slower.as_nanos() as f64 / 1e6).to_string());
        }
        if *errors {
            query.append_pair("errors", "true");
        }
        query.append_pair("rate", &rate.to_string());
        query.finish()
    }

    /// The filter that the query of a URL asks for.
    ///
    /// # Errors
    ///
    /// If it asks for something that is not known.
    pub fn from_query(query: &str) -> Result<Self> {
        let mut filter = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = || format!("{key}={value} is wrong");
            match &*key {
                "service" => filter.services.push(Cow::into_owned(value)),
                "handler" => filter.handlers.push(Cow::into_owned(value)),
                "status" => filter.status = Some(value.parse().with_context(wrong)?),
                "slower_ms" => {
                    let milliseconds: f64 = value.parse().with_context(wrong)?;
                    filter.slower = Duration::try_from_secs_f64(milliseconds / 1e3).with_context(wrong)?;
                }
                "errors" => filter.errors = value.parse().with_context(wrong)?,
                "rate" => filter.rate = value.parse().with_context(wrong)?,
                _ => bail!("{key} is not known: use service, handler, status, slower_ms, errors, rate"),
            }
        }
        filter.check()?;
        Ok(filter)
    }

    /// Whether its numbers are in their bounds.
    ///
    /// # Errors
    ///
    /// If not.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.status.is_none_or(|status| status <= MAX_STATUS),
            "a status is at most {MAX_STATUS}"
        );
        ensure!(
            self.rate <= MAX_RATE,
            "a rate is at most {MAX_RATE} requests a second; 0 is no limit"
        );
        Ok(())
    }

    /// Whether it asks for a request of this service and this handler.
    pub fn takes(&self, service: &str, handler: &str, event: &TraceEvent) -> bool {
        let one_of = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
        one_of(&self.services, service)
            && one_of(&self.handlers, handler)
            && self.status.is_none_or(|status| status == event.key.status)
            && event.finished.phases.duration() >= self.nanoseconds()
            && (!self.errors || is_error(event.key.status))
    }

    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.slower.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What the kernel is told.
    pub fn wanted(&self, services: &Services) -> Wanted {
        let mut bits = [u64::MAX; SERVICES / 64];
        if !self.services.is_empty() {
            for (number, service) in services.iter() {
                if !self.services.iter().any(|name| **name == *service.identity.service) {
                    clear(&mut bits, slot(number) as usize);
                }
            }
        }
        Wanted {
            services: bits,
            at_least: self.nanoseconds(),
            interval: interval(self.rate),
            burst: burst(self.rate),
            status: self.status.map_or(ANY_STATUS, u32::from),
            errors: u32::from(self.errors),
        }
    }

    /// The routes that the kernel is told.
    pub fn routes(&self, routes: &Routes) -> Box<RouteSet> {
        let mut bits = Box::new([u64::MAX; ROUTES / 64]);
        if !self.handlers.is_empty() {
            for (number, handler) in routes.settled() {
                if !self.handlers.iter().any(|known| known == handler) {
                    clear(&mut bits[..], number);
                }
            }
        }
        bits
    }
}

fn clear(bits: &mut [u64], number: usize) {
    if let Some(word) = bits.get_mut(number / 64) {
        *word &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RETENTION;

    #[test]
    fn a_filter_survives_a_query() {
        let filter = Filter {
            services: vec!["uvicorn/store.main:app".to_owned(), "a&b=c é".to_owned()],
            handlers: vec!["/a/{id}".to_owned()],
            status: Some(0),
            slower: Duration::from_micros(1500),
            errors: true,
            rate: 0,
        };
        assert_eq!(Filter::from_query(&filter.query()).unwrap(), filter);
        assert_eq!(Filter::from_query("").unwrap(), Filter::default());
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (query, expected) in [
            ("handle=/a", "handle is not known"),
            ("status=ok", "status=ok is wrong"),
            ("status=1000", "at most 999"),
            ("slower_ms=-1", "slower_ms=-1 is wrong"),
            ("errors=1", "errors=1 is wrong"),
            ("rate=2000000", "at most 1000000"),
        ] {
            let error = Filter::from_query(query).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }

    /// What has no name yet may be asked for, and so the kernel does not hold it back.
    #[test]
    fn the_kernel_is_told_numbers() {
        let mut routes = Routes::new(10);
        for (path, status) in [("/a", 200), ("/b", 200), ("/not", 404)] {
            let shape = vigie_ebpf::path::shape(path.as_bytes());
            routes.seen(1, shape, path.as_bytes(), false, false, &[]);
            routes.answered(1, shape, status);
        }
        let filter = Filter {
            handlers: vec!["/b".to_owned()],
            ..Filter::default()
        };
        let bits = filter.routes(&routes);
        // Unknown, none, other, /a, /b, and /not, which may get a name.
        assert_eq!(bits[0], !0b1110);
        assert!(bits[1..].iter().all(|word| *word == u64::MAX));
        assert!(Filter::default().routes(&routes).iter().all(|word| *word == u64::MAX));
        let wanted = filter.wanted(&Services::new(Vec::new(), RETENTION, false));
        assert_eq!((wanted.services, wanted.status), ([u64::MAX; 4], ANY_STATUS));
    }
}
