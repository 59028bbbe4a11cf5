//! The YAML configuration file.

mod buckets;
pub(crate) mod error;
mod fields;
mod raw;
mod rule;
pub(crate) mod text;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use buckets::Buckets;
pub use error::ConfigError;
pub use rule::{ExeRule, ServiceRule};

use error::Place;
use serde::de::DeserializeOwned;

/// Largest configuration file that is read.
const SIZE_LIMIT: u64 = 1024 * 1024;
const DEFAULT_MAX_ROUTES: u32 = 200;
const MAX_ROUTES: std::ops::RangeInclusive<i64> = 1..=5000;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bounds of the duration histograms.
    pub buckets: Buckets,
    /// Most routes kept for one service.
    pub max_routes: u32,
    /// Naming rules, the first match wins.
    pub services: Vec<ServiceRule>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            buckets: Buckets::default(),
            max_routes: DEFAULT_MAX_ROUTES,
            services: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong, as one line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = read(path, "--config.file")?;
        Self::parse(&text, &origin)
    }

    /// Checks a configuration text; `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong, as one line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let raw: Option<raw::RawConfig> = yaml(text, origin)?;
        raw.map_or_else(
            || Ok(Self::default()),
            |raw| Self::check(raw).map_err(|problem| problem.of(origin)),
        )
    }

    fn check(raw: raw::RawConfig) -> Result<Self, Place> {
        let buckets = match raw.buckets {
            Some(bounds) => buckets::check(&bounds)?,
            None => Buckets::default(),
        };
        let max_routes = match raw.max_routes {
            Some(limit) => u32::try_from(limit.value)
                .ok()
                .filter(|_| MAX_ROUTES.contains(&limit.value))
                .ok_or_else(|| Place::at(&limit, "max_routes is out of range", "use 1 to 5000"))?,
            None => DEFAULT_MAX_ROUTES,
        };
        let services = raw.services.unwrap_or_default();
        Ok(Self {
            buckets,
            max_routes,
            services: services.iter().map(rule::check).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads a file of YAML that a flag has named, as text.
///
/// # Errors
///
/// If it cannot be read, is too large, or is not UTF-8.
pub(crate) fn read(path: &Path, flag: &str) -> Result<String, ConfigError> {
    let origin = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => return Err(ConfigError::unreadable(&origin, flag, &error)),
        Ok(size) if u64::try_from(size).is_ok_and(|size| size > SIZE_LIMIT) => {
            return Err(ConfigError::too_large(&origin, flag, SIZE_LIMIT));
        }
        Ok(_) => {}
    }
    String::from_utf8(bytes).map_err(|error| ConfigError::not_utf8(&origin, &error.utf8_error()))
}

/// Reads YAML into what it is to be; `origin` names it in errors.
///
/// # Errors
///
/// What does not fit, as one line.
pub(crate) fn yaml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError::yaml(origin, &error))
}

#[cfg(test)]
mod tests;
