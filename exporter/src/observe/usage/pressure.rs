//! Pressure stall information: how long tasks were held up for want of a resource (`Documentation/accounting/psi.rst`).

use std::{io, path::Path};

use super::reading::Reader;

/// The resources, in the order of [`Pressure`].
pub const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];
/// Some tasks were held up, or all of them.
pub const KINDS: [&str; 2] = ["some", "full"];

/// Time held up in microseconds, by resource and kind. `None`: the kernel does not say.
pub type Pressure = [[Option<u64>; 2]; 3];

/// The totals of one file: some, full.
pub fn parse(text: &str) -> [Option<u64>; 2] {
    KINDS.map(|kind| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        line.split(' ')
            .find_map(|field| field.strip_prefix("total="))?
            .parse()
            .ok()
    })
}

/// The pressure of a directory whose files are called `cpu`, `memory`, `io` and this ending.
///
/// # Errors
///
/// If there is none: the kernel has no pressure stall information, or it is switched off.
pub fn read(reader: &mut Reader, directory: &Path, ending: &str) -> io::Result<Pressure> {
    let mut pressure = Pressure::default();
    for (place, resource) in pressure.iter_mut().zip(RESOURCES) {
        *place = parse(reader.file(&directory.join(format!("{resource}{ending}")))?);
    }
    Ok(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        let text = "some avg10=92.79 avg60=85.44 avg300=46.28 total=244385712\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(text), [Some(244_385_712), Some(7)]);
        // Before 5.13 `cpu` had one line.
        assert_eq!(
            parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"),
            [Some(3), None]
        );
        assert_eq!(parse(""), [None, None]);
    }
}
