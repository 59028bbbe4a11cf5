//! The phases of a request, and bars of them.

/// The phases, in their order.
pub const PHASES: [Phase; 6] = [
    Phase::new("queue", 'q', "readable, not yet read"),
    Phase::new("runqueue", 'r', "waits for a CPU"),
    Phase::new("cpu", 'c', "runs"),
    Phase::new("blocked", 'b', "sleeps, or waits for something else"),
    Phase::new("send", 's', "first to last byte of the answer"),
    Phase::new("unattributed", '?', "cannot be told to belong to one request"),
];

/// The place of the run queue among them.
pub const RUNQUEUE: usize = 1;

/// Seconds in each phase.
pub type Seconds = [f64; PHASES.len()];

/// A phase.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// The value of the label `phase`.
    pub name: &'static str,
    /// What a bar is made of.
    pub letter: char,
    /// What a request does in it.
    pub meaning: &'static str,
}

// === impl Phase ===

impl Phase {
    const fn new(name: &'static str, letter: char, meaning: &'static str) -> Self {
        Self { name, letter, meaning }
    }
}

/// The place of a phase by its label.
pub fn place(name: &str) -> Option<usize> {
    PHASES.iter().position(|phase| phase.name == name)
}

/// The shares of the phases, which add up to 1; `None` if nothing took any time.
pub fn shares(seconds: &Seconds) -> Option<Seconds> {
    let sum: f64 = seconds.iter().sum();
    (sum > 0.0).then(|| seconds.map(|part| part / sum))
}

/// How many of `cells` each phase gets. What is left by rounding down goes to the largest remainders, so that the cells
/// add up.
pub fn cells(seconds: &Seconds, cells: usize) -> Option<[usize; PHASES.len()]> {
    let exact = shares(seconds)?.map(|share| share * cells as f64);
    let mut whole = exact.map(|part| part.floor() as usize);
    let mut order: [usize; PHASES.len()] = std::array::from_fn(|place| place);
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let missing = cells.saturating_sub(whole.iter().sum());
    for place in order.into_iter().cycle().take(missing) {
        whole[place] += 1;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_full() {
        assert_eq!(cells(&[0.0; 6], 10), None);
        assert_eq!(cells(&[0.0, 0.0, 2.0, 0.0, 0.0, 0.0], 10), Some([0, 0, 10, 0, 0, 0]));
        assert_eq!(cells(&[1.0; 6], 10), Some([2, 2, 2, 2, 1, 1]));
        assert_eq!(cells(&[0.04, 0.0, 0.96, 0.0, 0.0, 0.0], 10), Some([0, 0, 10, 0, 0, 0]));
        assert_eq!(cells(&[0.06, 0.0, 0.94, 0.0, 0.0, 0.0], 10), Some([1, 0, 9, 0, 0, 0]));
    }

    #[test]
    fn letters_differ() {
        let letters: std::collections::BTreeSet<char> = PHASES.iter().map(|phase| phase.letter).collect();
        assert_eq!(letters.len(), PHASES.len());
        assert_eq!(place("runqueue"), Some(RUNQUEUE));
    }
}
