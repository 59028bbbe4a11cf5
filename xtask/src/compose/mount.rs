//! What a container mounts.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// `SOURCE:TARGET` or `SOURCE:TARGET:ro`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// A path, relative to the Compose file's directory, or the name of a volume.
    pub from: String,
    pub target: String,
}

// === impl Mount ===

impl Mount {
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let from = parts.next().unwrap_or_default().to_owned();
        let target = parts
            .next()
            .with_context(|| format!("'{text}' is no SOURCE:TARGET"))?
            .to_owned();
        Ok(Self { from, target })
    }

    pub fn is_volume(&self) -> bool {
        !self.from.starts_with(['.', '/'])
    }

    /// The file or directory that is mounted; none for a volume.
    pub fn source(&self, dir: &Path) -> Option<PathBuf> {
        (!self.is_volume()).then(|| dir.join(&self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_no_path() {
        let mount = Mount::parse("../a:/b:ro").unwrap();
        assert_eq!(mount.source(Path::new("/x/y")), Some("/x/y/../a".into()));
        assert_eq!(mount.target, "/b");
        assert_eq!(Mount::parse("data:/b").unwrap().source(Path::new("/x")), None);
        assert!(Mount::parse("data").is_err());
    }
}
