//! One naming rule of the configuration.

use regex_syntax::hir::{Hir, HirKind, Literal};
use std::path::PathBuf;

use regex::Regex;
use serde_saphyr::Spanned;

use super::error::Place;
use super::fields::Ports;
use super::raw::RawRule;
use super::text::{one_line, quoted};
use crate::observe::template::Template;

const MAX_NAME: usize = 128;
const MIN_CONTAINER: usize = 4;
const MAX_CONTAINER: usize = 64;

/// Names the processes that meet every given condition.
#[derive(Debug, Clone)]
pub struct ServiceRule {
    /// Name given to the service.
    pub name: String,
    /// Ports, one of which the process listens on; empty when not a condition.
    pub ports: Vec<u16>,
    /// Executable of the process.
    pub exe: Option<ExeRule>,
    /// Regular expression searched in the command line.
    pub cmdline: Option<Regex>,
    /// Systemd unit, with its `.service` suffix. `shop@.service` stands for all instances.
    pub unit: Option<String>,
    /// Container id or its first digits, in lower case.
    pub container: Option<String>,
    /// Routes tried in order before automatic ones, long-lived ones among them.
    pub routes: Vec<Template>,
    /// Those of the routes whose durations say nothing: streams, long polls.
    pub long_lived: Vec<Template>,
}

/// How an executable is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExeRule {
    /// By its absolute path.
    Path(PathBuf),
    /// By its file name.
    Name(String),
}

/// Checks a rule of the file.
pub(super) fn check(raw: &Spanned<RawRule>) -> Result<ServiceRule, Place> {
    let rule = &raw.value;
    let has_condition = rule.port.is_some()
        || rule.exe.is_some()
        || rule.cmdline.is_some()
        || rule.unit.is_some()
        || rule.container.is_some();
    let name = check_name(&rule.name)?;
    if !has_condition {
        let problem = format!("service {} has no condition", quoted(&name));
        let hint = "add one of port, exe, cmdline, unit, container";
        return Err(Place::at(raw, &problem, hint));
    }
    let routes = check_routes(rule.routes.as_ref(), "route")?;
    let long_lived = check_routes(rule.long_lived.as_ref(), "long-lived route")?;
    check_order(&first_long_lived(&long_lived, &routes))?;
    check_order(&long_lived)?;
    Ok(ServiceRule {
        ports: optional(rule.port.as_ref(), check_ports)?.unwrap_or_default(),
        exe: optional(rule.exe.as_ref(), check_exe)?,
        cmdline: optional(rule.cmdline.as_ref(), check_cmdline)?,
        unit: optional(rule.unit.as_ref(), check_unit)?,
        container: optional(rule.container.as_ref(), check_container)?,
        routes: templates(first_long_lived(&long_lived, &routes)),
        long_lived: templates(long_lived),
        name,
    })
}

fn optional<T, U>(value: Option<&Spanned<T>>, check: fn(&Spanned<T>) -> Result<U, Place>) -> Result<Option<U>, Place> {
    value.map(check).transpose()
}

fn check_name(name: &Spanned<String>) -> Result<String, Place> {
    let length = name.value.chars().count();
    if !(1..=MAX_NAME).contains(&length) {
        let problem = format!("the service name has {length} characters");
        return Err(Place::at(name, &problem, "use 1 to 128 characters"));
    }
    if name.value.trim().is_empty() {
        return Err(Place::at(name, "the service name is blank", "use 1 to 128 characters"));
    }
    if name.value.chars().any(char::is_control) {
        let problem = format!("control character in the service name {}", quoted(&name.value));
        return Err(Place::at(name, &problem, "use printable characters"));
    }
    Ok(name.value.clone())
}

fn check_ports(ports: &Spanned<Ports>) -> Result<Vec<u16>, Place> {
    let hint = "use 1 to 65535";
    if ports.value.0.is_empty() {
        return Err(Place::at(ports, "the list of ports is empty", "give at least one port"));
    }
    let check = |&port: &i64| {
        u16::try_from(port)
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| Place::at(ports, &format!("port {port} is out of range"), hint))
    };
    ports.value.0.iter().map(check).collect()
}

