//! Names of python programs and of the servers that load an application.

use std::path::Path;

use super::script;

/// Servers that take the application as an argument.
const SERVERS: [&str; 5] = ["uvicorn", "gunicorn", "hypercorn", "daphne", "granian"];
/// Tools that take the application as an option.
const TOOLS: [&str; 2] = ["flask", "celery"];
/// Options of those servers without a value; `--no-*` and `--enable-*` have none either.
const FLAGS: [&str; 31] = [
    "--access-log",
    "--capture-output",
    "--check-config",
    "--daemon",
    "--date-header",
    "--debug",
    "--do-handshake-on-connect",
    "--factory",
    "--help",
    "--http1-keep-alive",
    "--initgroups",
    "--log",
    "--log-syslog",
    "--preload",
    "--preload_app",
    "--print-config",
    "--proxy-headers",
    "--reload",
    "--reset-contextvars",
    "--respawn-failed-workers",
    "--reuse-port",
    "--server-header",
    "--spew",
    "--strip-header-spaces",
    "--use-colors",
    "--version",
    "--ws",
    "-D",
    "-R",
    "-h",
    "--proxy-protocol",
];

/// What the arguments of python run.
enum Program<'a> {
    Script(&'a str, &'a [String]),
    Module(&'a str, &'a [String]),
    Other,
}

/// Whether python was started by its `multiprocessing` module.
pub(super) fn is_spawned_worker(argv: &[String]) -> bool {
    let code = argv.iter().any(|argument| argument.starts_with("from multiprocessing"));
    code || argv.iter().any(|argument| argument == "--multiprocessing-fork")
}

/// The name of what python runs, from the arguments after `python`.
pub(super) fn name(arguments: &[String], cwd: Option<&Path>) -> String {
    let (tool, rest, fallback) = match program(arguments) {
        Program::Script(path, rest) => (script::file_name(path), rest, script::name(path, cwd)),
        Program::Module(module, rest) => {
            let module = module.strip_suffix(".__main__").unwrap_or(module);
            (module, rest, module.to_owned())
        }
        Program::Other => return main_of_workers(arguments, cwd),
    };
    let tool = tool.trim_end_matches(|c: char| c.is_ascii_digit());
    if SERVERS.contains(&tool) {
        return match application(rest) {
            Some(app) => format!("{tool}/{app}"),
            None => script::in_directory(tool, cwd),
        };
    }
    if TOOLS.contains(&tool) {
        return match app_option(rest) {
            Some(app) => format!("{tool}/{}", without_call(app)),
            None => script::in_directory(tool, cwd),
        };
    }
    if fallback.is_empty() {
        return "python".to_owned();
    }
    format!("python/{fallback}")
}

/// The name of a worker whose server is not known: of the script that a fork server was told to load before it forks, or of the
/// directory in which it works.
///
/// The code after `-c` of a fork server ends with a dictionary: `main(5, 6, ['__main__'], **{'main_path': '/srv/shop.py', …})`.
fn main_of_workers(arguments: &[String], cwd: Option<&Path>) -> String {
    if !is_spawned_worker(arguments) {
        return "python".to_owned();
    }
    let code = arguments
        .iter()
        .find(|argument| argument.starts_with("from multiprocessing"));
    let path = code.and_then(|code| code.split_once("'main_path': '")?.1.split('\'').next());
    let name = match path {
        Some(path) => script::name(path, cwd),
        None => script::directory(".", cwd),
    };
    if name.is_empty() {
        "python".to_owned()
    } else {
        format!("python/{name}")
    }
}

fn program(arguments: &[String]) -> Program<'_> {
    let mut index = 0;
    while let Some(argument) = arguments.get(index).map(String::as_str) {
        let rest = |from: usize| arguments.get(from..).unwrap_or_default();
        index += 1;
        if argument == "-" {
            return Program::Other;
        }
        if argument == "--check-hash-based-pycs" {
            index += 1;
            continue;
        }
        if argument.is_empty() || argument.starts_with("--") {
            continue;
        }
        let Some(cluster) = argument.strip_prefix('-') else {
            return Program::Script(argument, rest(index));
        };
        // Short options may be joined, and the last one takes the rest as its value.
        let Some(place) = cluster.find(['c', 'm', 'W', 'X']) else {
            continue;
        };
        let (attached, letter) = (cluster.get(place + 1..), cluster.get(place..=place));
        let attached = attached.filter(|value| !value.is_empty());
        match (letter, attached) {
            (Some("c"), _) => return Program::Other,
            (Some("m"), Some(module)) => return Program::Module(module, rest(index)),
            (Some("m"), None) => {
                return match arguments.get(index) {
                    Some(module) => Program::Module(module, rest(index + 1)),
                    None => Program::Other,
                };
            }
            (_, None) => index += 1,
            (_, Some(_)) => {}
        }
    }
    Program::Other
}

/// The application among the arguments of a server.
///
/// An unknown option is taken to have a value. Should it have none, its would-be
/// value is still looked at when nothing else looks like an application.
fn application(arguments: &[String]) -> Option<&str> {
    let mut operands = Vec::new();
    let mut values = Vec::new();
    let mut index = 0;
    while let Some(argument) = arguments.get(index).map(String::as_str) {
        index += 1;
        if argument == "--" {
            operands.extend(arguments.get(index..).into_iter().flatten().map(String::as_str));
            break;
        }
        if !argument.starts_with('-') {
            operands.push(argument);
        } else if takes_value(argument) {
            values.extend(arguments.get(index).map(String::as_str));
            index += 1;
        }
    }
    let find = |list: &[&'_ str], shape: fn(&str) -> bool| list.iter().position(|text| shape(without_call(text)));
    let found = find(&operands, is_attribute)
        .or_else(|| find(&operands, is_dotted))
        .or_else(|| find(&operands, is_identifier));
    match found {
        Some(place) => operands.get(place).copied().map(without_call),
        None => find(&values, is_attribute)
            .and_then(|place| values.get(place).copied())
            .map(without_call),
    }
}

fn takes_value(option: &str) -> bool {
    let is_flag = FLAGS.contains(&option)
        || ["--no-", "--enable-", "--permit-", "--disable-"]
            .iter()
            .any(|prefix| option.starts_with(prefix));
    let has_value = option.contains('=') || (!option.starts_with("--") && option.len() > 2);
    !is_flag && !has_value
}

/// The value of `--app x`, `--app=x`, `-A x` or `-Ax`.
fn app_option(arguments: &[String]) -> Option<&str> {
    arguments.iter().enumerate().find_map(|(index, argument)| {
        if argument == "-A" || argument == "--app" {
            return arguments.get(index + 1).map(String::as_str);
        }
        argument.strip_prefix("--app=").or_else(|| argument.strip_prefix("-A"))
    })
}

/// Drops the arguments of `app:create_app("secret")`.
fn without_call(app: &str) -> &str {
    app.split('(').next().unwrap_or(app)
}

fn is_identifier(text: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn is_module(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_dotted(text: &str) -> bool {
    text.contains('.') && is_module(text)
}

/// `module:attribute`, but not the address `unix:name` or `fd:name`.
fn is_attribute(text: &str) -> bool {
    text.split_once(':').is_some_and(|(module, attribute)| {
        !matches!(module, "unix" | "fd") && is_module(module) && is_module(attribute)
    })
}
