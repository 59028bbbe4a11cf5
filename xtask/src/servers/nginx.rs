//! nginx: files, and before other servers.

use super::client::{Mix, SIZES};
use super::watched::{Side, UNIX, View, Watched};
use super::{python, version};
use crate::paths;
use crate::setup::ServerTools;
use anyhow::{Context as _, Result};
use std::fs;
use std::process::Command;
use testkit::{Server, TempDir, free_port, nginx_with};

pub const SERVICE: &str = "nginx";
const WORKERS: usize = 4;

pub fn nginx_version() -> Result<String> {
    let nginx = paths::find_server("nginx").context("nginx is gone")?;
    version::of("nginx", Command::new(nginx).arg("-v"), "nginx/")
}

/// nginx with a site of the servers' directory, its placeholders filled in.
pub fn server(tools: &ServerTools, site: &str, dir: TempDir, values: &[(&str, &str)]) -> Result<Server> {
    let port = free_port()?;
    let file = tools.sources.join("nginx").join(site);
    let mut text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let address = format!("127.0.0.1:{port}");
    let own_dir = dir.path().display().to_string();
    for (name, value) in values.iter().chain(&[("{address}", &*address), ("{dir}", &*own_dir)]) {
        text = text.replace(name, value);
    }
    nginx_with(dir, port, &text, WORKERS)
}

fn watched(server: Server, title: &str) -> Result<Watched> {
    Ok(Watched::application(server, title, nginx_version()?, SERVICE))
}

/// The files that stand for `/bytes/{n}` and `/echo`, below `www`.
pub fn write_files(dir: &TempDir) -> Result<()> {
    for size in SIZES {
        dir.write(&format!("www/bytes/{size}"), &vec![b'x'; size])?;
    }
    dir.write("www/echo", b"a file\n")?;
    Ok(())
}

pub fn files(tools: &ServerTools) -> Result<Watched> {
    let dir = TempDir::new()?;
    write_files(&dir)?;
    let server = server(tools, "files.conf", dir, &[])?;
    Ok(Watched {
        mix: Mix::Files,
        ..watched(server, "nginx, files")?
    })
}

pub fn before_uvicorn(tools: &ServerTools) -> Result<Watched> {
    let upstream = python::uvicorn_server(tools, "uvloop")?;
    let address = upstream.address().to_string();
    let nginx = server(tools, "proxy.conf", TempDir::new()?, &[("{upstream}", &address)])?;
    let side = Side {
        title: "… its upstream, uvicorn".to_owned(),
        version: python::uvicorn_version(tools)?,
        service: python::UVICORN_SERVICE,
        port: upstream.port().to_string(),
        view: View::Counted,
    };
    Ok(watched(nginx, "nginx, proxy")?.before(upstream, side))
}

pub fn before_gunicorn(tools: &ServerTools) -> Result<Watched> {
    let dir = TempDir::new()?;
    let socket = dir.path().join("gunicorn.sock");
    let upstream = python::gunicorn_on(tools, &socket)?;
    let address = format!("unix:{}", socket.display());
    let nginx = server(tools, "proxy.conf", dir, &[("{upstream}", &address)])?;
    let side = Side {
        title: "… its upstream, gunicorn".to_owned(),
        version: python::gunicorn_version(tools)?,
        service: python::GUNICORN_SERVICE,
        port: UNIX.to_owned(),
        view: View::Counted,
    };
    Ok(watched(nginx, "nginx, proxy to a Unix socket")?.before(upstream, side))
}
