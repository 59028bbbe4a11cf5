//! The host's disks: `/proc/diskstats` (`Documentation/admin-guide/iostats.rst`).

use std::{collections::HashMap, path::Path};

/// The sectors of `/proc/diskstats` are of 512 bytes, whatever the disk's own are.
const SECTOR: u64 = 512;

/// One disk, since the host's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its name, as `sda`.
    pub name: String,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Time with something to do, in milliseconds.
    pub busy: u64,
    /// The same, each request that waits or is dealt with counting, in milliseconds.
    pub weighted: u64,
}

/// Which names are those of whole disks. A disk that goes and comes again has its name again.
#[derive(Debug, Default)]
pub struct Disks {
    is_disk: HashMap<String, bool>,
}

// === impl Disks ===

impl Disks {
    /// The whole disks in the text of `/proc/diskstats`. Partitions are parts of them; loop devices and RAM disks are none.
    pub fn parse(&mut self, text: &str) -> Vec<Disk> {
        let is_disk = |name: &str| Path::new("/sys/block").join(name.replace('/', "!")).exists();
        self.parse_with(text, is_disk)
    }

    fn parse_with(&mut self, text: &str, is_disk: impl Fn(&str) -> bool) -> Vec<Disk> {
        let mut disks = Vec::new();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace().skip(2);
            let Some(name) = fields.next() else {
                continue;
            };
            if ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)) {
                continue;
            }
            let known = self.is_disk.get(name).copied();
            if !known.unwrap_or_else(|| {
                let is_disk = is_disk(name);
                self.is_disk.insert(name.to_owned(), is_disk);
                is_disk
            }) {
                continue;
            }
            let mut numbers = [0; 11];
            for (number, field) in numbers.iter_mut().zip(fields) {
                *number = field.parse().unwrap_or(0);
            }
            let [_, _, read, _, _, _, written, _, _, busy, weighted] = numbers;
            disks.push(Disk {
                name: name.to_owned(),
                read: read * SECTOR,
                written: written * SECTOR,
                busy,
                weighted,
            });
        }
        disks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_only() {
        let text = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
                    254       0 vda 50593 9500 5507298 34699 12726 57925 11578192 126987 0 19884 167272 7962 47 1099688 4043 927 1542\n \
                    254       1 vda1 1 1 1 1 1 1 1 1 1 1 1\n \
                    253       0 zram0 0 0 0 0 0 0 0 0 0 0 0\n";
        let disks = Disks::default().parse_with(text, |name| name == "vda");
        let vda = Disk {
            name: "vda".to_owned(),
            read: 5_507_298 * 512,
            written: 11_578_192 * 512,
            busy: 19_884,
            weighted: 167_272,
        };
        assert_eq!(disks, [vda]);
    }
}
