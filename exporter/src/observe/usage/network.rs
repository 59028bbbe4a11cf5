//! The host's network interfaces: `/proc/net/dev`.

/// One interface, since it was made: what it received, and what it sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as `eth0`.
    pub name: String,
    /// Bytes.
    pub bytes: [u64; 2],
    /// Packets.
    pub packets: [u64; 2],
    /// Packets with errors.
    pub errors: [u64; 2],
    /// Packets dropped.
    pub drops: [u64; 2],
    /// How many bytes may pass in a second, each way, where the driver knows.
    pub speed: Option<u64>,
}

/// The interfaces in the text of `/proc/net/dev`.
pub fn parse(text: &str) -> Vec<Interface> {
    let mut interfaces = Vec::new();
    for line in text.lines().skip(2) {
        let Some((name, fields)) = line.split_once(':') else {
            continue;
        };
        let mut numbers = [0; 16];
        for (number, field) in numbers.iter_mut().zip(fields.split_ascii_whitespace()) {
            *number = field.parse().unwrap_or(0);
        }
        let pair = |place: usize| [numbers[place], numbers[place + 8]];
        interfaces.push(Interface {
            name: name.trim().to_owned(),
            bytes: pair(0),
            packets: pair(1),
            errors: pair(2),
            drops: pair(3),
            speed: None,
        });
    }
    interfaces
}

/// Bytes in a second, from `/sys/class/net/<name>/speed`: megabits in a second, or -1.
pub fn parse_speed(text: &str) -> Option<u64> {
    let megabits: u64 = text.trim().parse().ok()?;
    (megabits > 0).then_some(megabits * 1_000_000 / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_understood() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0\n  \
                    eth0: 277106210   10925    1    2    0     0          0         0   740088    7960    3    4    0     0       0          0\n";
        let interfaces = parse(text);
        assert_eq!(interfaces[0].name, "lo");
        let eth0 = Interface {
            name: "eth0".to_owned(),
            bytes: [277_106_210, 740_088],
            packets: [10_925, 7960],
            errors: [1, 3],
            drops: [2, 4],
            speed: None,
        };
        assert_eq!(interfaces[1..], [eth0]);
        assert_eq!(
            (parse_speed("1000\n"), parse_speed("-1\n"), parse_speed("0\n")),
            (Some(125_000_000), None, None)
        );
    }
}