fn check_exe(exe: &Spanned<String>) -> Result<ExeRule, Place> {
    let text = exe.value.as_str();
    let is_file = !matches!(text.rsplit('/').next(), None | Some("" | "." | ".."));
    if !is_file || text.contains(char::is_control) || text.trim() != text {
        let problem = format!("exe {} is not a file", quoted(text));
        return Err(Place::at(exe, &problem, "give an absolute path or a file name"));
    }
    match (text.starts_with('/'), text.contains('/')) {
        (true, _) => Ok(ExeRule::Path(PathBuf::from(text))),
        (false, false) => Ok(ExeRule::Name(text.to_owned())),
        (false, true) => {
            let problem = format!("exe {} is a relative path", quoted(text));
            Err(Place::at(exe, &problem, "give an absolute path or a bare file name"))
        }
    }
}

fn check_cmdline(pattern: &Spanned<String>) -> Result<Regex, Place> {
    if pattern.value.is_empty() {
        return Err(Place::at(pattern, "cmdline is empty", "give a regular expression"));
    }
    if pattern.value.ends_with('\n') {
        let problem = format!(
            "cmdline {} ends with a line break, which no command line does",
            quoted(&pattern.value)
        );
        return Err(Place::at(pattern, &problem, "write it in quotes, or after >-"));
    }
    let regex = Regex::new(&pattern.value).map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit_once("error: ").map_or(text.as_str(), |(_, last)| last);
        let problem = format!("bad regex {}, {}", quoted(&pattern.value), one_line(reason));
        Place::at(pattern, &problem, "fix it, or escape the special characters with '\\'")
    })?;
    if never_matches(&pattern.value) {
        let problem = format!("the regex {} can never match", quoted(&pattern.value));
        return Err(Place::at(pattern, &problem, "fix it, or remove it"));
    }
    Ok(regex)
}

/// Whether a regular expression matches nothing at all, as `[a&&b]`; or wants the zero byte that stands between arguments in `/proc`, in the
/// place of which the command line has blanks here.
fn never_matches(pattern: &str) -> bool {
    fn wants_zero(part: &Hir) -> bool {
        match part.kind() {
            HirKind::Literal(Literal(bytes)) => bytes.contains(&0),
            HirKind::Capture(capture) => wants_zero(&capture.sub),
            HirKind::Concat(parts) => parts.iter().any(wants_zero),
            HirKind::Alternation(ways) => ways.iter().all(wants_zero),
            HirKind::Repetition(repetition) => repetition.min > 0 && wants_zero(&repetition.sub),
            _ => false,
        }
    }
    regex_syntax::parse(pattern).is_ok_and(|parsed| parsed.properties().minimum_len().is_none() || wants_zero(&parsed))
}

fn check_unit(unit: &Spanned<String>) -> Result<String, Place> {
    const OTHERS: [&str; 10] = [
        ".automount",
        ".device",
        ".mount",
        ".path",
        ".scope",
        ".slice",
        ".socket",
        ".swap",
        ".target",
        ".timer",
    ];
    let text = unit.value.as_str();
    let refuse = |hint: &str| {
        Err(Place::at(
            unit,
            &format!("unit {} is not a service", quoted(text)),
            hint,
        ))
    };
    if text.contains(['*', '?', '[']) {
        return refuse("name one unit; shop@.service stands for all instances of it");
    }
    let base = text.strip_suffix(".service").unwrap_or(text);
    let bad = base.is_empty() || base.starts_with('@') || text.contains(|c: char| c == '/' || c.is_whitespace());
    if bad || OTHERS.iter().any(|suffix| text.ends_with(suffix)) {
        return refuse("give a unit such as store.service");
    }
    let name = crate::observe::cgroup::unescape(text);
    Ok(if name.ends_with(".service") {
        name
    } else {
        format!("{name}.service")
    })
}

