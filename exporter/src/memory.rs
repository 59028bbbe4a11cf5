//! Memory that is not used any more goes back to the host.
//!
//! The allocator keeps what is freed for the next who asks. After a peak (the kernel's types at start, a large scrape, many clients) that may be ten
//! times of what is in use, for ever.

use std::{fs, time::Duration};

/// How often it is looked whether there was a peak.
const PERIOD: Duration = Duration::from_secs(10);
/// How much more than before is a peak, in bytes: a quarter, and this at the least.
const PEAK: u64 = 4 << 20;

/// Gives back what is not used.
pub fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back what peaks have left, for ever.
pub async fn release_after_peaks() {
    let mut usual = resident();
    loop {
        tokio::time::sleep(PERIOD).await;
        if is_peak(resident(), usual) {
            release();
        }
        usual = resident();
    }
}

fn is_peak(resident: u64, usual: u64) -> bool {
    resident > usual + PEAK.max(usual / 4)
}

/// The resident memory of this process, in bytes; 0 if it is not known.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_more_than_usual() {
        const MIB: u64 = 1 << 20;
        for (resident, usual, expected) in [
            (20, 20, false),
            (24, 20, false),
            (26, 20, true),
            (120, 100, false),
            (126, 100, true),
            (10, 100, false),
        ] {
            assert_eq!(is_peak(resident * MIB, usual * MIB), expected, "{resident} {usual}");
        }
        assert!(resident() > MIB);
    }
}
