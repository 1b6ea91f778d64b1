//! The front as characters, for the end of a run in a terminal.

use crate::MethodSummary;

const WIDTH: usize = 64;
const HEIGHT: usize = 16;

/// EM upwards, #Tool to the right; each method is a letter that the legend explains.
pub fn front_picture(summaries: &[MethodSummary]) -> String {
    let range = |values: Vec<f64>, margin: f64| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let room = ((high - low) * margin).max(0.01);
        (low - room, high + room)
    };
    let (left, right) = range(summaries.iter().map(|summary| summary.calls).collect(), 0.08);
    let (bottom, top) = range(summaries.iter().map(|summary| summary.em).collect(), 0.08);
    let mut grid = vec![vec![' '; WIDTH]; HEIGHT];
    for (index, summary) in summaries.iter().enumerate() {
        let x = ((summary.calls - left) / (right - left) * (WIDTH - 1) as f64).round() as usize;
        let y = ((top - summary.em) / (top - bottom) * (HEIGHT - 1) as f64).round() as usize;
        let mut x = x.min(WIDTH - 1);
        while grid[y.min(HEIGHT - 1)][x] != ' ' && x + 1 < WIDTH {
            x += 1;
        }
        grid[y.min(HEIGHT - 1)][x] = letter(index);
    }
    let mut text = String::from("EM (better: up), #Tool (better: left)\n");
    for (index, row) in grid.iter().enumerate() {
        let label = match index {
            0 => format!("{top:5.3}"),
            index if index == HEIGHT - 1 => format!("{bottom:5.3}"),
            _ => "     ".to_owned(),
        };
        text.push_str(&format!("{label} |{}\n", row.iter().collect::<String>().trim_end()));
    }
    text.push_str(&format!("      +{}\n", "-".repeat(WIDTH)));
    text.push_str(&format!("       {left:<8.2}{:>width$.2}  #Tool\n", right, width = WIDTH - 8));
    for (index, summary) in summaries.iter().enumerate() {
        text.push_str(&format!("  {} {}\n", letter(index), summary.method));
    }
    text
}

fn letter(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}