fn check_container(id: &Spanned<String>) -> Result<String, Place> {
    let text = id.value.as_str();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(MIN_CONTAINER..=MAX_CONTAINER).contains(&text.len()) {
        let problem = format!("container {} is not a container id", quoted(text));
        return Err(Place::at(id, &problem, "give 4 to 64 hexadecimal digits of the id"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A template, and where it stands in the file.
type Route<'a> = (&'a Spanned<String>, Template);

fn check_routes<'a>(routes: Option<&'a Vec<Spanned<String>>>, what: &str) -> Result<Vec<Route<'a>>, Place> {
    let routes = routes.into_iter().flatten();
    routes.map(|route| Ok((route, check_route(route, what)?))).collect()
}

fn check_route(route: &Spanned<String>, what: &str) -> Result<Template, Place> {
    Template::parse(&route.value).map_err(|error| {
        let text = error.to_string();
        let (reason, hint) = text.split_once(": ").unwrap_or((&text, "fix it"));
        let problem = format!("bad {what} {}, {reason}", quoted(&route.value));
        Place::at(route, &problem, hint)
    })
}

/// Refuses a template behind one that matches all its paths.
fn check_order(routes: &[Route<'_>]) -> Result<(), Place> {
    for (i, (place, route)) in routes.iter().enumerate() {
        let before = routes.get(..i).unwrap_or_default();
        let Some((_, other)) = before.iter().find(|(_, other)| other.covers(route)) else {
            continue;
        };
        let problem = format!(
            "the route {} can never match, because {} is tried before it and matches the same",
            quoted(route.as_str()),
            quoted(other.as_str())
        );
        let hint = if route.covers(other) {
            "keep only one of them"
        } else {
            "move it up"
        };
        return Err(Place::at(place, &problem, hint));
    }
    Ok(())
}

/// All routes in the order in which they are tried: long-lived ones first, but for those that have their place among the
/// others.
fn first_long_lived<'a>(long_lived: &[Route<'a>], routes: &[Route<'a>]) -> Vec<Route<'a>> {
    let is_there = |template: &Template| routes.iter().any(|(_, route)| route == template);
    let first = long_lived.iter().filter(|(_, template)| !is_there(template));
    first.chain(routes).cloned().collect()
}

fn templates(routes: Vec<Route<'_>>) -> Vec<Template> {
    routes.into_iter().map(|(_, template)| template).collect()
}

/// Refuses a rule that no process can reach, because one before it matches whatever it does.
pub(super) fn check_reach(raw: &[Spanned<RawRule>], rules: &[ServiceRule]) -> Result<(), Place> {
    for (i, (place, rule)) in raw.iter().zip(rules).enumerate() {
        let before = rules.get(..i).unwrap_or_default();
        let Some(other) = before.iter().find(|other| other.covers(rule)) else {
            continue;
        };
        let problem = format!(
            "the rule of service {} can never match, because that of {} stands before it and matches the same",
            quoted(&rule.name),
            quoted(&other.name)
        );
        let hint = if rule.covers(other) {
            "keep only one of them"
        } else {
            "move it up"
        };
        return Err(Place::at(place, &problem, hint));
    }
    Ok(())
}

impl ServiceRule {
    /// Whether every process that `other` matches is matched by this rule, too. `false`: not, or it is not seen here.
    fn covers(&self, other: &Self) -> bool {
        let Self {
            name: _,
            ports,
            exe,
            cmdline,
            unit,
            container,
            routes: _,
            long_lived: _,
        } = self;
        let has = |port: &u16| ports.contains(port);
        let is_begun_by = |prefix: &String| {
            other
                .container
                .as_ref()
                .is_some_and(|id| id.starts_with(prefix.as_str()))
        };
        (ports.is_empty() || !other.ports.is_empty() && other.ports.iter().all(has))
            && exe.as_ref().is_none_or(|exe| other.exe.as_ref() == Some(exe))
            && cmdline.as_ref().is_none_or(|regex| {
                other
                    .cmdline
                    .as_ref()
                    .is_some_and(|other| other.as_str() == regex.as_str())
            })
            && unit
                .as_ref()
                .is_none_or(|unit| other.unit.as_ref().is_some_and(|other| unit_matches(unit, other)))
            && container.as_ref().is_none_or(is_begun_by)
    }
}

/// Whether a unit is the one that a rule wants, or an instance of it.
#[must_use]
pub fn unit_matches(wanted: &str, unit: &str) -> bool {
    match wanted.strip_suffix("@.service") {
        None => unit == wanted,
        Some(template) => unit
            .strip_prefix(template)
            .is_some_and(|rest| rest.starts_with('@') && rest.ends_with(".service")),
    }
}
