//! Systemd units, containers and machines found in `/proc/<pid>/cgroup`.

/// Length of a container id in hexadecimal digits.
const CONTAINER_ID: usize = 64;

/// Where a process runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Innermost systemd service that belongs to the same machine as the process.
    pub unit: Option<String>,
    /// Full id of the innermost container.
    pub container: Option<String>,
    /// Name of the innermost machine: systemd-nspawn, LXC, or another that systemd-machined knows. None on the host.
    pub machine: Option<String>,
}

/// Reads the place of a process from the lines of its `cgroup` file.
///
/// The unified hierarchy is asked first, then systemd's own, then all others; the last know no units.
#[must_use]
pub fn place<S: AsRef<str>>(lines: &[S]) -> Place {
    let mut place = Place::default();
    let ranks: [fn(&str) -> bool; 3] = [str::is_empty, is_systemd, |controllers| {
        !controllers.is_empty() && !is_systemd(controllers)
    }];
    for (rank, wanted) in ranks.iter().enumerate() {
        for (controllers, path) in lines.iter().filter_map(|line| split_line(line.as_ref())) {
            if wanted(controllers) {
                let Place {
                    unit,
                    container,
                    machine,
                } = place_in(path);
                // A hierarchy that does not know the machine takes its units for the host's.
                if place.machine.is_none() && machine.is_some() {
                    place.unit = None;
                }
                let is_same_machine = place.machine.is_none() || place.machine == machine;
                if rank < 2 && is_same_machine {
                    place.unit = place.unit.or(unit);
                }
                place.container = place.container.or(container);
                place.machine = place.machine.or(machine);
            }
        }
    }
    place
}

fn is_systemd(controllers: &str) -> bool {
    controllers == "name=systemd"
}

/// The place that one path says, from its outermost segment to the innermost.
fn place_in(path: &str) -> Place {
    let mut place = Place::default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    while let Some(segment) = segments.next() {
        let machine = match segment {
            // LXC before 4.0, and Proxmox: the name is a directory.
            "lxc" | "lxc.payload" => segments
                .next_if(|next| id_of_segment(next).is_none())
                .map(str::to_owned),
            // The nspawn process itself belongs to the host.
            _ if segments.peek() == Some(&"supervisor") => None,
            _ => machine_of_segment(segment),
        };
        if machine.is_some() {
            place = Place {
                machine,
                ..Place::default()
            };
        } else if let Some(id) = id_of_segment(segment) {
            place.container = Some(id.to_owned());
        } else if let Some(unit) = service_of_segment(segment) {
            place.unit = Some(unit);
        }
    }
    place
}

/// The machine of `machine-<name>.scope`, `systemd-nspawn@<name>.service` or `lxc.payload.<name>`.
fn machine_of_segment(segment: &str) -> Option<String> {
    let between = |before: &str, after: &str| segment.strip_prefix(before)?.strip_suffix(after);
    let name = between("machine-", ".scope")
        .or_else(|| between("systemd-nspawn@", ".service"))
        .or_else(|| between("lxc.payload.", ""))?;
    let name = unescape(name);
    // libvirt writes its driver and a number that grows with each start: `qemu-7-shop`.
    let rest = name.strip_prefix("qemu-").or_else(|| name.strip_prefix("lxc-"));
    let plain = rest.and_then(|rest| rest.split_once('-'));
    let plain = plain.filter(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let name = plain.map_or(name.as_str(), |(_, plain)| plain);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The systemd service a process runs in, from the lines of its `cgroup` file.
///
/// It is the innermost `.service` of the path. A user manager (`user@1000.service`)
/// does not count, but a service started by it does; scopes are not units here.
#[must_use]
pub fn systemd_unit<S: AsRef<str>>(lines: &[S]) -> Option<String> {
    let paths = |wanted: fn(&str) -> bool| {
        lines
            .iter()
            .filter_map(|line| split_line(line.as_ref()))
            .filter(move |(controllers, _)| wanted(controllers))
            .find_map(|(_, path)| innermost_service(path))
    };
    paths(str::is_empty).or_else(|| paths(is_systemd))
}

/// The full id of the container a process runs in, from the lines of its `cgroup` file.
///
/// It is the innermost 64-digit hexadecimal id of the path, as written by
/// docker, containerd, cri-o, podman and the kubelet, whatever the cgroup driver.
#[must_use]
pub fn container_id<S: AsRef<str>>(lines: &[S]) -> Option<String> {
    lines
        .iter()
        .filter_map(|line| split_line(line.as_ref()))
        .find_map(|(_, path)| path.rsplit('/').find_map(id_of_segment))
        .map(str::to_owned)
}

/// Splits `hierarchy:controllers:path`.
fn split_line(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.splitn(3, ':').skip(1);
    Some((fields.next()?, fields.next()?))
}

fn innermost_service(path: &str) -> Option<String> {
    path.rsplit('/').find_map(service_of_segment)
}

/// The unit of a segment, if it is a service other than a user's manager.
fn service_of_segment(segment: &str) -> Option<String> {
    // systemd puts a `_` before a name that the kernel would reserve.
    let name = segment.strip_prefix('_').unwrap_or(segment);
    let is_service = name.len() > ".service".len() && name.ends_with(".service");
    (is_service && !name.starts_with("user@")).then(|| unescape(name))
}

/// Decodes the `\xNN` sequences of a unit name.
pub(crate) fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if let [b'\\', b'x', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            bytes.push(high * 16 + low);
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The id at the end of `<id>`, `docker-<id>.scope`, `cri-containerd:<id>` and the like.
fn id_of_segment(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let start = name.len().checked_sub(CONTAINER_ID)?;
    let (prefix, id) = (name.get(..start)?, name.get(start..)?);
    let is_id = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // conmon is the monitor of a container, and runs outside of it.
    let is_prefix = prefix.is_empty() || prefix.ends_with(['-', ':']);
    (is_id && is_prefix && !prefix.contains("conmon")).then_some(id)
}

#[cfg(test)]
mod tests;
