//! The names of a single request's series.

use vigie_ebpf::types::{ROUTE_NONE, ROUTE_OTHER, ROUTE_UNKNOWN, SERVICE_IGNORED, tells_of_path};

use super::Ledger;
use crate::observe::{routes::Routes, services::Services};
use vigie_ebpf::traced::TraceEvent;

impl Ledger {
    /// The names of the service and of the handler that a request was counted under. Everything that waits in the ring
    /// buffer of events has to be handled before, see [`Ledger::drain`]. `None`: it is not to be seen.
    pub fn names(&mut self, event: &TraceEvent) -> Option<(String, String)> {
        let key = &event.key;
        let service = if Self::is_known(key.service) {
            key.service
        } else {
            self.service_of(event.process, b"unknown", key.port)
        };
        if service == SERVICE_IGNORED {
            return None;
        }
        let route = if key.route == ROUTE_UNKNOWN {
            // As `Routes::answered` would have it.
            let known = self.routes.known(service, event.shape);
            known.unwrap_or(if tells_of_path(key.status) {
                ROUTE_OTHER
            } else {
                ROUTE_NONE
            })
        } else {
            key.route
        };
        let name = self
            .services
            .get(service)
            .map_or_else(String::new, |service| service.name.to_string());
        Some((name, self.routes.handler(route).to_string()))
    }

    /// The services.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }
}
