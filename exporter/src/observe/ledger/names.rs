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
        let service = if self.is_known(key.service) {
            key.service
        } else {
            self.service_of(event.process, key.port).ok()?
        };
        if service == SERVICE_IGNORED {
            return None;
        }
        let route = if key.route == ROUTE_UNKNOWN {
            self.route_of(service, event.shape, key.status)
        } else {
            key.route
        };
        let name = self
            .services
            .get(service)
            .map_or_else(String::new, |service| service.identity.service.to_string());
        Some((name, self.routes.handler(route).to_string()))
    }

    /// The route that a request of a path's shape was counted under, as `Routes::answered` would have it.
    pub(super) fn route_of(&self, service: u16, shape: u64, status: u16) -> u32 {
        let known = self.routes.known(service, shape);
        known.unwrap_or(if tells_of_path(status) { ROUTE_OTHER } else { ROUTE_NONE })
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
