//! Values that may be written in several ways.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// One port, or a list of ports.
#[derive(Debug)]
pub(super) struct Ports(pub(super) Vec<i64>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PortsVisitor)
    }
}

struct PortsVisitor;

impl<'de> Visitor<'de> for PortsVisitor {
    type Value = Ports;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a port number or a list of port numbers")
    }

    fn visit_i64<E>(self, port: i64) -> Result<Ports, E> {
        Ok(Ports(vec![port]))
    }

    fn visit_u64<E>(self, port: u64) -> Result<Ports, E> {
        Ok(Ports(vec![i64::try_from(port).unwrap_or(i64::MAX)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ports, A::Error> {
        let mut ports = Vec::new();
        while let Some(port) = list.next_element()? {
            ports.push(port);
        }
        Ok(Ports(ports))
    }
}
