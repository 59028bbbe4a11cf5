//! The labels that tell services and their instances apart.

use super::model::{Family, Pair, Renamed, pair};
use crate::{config::SERVICE, observe::identity::Identity};

/// The labels of a service: those that are not empty.
pub fn identity(identity: &Identity) -> Vec<Pair<'_>> {
    let labels = identity.labels().into_iter();
    let present = labels.filter(|(name, value)| !value.is_empty() || *name == SERVICE);
    present.map(|(name, value)| pair(name, value)).collect()
}

/// The labels of a service, and one more.
pub fn identity_and<'a>(service: &'a Identity, more: Pair<'a>) -> Vec<Pair<'a>> {
    let mut labels = identity(service);
    labels.push(more);
    labels
}

/// Gives the label of the service another name, in all families.
pub fn rename_service(families: &mut [Family<'_>], name: &'static str) {
    if name == SERVICE {
        return;
    }
    let mut renamed = Renamed::new(SERVICE, name);
    for metric in families.iter_mut().flat_map(|family| &mut family.metrics) {
        metric.labels = renamed.of(&metric.labels);
    }
}
