//! Texts beside the ends of lines, moved apart.

use crate::rectangle::Pixel;

/// Heights at which texts of so many pixels stand beside the ends of lines, in the order of the
/// wishes: moved apart where they would overlap, and kept between top and bottom while there is
/// room.
pub(crate) fn spread(wishes: &[i32], height: i32, (top, bottom): Pixel) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|index| wishes[*index]);
    let mut places = vec![0; wishes.len()];
    let mut next = top;
    for index in &order {
        places[*index] = wishes[*index].max(next);
        next = places[*index] + height;
    }
    let mut lowest = bottom;
    for index in order.iter().rev() {
        places[*index] = places[*index].min(lowest);
        lowest = places[*index] - height;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_at_the_ends_of_lines_are_moved_apart() {
        // 50 and 52 are 10 apart then, 100 stays
        assert_eq!(spread(&[100, 52, 50], 10, (0, 200)), [100, 60, 50]);
        // at the bottom they go up: 95 and 96 become 85 and 95
        assert_eq!(spread(&[95, 96], 10, (0, 95)), [85, 95]);
    }
}
