//! Automatic names, from the executable and the program it interprets.

use super::options::{self, Syntax};
use super::{python, script, title};
use crate::observe::process::ProcessInfo;

/// Servers started by a ruby script, told apart by their working directory.
const RUBY_SERVERS: [&str; 7] = ["puma", "rails", "rackup", "unicorn", "thin", "falcon", "iodine"];

/// The name of the program a process runs, whatever its unit or container.
pub(super) fn app_name(process: &ProcessInfo) -> String {
    let Some(exe) = process.exe_path() else {
        return process.comm.clone();
    };
    let Some(language) = name_of(process) else {
        return exe
            .file_name()
            .map_or_else(|| process.comm.clone(), |name| name.to_string_lossy().into_owned());
    };
    match title::read(&language, &process.argv) {
        title::Argv::Named(name) => name,
        title::Argv::Split(argv) => program_name(&language, process, &argv),
        title::Argv::Plain => program_name(&language, process, &process.argv),
    }
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
        "java" => java_program(arguments, cwd),
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
        "node" => &options::NODE,
        "perl" => &options::PERL,
        _ => &options::SHELL,
    }
}

fn java_program(arguments: &[String], cwd: Option<&std::path::Path>) -> Option<String> {
    let operand = options::first_operand(arguments, &options::JAVA);
    let after = |names: &[&str]| {
        let before = arguments
            .iter()
            .take_while(|&argument| operand != Some(argument.as_str()))
            .position(|argument| names.contains(&argument.as_str()))?;
        arguments.get(before + 1)
    };
    if let Some(jar) = after(&["-jar"]) {
        return Some(script::name(jar, cwd));
    }
    if let Some(module) = after(&["-m", "--module"]) {
        return Some(module.clone());
    }
    // A main class may be written with slashes, a source file with its path.
    operand.map(|class| {
        if class.rsplit_once('.').is_some_and(|(_, ending)| ending == "java") {
            script::name(class, cwd)
        } else {
            class.replace('/', ".")
        }
    })
}

/// `run`, `serve` and the like of `bun` and `deno`, then a file or a task name.
fn tool_program(arguments: &[String], cwd: Option<&std::path::Path>) -> Option<String> {
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
fn php_program(arguments: &[String], cwd: Option<&std::path::Path>) -> Option<String> {
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
