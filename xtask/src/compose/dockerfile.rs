//! What can be wrong with a Dockerfile without building it.

use super::is_pinned;
use std::path::Path;

/// Images without a version, and files to copy that are not there.
pub fn problems(text: &str, context: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["FROM", image, ..] if !is_pinned(image) => problems.push(format!("its base '{image}' has no version")),
            ["COPY", flag, ..] if flag.starts_with("--from=") => {}
            ["COPY", ref sources @ .., _target] => {
                for source in sources.iter().filter(|source| !context.join(source).exists()) {
                    problems.push(format!("it copies {source}, which is not there"));
                }
            }
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_there_and_what_is_built_on_has_a_version() {
        let text = "FROM a:1.2.3 AS build\nCOPY Cargo.toml missing ./\nFROM debian\nCOPY --from=build /x /y\n";
        let found = problems(text, &crate::paths::root().unwrap().join("xtask"));
        assert_eq!(
            found,
            [
                "it copies missing, which is not there",
                "its base 'debian' has no version"
            ]
        );
    }
}
