//! The libraries that the metric profiles are compared with, and the applications that use them.

use super::{node, python};
use crate::paths;
use anyhow::Result;
use std::path::PathBuf;

/// Where everything is.
#[derive(Debug)]
pub struct ProfileTools {
    /// The Python of an environment with the Python libraries.
    pub python: PathBuf,
    /// The Express application with its packages.
    pub express: PathBuf,
}

/// Installs what is missing.
pub fn ensure() -> Result<ProfileTools> {
    let requirements = "exporter/tests/profiles/requirements.txt";
    let python = python::ensure_environment("the metric profiles", requirements, "profiles/venv")?;
    let express = paths::target()?.join("profiles/express");
    let sources = paths::root()?.join("exporter/tests/profiles/express");
    node::ensure_packages("the metric profiles' Express application", &sources, &express)?;
    Ok(ProfileTools { python, express })
}
