//! What servers say about their versions.

use crate::command;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// "name 1.2.3": the first version in what a program writes after `word`, on either of its outputs.
pub fn of(name: &str, program: &mut Command, word: &str) -> Result<String> {
    let text = command::both_outputs(program)?;
    let version = find(&text, word).with_context(|| format!("no version of {name} in: {text}"))?;
    Ok(format!("{name} {version}"))
}

/// "name 1.2.3" of a package in the lock file of the Rust servers.
pub fn locked(sources: &Path, name: &str) -> Result<String> {
    let lock = fs::read_to_string(sources.join("Cargo.lock")).context("cannot read the lock file of the servers")?;
    let version =
        find(&lock, &format!("name = \"{name}\"\n")).with_context(|| format!("no {name} in the lock file"))?;
    Ok(format!("{name} {version}"))
}

/// The first numbers with dots between them, after a word.
fn find<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(word)?;
    rest.split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .map(|run| run.trim_matches('.'))
        .find(|run| run.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_write() {
        for (text, word, version) in [
            ("nginx version: nginx/1.22.1", "", Some("1.22.1")),
            ("go version go1.19.8 linux/amd64", "", Some("1.19.8")),
            ("Python 3.11.2\nFlask 3.1.3\n", "Flask", Some("3.1.3")),
            ("v20.20.2\n", "", Some("20.20.2")),
            ("gunicorn (version 27.0.1)", "", Some("27.0.1")),
            ("It works. 5 times.", "", None),
        ] {
            assert_eq!(find(text, word), version, "{text}");
        }
    }
}
