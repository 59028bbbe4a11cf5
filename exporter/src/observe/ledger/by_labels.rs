//! Values by their labels, in the labels' order.
//!
//! Not a map: a scrape puts all of them in at once and reads them in order, and a tree would move each of these large values about
//! as it grows.

use std::slice;

use super::Labels;

/// Values by their labels.
#[derive(Debug)]
pub struct ByLabels<V>(Vec<(Labels, V)>);

// === impl ByLabels ===

impl<V> ByLabels<V> {
    /// Of these; `add` makes one value of two that have the same labels.
    pub fn new(mut all: Vec<(Labels, V)>, mut add: impl FnMut(&mut V, &V)) -> Self {
        all.sort_by_cached_key(|(labels, _)| labels.clone());
        all.dedup_by(|(labels, value), (before, sum)| {
            let is_same = labels == before;
            if is_same {
                add(sum, value);
            }
            is_same
        });
        Self(all)
    }

    /// The value of these labels.
    pub fn get(&self, labels: &Labels) -> Option<&V> {
        let place = self.0.binary_search_by(|(known, _)| known.cmp(labels)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }
}

impl<V> Default for ByLabels<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, V> IntoIterator for &'a ByLabels<V> {
    type Item = &'a (Labels, V);
    type IntoIter = slice::Iter<'a, (Labels, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
