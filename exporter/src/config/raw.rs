//! The configuration as it is written, before any check.

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::fields::Ports;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) buckets: Option<Spanned<Vec<Spanned<f64>>>>,
    #[serde(default)]
    pub(super) profile: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) max_routes: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) service_label: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) services: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) name: Spanned<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) port: Option<Spanned<Ports>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) exe: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) cmdline: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) unit: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) container: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) routes: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) long_lived: Option<Vec<Spanned<String>>>,
}

/// Refuses a condition without a value, which would otherwise match everything.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
