//! All rows of the table.

use super::watched::Watched;
use super::{apache, compiled, java, javascript, namespaces, nginx, php, python, ruby};
use crate::setup::ServerTools;
use anyhow::Result;

/// One row: a server, or a proxy and the server behind it.
pub struct Row {
    /// What it is asked for by.
    pub name: &'static str,
    /// Starts it.
    pub start: fn(&ServerTools) -> Result<Watched>,
}

const fn row(name: &'static str, start: fn(&ServerTools) -> Result<Watched>) -> Row {
    Row { name, start }
}

/// In the order of the table.
pub const ROWS: [Row; 20] = [
    row("uvicorn-asyncio", |tools| python::uvicorn(tools, "asyncio")),
    row("uvicorn-uvloop", |tools| python::uvicorn(tools, "uvloop")),
    row("gunicorn-sync", python::gunicorn_sync),
    row("gunicorn-gthread", python::gunicorn_gthread),
    row("flask", python::flask),
    row("node", javascript::node),
    row("express", javascript::express),
    row("nginx-files", nginx::files),
    row("nginx-proxy", nginx::before_uvicorn),
    row("nginx-unix", nginx::before_gunicorn),
    row("apache", apache::start),
    row("php-fpm", php::start),
    row("java", java::start),
    row("puma", ruby::puma),
    row("axum", compiled::axum),
    row("go", compiled::go),
    row("monoio", compiled::monoio),
    row("ipv6", javascript::node_on_ipv6),
    row("ipv4-mapped", javascript::node_on_mapped_ipv4),
    row("namespaces", namespaces::gunicorn),
];
