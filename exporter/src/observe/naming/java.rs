//! Names of programs in Java.

use std::path::Path;

use super::{options, script};

/// Properties with the directory of one server among several that share an installation.
const BASES: [&str; 4] = ["catalina.base", "jetty.base", "jboss.server.base.dir", "karaf.base"];
/// Classes of Spring Boot that start the class which is named in the archive around them.
const LAUNCHERS: [&str; 3] = ["JarLauncher", "WarLauncher", "PropertiesLauncher"];
/// Package of these classes; since Spring Boot 3.2 with `.launch`.
const LAUNCHER_PACKAGE: &str = "org.springframework.boot.loader";

/// What the arguments of java run.
pub(super) fn program(arguments: &[String], cwd: Option<&Path>) -> Option<String> {
    let (end, operand) = match options::operand_at(arguments, &options::JAVA) {
        Some((index, operand)) => (index, Some(operand)),
        None => (arguments.len(), None),
    };
    let before = arguments.get(..end).unwrap_or_default();
    let after = |names: &[&str]| {
        let place = before.iter().position(|argument| names.contains(&argument.as_str()))?;
        arguments.get(place + 1)
    };
    let property = |name: &str| {
        // Jetty takes its own from the arguments of its start.jar, too.
        let of_jvm = before.iter().filter_map(|argument| argument.strip_prefix("-D"));
        let all = of_jvm.chain(
            arguments
                .iter()
                .map(String::as_str)
                .filter(|argument| argument.starts_with("jetty.base=")),
        );
        let mut values = all.filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        values.next().filter(|value| !value.is_empty())
    };
    if let Some(base) = BASES.iter().find_map(|name| property(name)) {
        return Some(script::directory(base, cwd)).filter(|name| !name.is_empty());
    }
    if let Some(jar) = after(&["-jar"]) {
        return Some(script::name(jar, cwd));
    }
    if let Some(module) = after(&["-m", "--module"]) {
        return Some(module.clone());
    }
    let class = operand?;
    // A main class may be written with slashes, a source file with its path.
    if class.rsplit_once('.').is_some_and(|(_, ending)| ending == "java") {
        return Some(script::name(class, cwd));
    }
    let class = class.replace('/', ".");
    if is_launcher(&class) {
        if let Some(main) = property("loader.main") {
            return Some(main.to_owned());
        }
        let joined = before
            .iter()
            .find_map(|argument| argument.strip_prefix("--class-path="));
        let path = joined.or_else(|| after(&["-cp", "-classpath", "--class-path"]).map(String::as_str));
        return Some(archive(path.unwrap_or("."), cwd)).filter(|name| !name.is_empty());
    }
    Some(class)
}

fn is_launcher(class: &str) -> bool {
    let (package, name) = class.rsplit_once('.').unwrap_or(("", class));
    LAUNCHERS.contains(&name) && (package.is_empty() || package.starts_with(LAUNCHER_PACKAGE))
}

/// The first entry of a class path: an archive, or the directory that one was unpacked to.
fn archive(class_path: &str, cwd: Option<&Path>) -> String {
    let first = class_path.split(':').find(|entry| !entry.is_empty()).unwrap_or(".");
    if first.ends_with(".jar") || first.ends_with(".war") {
        script::name(first, cwd)
    } else {
        script::directory(first.trim_end_matches('*'), cwd)
    }
}
