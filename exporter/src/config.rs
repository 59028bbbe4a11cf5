//! The YAML configuration file.

mod buckets;
pub(crate) mod error;
mod fields;
mod profile;
mod raw;
mod rule;
mod service_label;
pub(crate) mod text;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

pub use buckets::Buckets;
pub use error::ConfigError;
pub use profile::Profile;
pub use rule::{ExeRule, ServiceRule, unit_matches};
pub use service_label::SERVICE;

use error::Place;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use serde::de::DeserializeOwned;

/// Largest configuration file that is read.
const SIZE_LIMIT: u64 = 1024 * 1024;
const DEFAULT_MAX_ROUTES: u32 = 200;
/// How long a pipe may take until somebody writes to it.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How long what has ended is shown, if nothing else is said.
pub const RETENTION: Duration = Duration::from_secs(300);
const MAX_ROUTES: std::ops::RangeInclusive<i64> = 1..=5000;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bounds of the duration histograms.
    pub buckets: Buckets,
    /// Whose names the request metrics have.
    pub profile: Profile,
    /// What the label is called that names the service.
    pub service_label: &'static str,
    /// Most routes kept for one service.
    pub max_routes: u32,
    /// Naming rules, the first match wins.
    pub services: Vec<ServiceRule>,
    /// How long what has ended is shown.
    pub retention: Duration,
    /// Whether the instances of a service are one.
    pub merges_instances: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self::of(Profile::default())
    }
}

impl Config {
    /// The configuration without a file, with this profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        Self {
            buckets: profile.default_buckets(),
            profile,
            service_label: SERVICE,
            max_routes: DEFAULT_MAX_ROUTES,
            services: Vec::new(),
            retention: RETENTION,
            merges_instances: false,
        }
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong, as one line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_for(path, None)
    }

    /// The same with a profile that is asked for elsewhere, whatever the file says.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong, as one line.
    pub fn load_for(path: &Path, profile: Option<Profile>) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = read(path, "--config.file")?;
        Self::parse_for(&text, &origin, profile)
    }

    /// Checks a configuration text; `origin` names it in errors.
    #[cfg(test)]
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::parse_for(text, origin, None)
    }

    /// The same with a profile that is asked for elsewhere.
    fn parse_for(text: &str, origin: &str, profile: Option<Profile>) -> Result<Self, ConfigError> {
        let raw: Option<raw::RawConfig> = yaml(text, origin)?;
        raw.map_or_else(
            || Ok(Self::of(profile.unwrap_or_default())),
            |raw| Self::check(raw, profile).map_err(|problem| problem.of(origin)),
        )
    }

    fn check(raw: raw::RawConfig, profile: Option<Profile>) -> Result<Self, Place> {
        let written = raw.profile.as_ref().map(Profile::read).transpose()?;
        let profile = profile.or(written).unwrap_or_default();
        let buckets = match raw.buckets {
            Some(bounds) => {
                let buckets = buckets::check(&bounds)?;
                profile.check(&buckets, &bounds)?;
                buckets
            }
            None => profile.default_buckets(),
        };
        let max_routes = match raw.max_routes {
            Some(limit) => u32::try_from(limit.value)
                .ok()
                .filter(|_| MAX_ROUTES.contains(&limit.value))
                .ok_or_else(|| Place::at(&limit, "max_routes is out of range", "use 1 to 5000"))?,
            None => DEFAULT_MAX_ROUTES,
        };
        let service_label = raw.service_label.as_ref().map(service_label::check).transpose()?;
        let services = raw.services.unwrap_or_default();
        let rules: Vec<ServiceRule> = services.iter().map(rule::check).collect::<Result<_, _>>()?;
        rule::check_reach(&services, &rules)?;
        Ok(Self {
            buckets,
            profile,
            service_label: service_label.unwrap_or(SERVICE),
            max_routes,
            services: rules,
            ..Self::of(profile)
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
    let read = open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => return Err(ConfigError::unreadable(&origin, flag, &error)),
        Ok(size) if u64::try_from(size).is_ok_and(|size| size > SIZE_LIMIT) => {
            return Err(ConfigError::too_large(&origin, flag, SIZE_LIMIT));
        }
        Ok(_) => {}
    }
    String::from_utf8(bytes).map_err(|error| ConfigError::not_utf8(&origin, &error.utf8_error()))
}

/// Opens a file, or a pipe that somebody writes to.
fn open(path: &Path) -> io::Result<File> {
    // Else a pipe that nobody writes to would never be open.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        let mut wait = [PollFd::new(&file, PollFlags::IN)];
        if poll(&mut wait, Some(&PATIENCE))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody writes to this pipe"));
        }
        fcntl_setfl(&file, OFlags::empty())?;
    }
    Ok(file)
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
