//! Levels of paths that take very many values.
//!
//! A level is a place behind some segments, as that of `alice` in `/u/alice/orders`. It is known by the hash of what is above it,
//! which is the kernel's, see [`vigie_ebpf::path`].

use std::collections::{HashMap, HashSet};

use vigie_ebpf::path::{self, ANY, below, is_word};

/// A level that could collapse.
#[derive(Debug, PartialEq, Eq)]
pub struct Level {
    /// The hash of what is above it.
    pub above: u64,
    /// How many words stand there that are seldom asked for.
    pub seldom: usize,
}

/// Where the words of a path stand: the hash of what is above each, with the words' own.
pub fn words<'a>(segments: &'a [u64], collapsed: &'a HashSet<u64>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let mut above = 0;
    segments.iter().filter_map(move |segment| {
        let here = above;
        let is_collapsed = is_word(*segment) && collapsed.contains(&here);
        above = below(here, *segment, is_collapsed);
        is_word(*segment).then_some((here, *segment))
    })
}

/// A handler with those of its segments replaced that stand at a collapsed level, and which levels these are.
pub fn collapse(handler: &str, segments: &[u64], collapsed: &HashSet<u64>) -> (String, Vec<u64>) {
    let mut levels = Vec::new();
    let mut above = 0;
    let mut shown = Vec::new();
    for (text, segment) in handler.split('/').zip(segments) {
        let is_collapsed = is_word(*segment) && collapsed.contains(&above);
        if is_collapsed {
            levels.push(above);
        }
        shown.push(if is_collapsed { ANY } else { text });
        above = below(above, *segment, is_collapsed);
    }
    (shown.join("/"), levels)
}

/// The hash of the shape of a path with those of its levels collapsed that have.
pub fn shape(segments: &[u64], collapsed: &HashSet<u64>) -> u64 {
    path::whole(segments.iter().fold(0, |above, segment| {
        below(above, *segment, is_word(*segment) && collapsed.contains(&above))
    }))
}

/// The level at which most words stand that are seldom asked for, if they are more than `most` and more than the others there. Of
/// each route: its segments, and whether it is.
pub fn widest<'a>(
    routes: impl Iterator<Item = (&'a [u64], bool)>,
    collapsed: &HashSet<u64>,
    most: usize,
) -> Option<Level> {
    // Of each level, its words, and whether one of the routes there is asked for more often.
    let mut levels = HashMap::<u64, HashMap<u64, bool>>::new();
    for (segments, is_seldom) in routes {
        for (above, word) in words(segments, collapsed) {
            if !collapsed.contains(&above) {
                *levels.entry(above).or_default().entry(word).or_default() |= !is_seldom;
            }
        }
    }
    let levels = levels.into_iter().filter_map(|(above, words)| {
        let seldom = words.values().filter(|is_often| !**is_often).count();
        (seldom > most && seldom * 2 > words.len()).then_some(Level { above, seldom })
    });
    // The hash decides between equals, so that the same routes always have the same result.
    levels.max_by_key(|level| (level.seldom, level.above))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<u64> {
        path::read(path.as_bytes()).segments().to_vec()
    }

    #[test]
    fn the_widest_level_is_found() {
        let paths: Vec<_> = (0..9)
            .map(|i| format!("/u/n{}/orders", char::from(b'g' + i)))
            .chain(["/v/a", "/v/b"].map(str::to_owned))
            .collect();
        let all: Vec<_> = paths.iter().map(|path| segments(path)).collect();
        let widest = |most| widest(all.iter().map(|path| (&path[..], true)), &HashSet::new(), most);
        let level = widest(8).unwrap();
        assert_eq!(level.seldom, 9);
        assert_eq!(widest(9), None);
        let collapsed = HashSet::from([level.above]);
        assert_eq!(
            collapse(&paths[0], &all[0], &collapsed),
            ("/u/{…}/orders".to_owned(), vec![level.above])
        );
        assert_eq!(
            collapse("/v/a", &segments("/v/a"), &collapsed),
            ("/v/a".to_owned(), vec![])
        );
        assert_eq!(collapse("/u/{id}", &segments("/u/17"), &collapsed).0, "/u/{id}");
    }

    #[test]
    fn words_that_are_asked_for_often_are_not_seldom() {
        let paths: Vec<_> = (0..10)
            .map(|i| segments(&format!("/n{}", char::from(b'g' + i))))
            .collect();
        // A word is asked for often if one of its routes is.
        let often = |number: usize| {
            let routes = paths.iter().enumerate().map(move |(i, path)| (&path[..], i >= number));
            widest(routes, &HashSet::new(), 3).map(|level| level.seldom)
        };
        assert_eq!(
            (often(0), often(4), often(5), often(8)),
            (Some(10), Some(6), None, None)
        );
    }
}
