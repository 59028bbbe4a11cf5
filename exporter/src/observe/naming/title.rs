//! Command lines rewritten by the program, as `puma 6.4 (tcp://...) [app]`.

use super::{interpreter, random, script};

/// What a command line really is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argv {
    /// Arguments, as they were given.
    Plain,
    /// A title made of arguments joined by blanks.
    Split(Vec<String>),
    /// A title, from which the whole name was made.
    Named(String),
}

/// Servers whose title ends with the application between brackets.
const BRACKETED: [&str; 2] = ["gunicorn", "puma"];

/// Tells arguments from a title.
pub(super) fn read(language: &str, argv: &[String]) -> Argv {
    let Some(title) = argv.first() else {
        return Argv::Named(language.to_owned());
    };
    // A login shell starts with a dash.
    let started_as = script::file_name(title.trim_start_matches('-'));
    let blank = title.contains(char::is_whitespace);
    if !blank && (argv.len() > 1 || interpreter::language(started_as).is_some()) {
        return Argv::Plain;
    }
    let words: Vec<String> = title.split_whitespace().map(str::to_owned).collect();
    let first = words.first().map(String::as_str).unwrap_or_default();
    if interpreter::language(script::file_name(first)).is_some() {
        // Some programs keep their path in their title: only split what has no other argument.
        return if argv.len() == 1 {
            Argv::Split(words)
        } else {
            Argv::Plain
        };
    }
    if argv.len() > 1 && !BRACKETED.iter().any(|server| title.starts_with(server)) {
        return Argv::Plain;
    }
    Argv::Named(from_title(language, title, &words))
}

fn from_title(language: &str, title: &str, words: &[String]) -> String {
    let word = |text: &str| -> String {
        text.trim_start_matches(['[', '('])
            .chars()
            .take_while(|&c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
            .collect()
    };
    let first = words.first().map(|text| word(text)).unwrap_or_default();
    let first = script::file_name(&first).to_owned();
    if BRACKETED.contains(&first.as_str()) {
        return match bracketed(title).and_then(without_generation) {
            Some(app) => format!("{first}/{app}"),
            None => first,
        };
    }
    if first == "celeryd" {
        let place = words.iter().position(|text| word(text) == "-A" || text == "--app");
        let app = place.and_then(|index| words.get(index + 1)).map(|text| word(text));
        return app.map_or_else(|| "celery".to_owned(), |app| format!("celery/{app}"));
    }
    match random::without(&first) {
        Some(first) => format!("{language}/{first}"),
        None => language.to_owned(),
    }
}

/// The text between the last brackets of a title.
fn bracketed(title: &str) -> Option<&str> {
    let (_, rest) = title.trim_end().strip_suffix(']')?.rsplit_once('[')?;
    let app = rest.split('(').next().unwrap_or(rest).trim();
    (!app.is_empty()).then_some(app)
}

/// gunicorn adds `.2` to the application of a master that another one has started to take its place (signal USR2).
fn without_generation(app: &str) -> Option<&str> {
    let app = match app.rsplit_once('.') {
        Some((app, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => app,
        _ => app,
    };
    (!app.is_empty()).then_some(app)
}
