//! Documents with a part that a command writes.

use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Puts `text` behind the line `start`: up to the line `end`, or to the end of the document.
pub fn write(document: &Path, start: &str, end: Option<&str>, text: &str) -> Result<()> {
    let old = fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    let new = replaced(&old, start, end, text).with_context(|| format!("in {}", document.display()))?;
    fs::write(document, new).with_context(|| format!("cannot write {}", document.display()))
}

fn replaced(old: &str, start: &str, end: Option<&str>, text: &str) -> Result<String> {
    let (head, rest) = old.split_once(start).with_context(|| format!("no line \"{start}\""))?;
    let tail = match end {
        Some(end) => {
            let (_, tail) = rest.split_once(end).with_context(|| format!("no line \"{end}\""))?;
            format!("\n{end}{tail}")
        }
        None => String::new(),
    };
    Ok(format!("{head}{start}\n\n{text}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_changes() {
        let old = "a\n<start>\n\nold\n\n<end>\nb\n";
        let new = replaced(old, "<start>", Some("<end>"), "new\n").unwrap();
        assert_eq!(new, "a\n<start>\n\nnew\n\n<end>\nb\n");
        assert_eq!(replaced(&new, "<start>", Some("<end>"), "new\n").unwrap(), new);
        assert_eq!(replaced(old, "<start>", None, "new\n").unwrap(), "a\n<start>\n\nnew\n");
        let error = replaced(old, "<other>", None, "").unwrap_err().to_string();
        assert_eq!(error, "no line \"<other>\"");
    }
}
