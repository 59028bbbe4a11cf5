//! Who a series belongs to: a service, and which instance of it.

use std::rc::Rc;

/// The labels that tell services and their instances apart. An empty text is a label that is not there.
///
/// `service` is what a person calls it, and stays over restarts and deployments. The others tell instances apart, where
/// there is something to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The service's name.
    pub service: Rc<str>,
    /// The container's name, or the beginning of its id.
    pub container: Rc<str>,
    /// The namespace in Kubernetes.
    pub namespace: Rc<str>,
    /// The pod in Kubernetes.
    pub pod: Rc<str>,
}

// === impl Identity ===

impl Identity {
    /// A service that has one instance on this host.
    pub fn of(service: &str) -> Self {
        Self {
            service: service.into(),
            ..Self::default()
        }
    }

    /// The service alone: all of its instances are one.
    pub fn merged(&self) -> Self {
        Self {
            service: Rc::clone(&self.service),
            ..Self::default()
        }
    }

    /// The names and values of the labels, in their order.
    pub fn labels(&self) -> [(&'static str, &str); 4] {
        let Self {
            service,
            container,
            namespace,
            pod,
        } = self;
        [
            ("service", service),
            ("container", container),
            ("namespace", namespace),
            ("pod", pod),
        ]
    }
}
