//! Cgroups as container runtimes make them: made, entered by a process, and removed.

use anyhow::{Context as _, Result, ensure};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use testkit::Random;

/// A cgroup cannot be removed as long as a process in it is ending.
const REMOVAL: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_millis(1);
/// Hierarchies of version 1 that a process enters: one has to be told no CPUs or memory nodes first.
const CONTROLLERS: [&str; 3] = ["name=systemd", "memory", "cpu"];
/// Digits of a container's id that tools show.
pub const SHORT: usize = 12;

/// Who makes the cgroup of a container, and how it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Docker with `cgroupfs`.
    Docker,
    /// Docker with systemd.
    DockerScope,
    /// containerd in Kubernetes, with systemd.
    Containerd,
    /// CRI-O in Kubernetes, with systemd.
    CriO,
    /// Kubernetes with `cgroupfs`, whatever the runtime.
    Kubepods,
}

/// Where cgroups are mounted on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Mounts {
    /// Version 2.
    unified: Option<PathBuf>,
    /// The hierarchies of version 1 that are used.
    legacy: Vec<PathBuf>,
}

/// Makes cgroups, and knows which there are: only what was made here is removed.
#[derive(Clone, Debug, Default)]
pub struct Maker {
    made: Rc<RefCell<BTreeSet<PathBuf>>>,
}

/// The cgroups of one container, one in each hierarchy that it is in. Removed on drop.
#[derive(Debug)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Absolute paths.
    pub cgroups: Vec<PathBuf>,
    maker: Maker,
}

// === impl Shape ===

impl Shape {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Docker,
        Self::DockerScope,
        Self::Containerd,
        Self::CriO,
        Self::Kubepods,
    ];

    /// The path within a hierarchy.
    fn path(self, id: &str, pod: &str) -> String {
        // systemd has `-` for a level of slices, so that a pod's own are written as `_`.
        let slice = format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
            pod.replace('-', "_")
        );
        match self {
            Self::Docker => format!("docker/{id}"),
            Self::DockerScope => format!("system.slice/docker-{id}.scope"),
            Self::Containerd => format!("{slice}/cri-containerd-{id}.scope"),
            Self::CriO => format!("{slice}/crio-{id}.scope"),
            Self::Kubepods => format!("kubepods/burstable/pod{pod}/{id}"),
        }
    }
}

// === impl Mounts ===

impl Mounts {
    /// What this host has.
    ///
    /// # Errors
    ///
    /// If it has no cgroups at all.
    pub fn find() -> Result<Self> {
        let mounts = Self::parse(&fs::read_to_string("/proc/mounts")?);
        ensure!(!mounts.hierarchies().is_empty(), "no cgroups are mounted on this host");
        Ok(mounts)
    }

    /// The same from the text of `/proc/mounts` (proc_pid_mounts(5)): device, directory, type, options.
    fn parse(text: &str) -> Self {
        let mut mounts = Self {
            unified: None,
            legacy: Vec::new(),
        };
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, directory, kind, options, ..] = fields[..] else {
                continue;
            };
            let is_used = || options.split(',').any(|option| CONTROLLERS.contains(&option));
            match kind {
                "cgroup2" => mounts.unified = Some(directory.into()),
                "cgroup" if is_used() => mounts.legacy.push(directory.into()),
                _ => {}
            }
        }
        mounts
    }

    /// The sets of hierarchies that a container can be in: those of version 2, and those of version 1.
    pub fn hierarchies(&self) -> Vec<Vec<&Path>> {
        let unified = self.unified.iter().map(|path| vec![path.as_path()]);
        let legacy: Vec<&Path> = self.legacy.iter().map(PathBuf::as_path).collect();
        unified.chain((!legacy.is_empty()).then_some(legacy)).collect()
    }
}

// === impl Maker ===

