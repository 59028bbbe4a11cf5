//! Where the cgroup hierarchies are mounted: version 2, and version 1's controllers that matter here.

use std::path::{Path, PathBuf};

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The cgroup that is at the mount point: `/` unless Vigie runs in a container.
    root: String,
    /// The mount point.
    point: PathBuf,
}

/// The hierarchies of this host. A controller is in one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Version 2.
    pub unified: Option<Mount>,
    /// Version 1's `cpu`.
    pub cpu: Option<Mount>,
    /// Version 1's `memory`.
    pub memory: Option<Mount>,
}

/// A cgroup's directory, and those above it: the innermost first.
pub type Chain = Vec<PathBuf>;

// === impl Mount ===

impl Mount {
    /// The directories of a cgroup and of those above it, as far as they are in this mount.
    pub fn chain(&self, cgroup: &str) -> Chain {
        let root = self.root.trim_end_matches('/');
        let Some(inside) = cgroup
            .strip_prefix(root)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            return Chain::new();
        };
        let mut directory = self.point.clone();
        let mut chain = vec![directory.clone()];
        for name in inside.split('/').filter(|name| !name.is_empty()) {
            directory.push(name);
            chain.push(directory.clone());
        }
        chain.reverse();
        chain
    }

    /// Whether a directory is the mount point: the whole host, or all that can be seen of it.
    pub fn is_top(&self, directory: &Path) -> bool {
        directory == self.point
    }
}

// === impl Mounts ===

impl Mounts {
    /// Understands `/proc/self/mountinfo` (`proc(5)`).
    pub fn parse(text: &str) -> Self {
        let mut mounts = Self::default();
        for line in text.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let mut left = left.split(' ').skip(3);
            let (Some(root), Some(point)) = (left.next(), left.next()) else {
                continue;
            };
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            let mount = || {
                Some(Mount {
                    root: unescape(root),
                    point: PathBuf::from(unescape(point)),
                })
            };
            // The first mount counts: later ones are other views of the same.
            match kind {
                Some("cgroup2") if mounts.unified.is_none() => mounts.unified = mount(),
                Some("cgroup") => {
                    let has = |controller: &str| options.split(',').any(|option| option == controller);
                    if has("cpu") && mounts.cpu.is_none() {
                        mounts.cpu = mount();
                    }
                    if has("memory") && mounts.memory.is_none() {
                        mounts.memory = mount();
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// The cgroup of a process in a hierarchy, from the text of its `cgroup` file. `None` as the controller: version 2.
pub fn cgroup_of<'a>(text: &'a str, controller: Option<&str>) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_wanted = match controller {
            None => controllers.is_empty(),
            Some(wanted) => controllers.split(',').any(|controller| controller == wanted),
        };
        is_wanted.then_some(path)
    })
}

/// Decodes the `\040` sequences of a path.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(chain: &Chain) -> Vec<&str> {
        chain.iter().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn both_versions_side_by_side() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
                    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let mounts = Mounts::parse(text);
        let point = |mount: &Option<Mount>| mount.clone().unwrap().point;
        assert_eq!(point(&mounts.cpu), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(point(&mounts.memory), Path::new("/sys/fs/cgroup/memory"));
        let unified = mounts.unified.unwrap();
        assert_eq!(
            paths(&unified.chain("/system.slice/a.service")),
            [
                "/sys/fs/cgroup/unified/system.slice/a.service",
                "/sys/fs/cgroup/unified/system.slice",
                "/sys/fs/cgroup/unified"
            ]
        );
        assert!(unified.is_top(Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn version_2_alone_in_a_container() {
        let text = "30 23 0:26 /docker/abc /mnt/c\\040g rw,nosuid - cgroup2 cgroup rw,nsdelegate\n";
        let mounts = Mounts::parse(text);
        assert_eq!((mounts.cpu, mounts.memory), (None, None));
        let unified = mounts.unified.unwrap();
        assert_eq!(paths(&unified.chain("/docker/abc/x")), ["/mnt/c g/x", "/mnt/c g"]);
        assert_eq!(paths(&unified.chain("/docker/abcd")), [""; 0]);
    }

    #[test]
    fn a_process_is_in_one_cgroup_of_each_hierarchy() {
        let text = "9:name=systemd:/a\n4:memory:/b\n1:cpu,cpuacct:/c:d\n0::/e\n";
        assert_eq!(cgroup_of(text, None), Some("/e"));
        assert_eq!(cgroup_of(text, Some("cpu")), Some("/c:d"));
        assert_eq!(cgroup_of(text, Some("memory")), Some("/b"));
        assert_eq!(cgroup_of(text, Some("io")), None);
    }
}
