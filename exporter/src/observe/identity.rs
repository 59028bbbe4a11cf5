//! The identity of a service on this host: its name, and the instance that runs it.

use std::rc::Rc;

/// Labels that tell a service, and one instance of it, from all others.
///
/// `service` says what runs and stays over restarts and deployments. The others say where, and an empty string means that
/// the label is absent: on the host itself all three are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Name of the service.
    pub service: Rc<str>,
    /// Name of the container or machine, or the first 12 digits of the container's id.
    pub container: Rc<str>,
    /// Kubernetes namespace.
    pub namespace: Rc<str>,
    /// Kubernetes pod.
    pub pod: Rc<str>,
}
