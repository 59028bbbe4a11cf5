//! The labels that tell services and their instances apart.

use super::model::{Pair, pair};
use crate::observe::identity::Identity;

/// The labels of a service: those that are not empty.
pub fn identity(identity: &Identity) -> Vec<Pair<'_>> {
    let labels = identity.labels().into_iter();
    let present = labels.filter(|(name, value)| !value.is_empty() || *name == "service");
    present.map(|(name, value)| pair(name, value)).collect()
}

/// The labels of a service, and one more.
pub fn identity_and<'a>(service: &'a Identity, more: Pair<'a>) -> Vec<Pair<'a>> {
    let mut labels = identity(service);
    labels.push(more);
    labels
}