impl Maker {
    /// Makes the cgroups of a new container. What was made is removed again if something fails.
    pub fn make(&self, hierarchies: &[&Path], shape: Shape, random: &mut Random) -> Result<Container> {
        let id: String = (0..4).map(|_| format!("{:016x}", random.next_u64())).collect();
        let bits = random.next_u64();
        let pod = format!("{:08x}-{:04x}-4000-8000-{:012x}", bits >> 32, bits & 0xffff, bits >> 16);
        let path = shape.path(&id, &pod);
        let mut container = Container {
            id,
            cgroups: Vec::new(),
            maker: self.clone(),
        };
        for hierarchy in hierarchies {
            let mut cgroup = (*hierarchy).to_owned();
            for part in path.split('/') {
                cgroup.push(part);
                match fs::create_dir(&cgroup) {
                    Ok(()) => drop(self.made.borrow_mut().insert(cgroup.clone())),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => {
                        return Err(error).with_context(|| format!("cannot make the cgroup {}", cgroup.display()));
                    }
                }
            }
            container.cgroups.push(cgroup);
        }
        Ok(container)
    }

    /// Removes those above a cgroup that were made and that nobody needs any more.
    fn remove_above(&self, cgroup: &Path) {
        for above in cgroup.ancestors().skip(1) {
            let mut made = self.made.borrow_mut();
            if !made.contains(above) || fs::remove_dir(above).is_err() {
                return;
            }
            made.remove(above);
        }
    }
}

// === impl Container ===

impl Container {
    /// The part of its id that tools show.
    pub fn short_id(&self) -> &str {
        self.id.get(..SHORT).unwrap_or(&self.id)
    }

    /// Removes its cgroups, once its processes have ended.
    ///
    /// # Errors
    ///
    /// If one is still used after some seconds.
    pub fn remove(mut self) -> Result<()> {
        self.remove_all()
    }

    fn remove_all(&mut self) -> Result<()> {
        let mut result = Ok(());
        for cgroup in self.cgroups.drain(..) {
            match remove(&cgroup, REMOVAL) {
                Ok(()) => {
                    self.maker.made.borrow_mut().remove(&cgroup);
                    self.maker.remove_above(&cgroup);
                }
                Err(error) => {
                    result = Err(error).with_context(|| format!("cannot remove the cgroup {}", cgroup.display()));
                }
            }
        }
        result
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The error to show is the one that led here.
        let _ = self.remove_all();
    }
}

fn remove(cgroup: &Path, limit: Duration) -> io::Result<()> {
    let end = Instant::now() + limit;
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => thread::sleep(PERIOD),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let text = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let mounts = Mounts::parse(text);
        assert_eq!(
            mounts.hierarchies(),
            [
                vec![Path::new("/sys/fs/cgroup/unified")],
                vec![Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup/systemd")]
            ]
        );
        assert!(Mounts::parse("proc /proc proc rw 0 0\n").hierarchies().is_empty());
    }

    #[test]
    fn each_shape_ends_with_the_id() {
        let id = "a".repeat(64);
        for shape in Shape::ALL {
            let path = shape.path(&id, "0123-4");
            let name = path.rsplit('/').next().unwrap();
            assert!(name.strip_suffix(".scope").unwrap_or(name).ends_with(&id), "{path}");
        }
        assert!(Shape::CriO.path(&id, "0123-4").contains("-pod0123_4.slice/crio-"));
        assert!(Shape::Kubepods.path(&id, "0123-4").contains("/pod0123-4/"));
    }

    /// An ordinary directory takes the place of a hierarchy: what is made is what is removed, and nothing else.
    #[test]
    fn what_is_made_is_removed() {
        let hierarchy = testkit::TempDir::new().unwrap();
        fs::create_dir(hierarchy.path().join("system.slice")).unwrap();
        let mut random = Random::new(1);
        let maker = Maker::default();
        let mut make = |shape| maker.make(&[hierarchy.path()], shape, &mut random).unwrap();
        let (one, two) = (make(Shape::Docker), make(Shape::Docker));
        let (scope, pod) = (make(Shape::DockerScope), make(Shape::CriO));
        assert_ne!(one.id, two.id);
        assert_eq!((one.id.len(), one.short_id().len()), (64, 12));
        for container in [&one, &two, &scope, &pod] {
            assert!(container.cgroups[0].is_dir());
        }
        one.remove().unwrap();
        scope.remove().unwrap();
        pod.remove().unwrap();
        assert!(two.cgroups[0].is_dir());
        drop(two);
        let left: Vec<_> = fs::read_dir(hierarchy.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["system.slice"]);
        assert!(maker.made.borrow().is_empty());
    }
}
