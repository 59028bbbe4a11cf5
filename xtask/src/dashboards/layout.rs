//! Where panels stand: from left to right, in lines that are as high as their highest panel.

/// The columns of Grafana's grid.
pub const COLUMNS: u16 = 24;

/// The places of panels of these sizes (x and y of each), and how many rows of the grid they take together.
pub fn place(sizes: &[(u16, u16)]) -> (Vec<(u16, u16)>, u16) {
    let (mut x, mut top, mut line_height) = (0, 0, 0);
    let mut places = Vec::with_capacity(sizes.len());
    for &(width, height) in sizes {
        if x + width > COLUMNS {
            (x, top, line_height) = (0, top + line_height, 0);
        }
        places.push((x, top));
        x += width;
        line_height = line_height.max(height);
    }
    (places, top + line_height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_begins_another_line() {
        let (places, height) = place(&[(12, 8), (12, 6), (8, 4), (8, 4), (8, 4), (1, 1)]);
        assert_eq!(places, [(0, 0), (12, 0), (0, 8), (8, 8), (16, 8), (0, 12)]);
        assert_eq!(height, 13);
        assert_eq!(place(&[]), (Vec::new(), 0));
    }
}
