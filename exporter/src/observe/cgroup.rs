//! Systemd units and container ids found in `/proc/<pid>/cgroup`.

/// Length of a container id in hexadecimal digits.
const CONTAINER_ID: usize = 64;

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
    paths(str::is_empty).or_else(|| paths(|controllers| controllers == "name=systemd"))
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
    path.rsplit('/')
        // systemd puts a `_` before a name that the kernel would reserve.
        .map(|segment| segment.strip_prefix('_').unwrap_or(segment))
        .filter(|segment| segment.len() > ".service".len() && segment.ends_with(".service"))
        .find(|segment| !segment.starts_with("user@"))
        .map(unescape)
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
