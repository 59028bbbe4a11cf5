//! Servers for Python applications.

use super::version;
use super::watched::{READY_TIMEOUT, Watched, launch};
use crate::setup::ServerTools;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use testkit::{Server, TempDir, free_port};

/// What Vigie calls the applications.
pub const UVICORN_SERVICE: &str = "uvicorn/app:app";
pub const GUNICORN_SERVICE: &str = "gunicorn/app:app";

const FASTAPI: &str = "asgi";
const FLASK: &str = "flask";

/// A program of the Python environment, in the directory of an application.
pub fn program(tools: &ServerTools, name: &str, application: &str) -> Command {
    let mut command = Command::new(tools.python_programs.join(name));
    command
        .current_dir(tools.sources.join(application))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    command
}

pub fn uvicorn_version(tools: &ServerTools) -> Result<String> {
    version::of(
        "uvicorn",
        program(tools, "uvicorn", FASTAPI).arg("--version"),
        "uvicorn",
    )
}

pub fn gunicorn_version(tools: &ServerTools) -> Result<String> {
    version::of(
        "gunicorn",
        program(tools, "gunicorn", FLASK).arg("--version"),
        "gunicorn",
    )
}

/// uvicorn with a FastAPI application.
pub fn uvicorn_server(tools: &ServerTools, event_loop: &str) -> Result<Server> {
    let port = free_port()?;
    let mut command = program(tools, "uvicorn", FASTAPI);
    command.args(["app:app", "--loop", event_loop, "--port", &port.to_string()]);
    launch(command, port)
}

pub fn uvicorn(tools: &ServerTools, event_loop: &str) -> Result<Watched> {
    let server = uvicorn_server(tools, event_loop)?;
    let title = format!("uvicorn, {event_loop}");
    Ok(Watched::application(
        server,
        &title,
        uvicorn_version(tools)?,
        UVICORN_SERVICE,
    ))
}

/// gunicorn with a Flask application.
pub fn gunicorn(tools: &ServerTools, address: &str, options: &[&str]) -> Command {
    let mut command = program(tools, "gunicorn", FLASK);
    command.args(["--bind", address]).args(options).arg("app:app");
    command
}

fn gunicorn_server(tools: &ServerTools, title: &str, options: &[&str]) -> Result<Watched> {
    let port = free_port()?;
    let server = launch(gunicorn(tools, &format!("127.0.0.1:{port}"), options), port)?;
    Ok(Watched::application(
        server,
        title,
        gunicorn_version(tools)?,
        GUNICORN_SERVICE,
    ))
}

pub fn gunicorn_sync(tools: &ServerTools) -> Result<Watched> {
    gunicorn_server(tools, "gunicorn, sync", &["--workers", "4"])
}

pub fn gunicorn_gthread(tools: &ServerTools) -> Result<Watched> {
    let options = ["--workers", "2", "--worker-class", "gthread", "--threads", "8"];
    gunicorn_server(tools, "gunicorn, gthread", &options)
}

/// gunicorn on a Unix socket.
pub fn gunicorn_on(tools: &ServerTools, socket: &Path) -> Result<Server> {
    let command = gunicorn(tools, &format!("unix:{}", socket.display()), &["--workers", "4"]);
    let server = Server::start(command, TempDir::new()?, 0)?;
    server.wait_for(READY_TIMEOUT, || socket.exists().then_some(()))?;
    Ok(server)
}

pub fn flask(tools: &ServerTools) -> Result<Watched> {
    let port = free_port()?;
    let mut command = program(tools, "flask", FLASK);
    command.args(["--app", "app", "run", "--port", &port.to_string()]);
    let server = launch(command, port)?;
    let version = version::of("Flask", program(tools, "flask", FLASK).arg("--version"), "Flask")?;
    Ok(Watched::application(server, "Flask's own server", version, "flask/app"))
}
