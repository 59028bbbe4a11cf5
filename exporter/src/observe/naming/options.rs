//! Skipping the options of interpreters to find the program they run.

/// The options of an interpreter, as far as finding its script needs them.
pub(super) struct Syntax {
    /// Options followed by a value in the next argument.
    valued: &'static [&'static str],
    /// Options after which there is no script.
    stop: &'static [&'static str],
}

pub(super) const NODE: Syntax = Syntax {
    valued: &[
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-C",
        "--conditions",
        "--title",
        "--input-type",
        "--inspect-port",
        "--icu-data-dir",
        "--openssl-config",
        "--redirect-warnings",
        "--trace-event-categories",
        "--diagnostic-dir",
    ],
    stop: &["-e", "--eval", "-p", "--print", "-pe", "-i", "--run"],
};
pub(super) const RUBY: Syntax = Syntax {
    valued: &[
        "-I",
        "-r",
        "-C",
        "-E",
        "--encoding",
        "--external-encoding",
        "--internal-encoding",
    ],
    stop: &["-e"],
};
pub(super) const PERL: Syntax = Syntax {
    valued: &["-I"],
    stop: &["-e", "-E", "-ne", "-pe", "-we"],
};
pub(super) const SHELL: Syntax = Syntax {
    valued: &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"],
    stop: &["-c", "-ec", "-lc", "-ic", "-xc", "-exc", "-euc", "-s"],
};
pub(super) const JAVA: Syntax = Syntax {
    valued: &[
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--limit-modules",
        "--add-opens",
        "--add-exports",
        "--add-reads",
        "--enable-native-access",
        "--source",
        "-d",
        "--describe-module",
        "-jar",
        "-m",
        "--module",
    ],
    stop: &[],
};
pub(super) const PHP: Syntax = Syntax {
    valued: &[
        "-S",
        "-t",
        "-c",
        "-d",
        "-z",
        "--define",
        "--php-ini",
        "--server",
        "--docroot",
    ],
    stop: &["-r", "--run"],
};
pub(super) const TOOL: Syntax = Syntax {
    valued: &[
        "-c",
        "--config",
        "--cwd",
        "--port",
        "--host",
        "--import-map",
        "--lock",
        "--preload",
        "-r",
        "--env-file",
        "--filter",
    ],
    stop: &["-e", "--eval", "-p", "--print", "eval", "repl"],
};

/// The first argument that is neither an option nor the value of one.
pub(super) fn first_operand<'a>(arguments: &'a [String], syntax: &Syntax) -> Option<&'a str> {
    operand_at(arguments, syntax).map(|(_, operand)| operand)
}

/// Same as [`first_operand`], with its index.
pub(super) fn operand_at<'a>(arguments: &'a [String], syntax: &Syntax) -> Option<(usize, &'a str)> {
    let mut index = 0;
    while let Some(argument) = arguments.get(index).map(String::as_str) {
        if syntax.stop.contains(&argument) || argument == "-" {
            return None;
        }
        if argument == "--" {
            return Some((index + 1, arguments.get(index + 1)?.as_str()));
        }
        if syntax.valued.contains(&argument) {
            index += 2;
        } else if argument.is_empty() || argument.starts_with(['-', '+', '@']) {
            index += 1;
        } else {
            return Some((index, argument));
        }
    }
    None
}
