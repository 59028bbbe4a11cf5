//! The objectives as they are written, before any check.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObjectives {
    #[serde(default)]
    pub(super) period: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) min_failures: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) runbooks: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, Spanned<String>>>,
    pub(super) slos: Spanned<Vec<Spanned<RawObjective>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawObjective {
    pub(super) service: Spanned<String>,
    pub(super) name: Spanned<String>,
    pub(super) objective: Spanned<f64>,
    #[serde(default)]
    pub(super) errors: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) faster_than: Option<Spanned<String>>,
    #[serde(default, rename = "match")]
    pub(super) matching: Option<BTreeMap<String, Spanned<String>>>,
}
