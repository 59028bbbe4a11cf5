//! Automatic names, from the executable and the program it interprets.

use std::path::Path;

use super::options::{self, Syntax};
use super::{java, python, script, title};
use crate::observe::process::ProcessInfo;

/// Servers started by a ruby script, told apart by their working directory.
const RUBY_SERVERS: [&str; 7] = ["puma", "rails", "rackup", "unicorn", "thin", "falcon", "iodine"];

/// The name of the program a process runs, whatever its unit or container. Empty if it has none.
pub(super) fn app_name(process: &ProcessInfo) -> String {
    let Some(exe) = process.exe_path() else {
        return process.comm.clone();
    };
    let Some(language) = name_of(process) else {
        return native_name(&exe, process);
    };
    if let Some(argv) = &process.original {
        return program_name(&language, process, argv);
    }
    match title::read(&language, &process.argv) {
        title::Argv::Named(name) => name,
        title::Argv::Split(argv) => program_name(&language, process, &argv),
        title::Argv::Plain => program_name(&language, process, &process.argv),
    }
}

/// The name of a program that is no interpreter: its file, or the link under which it was started.
///
/// `redis-server` is a link to `redis-check-rdb`, and a program may have a dozen such names. The link counts if the program says the same of
/// itself, in its first argument or in the title over it; else it is a script of an interpreter that is not known here.
fn native_name(exe: &Path, process: &ProcessInfo) -> String {
    let executed = process.executed.as_deref().map(script::file_name).unwrap_or_default();
    let shown = process.argv.first().map(String::as_str).unwrap_or_default();
    let shown = shown.split([' ', ':']).next().unwrap_or_default();
    let started_as = process.arguments().first().map(String::as_str).unwrap_or_default();
    let is_same = |text: &str| script::file_name(text) == executed;
    if !executed.is_empty() && (is_same(shown) || is_same(started_as)) {
        return script::program(&exe.with_file_name(executed));
    }
    script::program(exe)
}

/// The interpreter of a process without its version, if it is one.
pub(super) fn name_of(process: &ProcessInfo) -> Option<String> {
    let exe = process.exe_path()?;
    language(&exe.file_name()?.to_string_lossy())
}

/// `python` for `python3.11`, `node` for `nodejs`, nothing for other programs.
pub(super) fn language(file: &str) -> Option<String> {
    let version = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    let stem = match file.strip_suffix('t') {
        // The free-threaded python.
        Some(rest) if rest.ends_with(|c: char| c.is_ascii_digit()) => rest,
        _ => file,
    };
    match stem.trim_end_matches(version) {
        "python" | "pypy" => Some("python"),
        "node" | "nodejs" => Some("node"),
        "sh" | "dash" => Some("sh"),
        "ruby" => Some("ruby"),
        "perl" => Some("perl"),
        "php" => Some("php"),
        "java" => Some("java"),
        "bun" => Some("bun"),
        "deno" => Some("deno"),
        "bash" => Some("bash"),
        _ => None,
    }
    .map(str::to_owned)
}

fn program_name(language: &str, process: &ProcessInfo, argv: &[String]) -> String {
    let cwd = process.cwd.as_deref();
    let arguments = argv.get(1..).unwrap_or_default();
    let program = match language {
        "python" => return python::name(arguments, cwd),
        "node" => node_program(arguments, cwd),
        "java" => java::program(arguments, cwd),
        "bun" | "deno" => tool_program(arguments, cwd),
        "php" => php_program(arguments, cwd),
        "ruby" => match options::first_operand(arguments, &options::RUBY) {
            Some(tool) if RUBY_SERVERS.contains(&script::file_name(tool)) => {
                return script::in_directory(script::file_name(tool), cwd);
            }
            found => found.map(|path| script::name(path, cwd)),
        },
        _ => options::first_operand(arguments, syntax(language)).map(|path| script::name(path, cwd)),
    };
    match program {
        Some(program) if !program.is_empty() => format!("{language}/{program}"),
        _ => language.to_owned(),
    }
}

fn syntax(language: &str) -> &'static Syntax {
    match language {
        "perl" => &options::PERL,
        _ => &options::SHELL,
    }
}

/// A script; that which a loader of scripts is given; or the directory in which a tool of a framework runs.
fn node_program(arguments: &[String], cwd: Option<&Path>) -> Option<String> {
    const LOADERS: [&str; 4] = ["tsx", "ts-node", "nodemon", "babel-node"];
    const TOOLS: [&str; 9] = [
        "next",
        "nuxt",
        "nuxi",
        "vite",
        "nest",
        "astro",
        "remix-serve",
        "http-server",
        "json-server",
    ];
    let (index, path) = options::operand_at(arguments, &options::NODE)?;
    let file = script::file_name(path);
    let tool = file.split('.').next().unwrap_or(file);
    if LOADERS.contains(&tool) {
        let rest = arguments.get(index + 1..).unwrap_or_default();
        return options::first_operand(rest, &options::NODE).map(|path| script::name(path, cwd));
    }
    if TOOLS.contains(&tool) && path.contains("node_modules") {
        return Some(script::under_directory(tool, cwd));
    }
    Some(script::name(path, cwd))
}

/// `run`, `serve` and the like of `bun` and `deno`, then a file or a task name.
fn tool_program(arguments: &[String], cwd: Option<&Path>) -> Option<String> {
    const COMMANDS: [&str; 6] = ["run", "serve", "task", "x", "exec", "start"];
    let (index, first) = options::operand_at(arguments, &options::TOOL)?;
    if !COMMANDS.contains(&first) {
        return Some(script::name(first, cwd));
    }
    let rest = arguments.get(index + 1..).unwrap_or_default();
    let target = options::first_operand(rest, &options::TOOL)?;
    if target.contains(['/', '.']) {
        Some(script::name(target, cwd))
    } else {
        Some(script::under_directory(target, cwd))
    }
}

/// A script, or the directory served by `php -S`.
fn php_program(arguments: &[String], cwd: Option<&Path>) -> Option<String> {
    if let Some(path) = options::first_operand(arguments, &options::PHP) {
        return Some(script::name(path, cwd));
    }
    if !arguments.iter().any(|argument| argument == "-S") {
        return None;
    }
    let root = arguments.iter().position(|argument| argument == "-t");
    let root = root.and_then(|index| arguments.get(index + 1));
    Some(script::name(root.map_or(".", String::as_str), cwd))
}

/// Whether a name is that of an interpreter, and says nothing of what it runs.
pub(super) fn says_nothing(name: &str, process: &ProcessInfo) -> bool {
    name.is_empty() || process.exe.is_none() || name_of(process).is_some_and(|language| language == name)
}
