//! Pictures of characters, for the end of a run in a terminal: the front, and more than two
//! objectives.

use crate::{Controls, MethodSummary, ObjectiveSummary, Place};

const WIDTH: usize = 64;
const HEIGHT: usize = 16;

/// EM upwards, #Tool to the right; each method is a letter that the legend explains. With controls
/// the line between the trivial policies is of `.`, the oracle router's front of `:`.
pub fn front_picture(summaries: &[MethodSummary], controls: Option<&Controls>) -> String {
    let range = |values: Vec<f64>, margin: f64| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let room = ((high - low) * margin).max(0.01);
        (low - room, high + room)
    };
    let ends: Vec<Place> = controls
        .iter()
        .flat_map(|controls| controls.trivial().into_iter().chain(oracle_end(controls)))
        .collect();
    let calls = summaries.iter().map(|summary| summary.calls);
    let ems = summaries.iter().map(|summary| summary.em);
    let (left, right) = range(calls.chain(ends.iter().map(|end| end.calls)).collect(), 0.08);
    let (bottom, top) = range(ems.chain(ends.iter().map(|end| end.em)).collect(), 0.08);
    let mut grid = vec![vec![' '; WIDTH]; HEIGHT];
    if let Some(controls) = controls {
        let end = controls.always().calls;
        for (front, mark) in [(controls.line(), '.'), (controls.oracle(), ':')] {
            let cell = |x: usize| {
                let calls = left + (right - left) * x as f64 / (WIDTH - 1) as f64;
                let em = front.em_at(calls).filter(|_| calls <= end)?;
                let y = ((top - em) / (top - bottom) * (HEIGHT - 1) as f64).round() as usize;
                Some((x, y.min(HEIGHT - 1)))
            };
            for (x, y) in (0..WIDTH).filter_map(cell) {
                grid[y][x] = mark;
            }
        }
    }
    let is_taken = |place: char| !matches!(place, ' ' | '.' | ':');
    for (index, summary) in summaries.iter().enumerate() {
        let x = ((summary.calls - left) / (right - left) * (WIDTH - 1) as f64).round() as usize;
        let y = ((top - summary.em) / (top - bottom) * (HEIGHT - 1) as f64).round() as usize;
        let mut x = x.min(WIDTH - 1);
        while is_taken(grid[y.min(HEIGHT - 1)][x]) && x + 1 < WIDTH {
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
    if controls.is_some() {
        text.push_str("  . random router between never and always calling\n  : oracle router\n");
    }
    text
}

fn oracle_end(controls: &Controls) -> Option<Place> {
    controls.oracle().corners().last().copied()
}

/// A line for each objective, from the worst of the methods to the best; each method is the letter
/// that it has in [`front_picture`]. `None` for two objectives or fewer, which the table shows.
pub fn objectives_picture(
    methods: &[MethodSummary],
    objectives: &[ObjectiveSummary],
) -> Option<String> {
    let names = objectives.first()?.point.names();
    if names.len() < 3 {
        return None;
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::from("objectives (better: right)\n");
    for name in names.iter() {
        let values: Vec<(usize, f64)> = objectives
            .iter()
            .filter_map(|one| {
                let place = methods.iter().position(|method| method.method == one.method)?;
                Some((place, one.point.get(name)?))
            })
            .collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |ends, found| {
            (ends.0.min(found.1), ends.1.max(found.1))
        });
        let line = marked(&values, low, high);
        text.push_str(&format!("{name:width$} {low:6.3} |{line}| {high:.3}\n"));
    }
    Some(text)
}

/// Letters between the smallest value and the largest; of those that fall together, each goes to
/// the next place that is free.
fn marked(values: &[(usize, f64)], low: f64, high: f64) -> String {
    let mut line = vec![' '; WIDTH];
    for (place, value) in values {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        let wanted = (share * (WIDTH - 1) as f64).round() as usize;
        let is_free = |x: &usize| line[*x] == ' ';
        let behind = (wanted.min(WIDTH - 1)..WIDTH).find(is_free);
        if let Some(x) = behind.or_else(|| (0..WIDTH).rev().find(is_free)) {
            line[x] = letter(*place);
        }
    }
    line.into_iter().collect()
}

fn letter(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::tests::controls;
    use crate::objectives::tests::run;
    use crate::{summarise_methods, summarise_objectives};

    #[test]
    fn the_line_and_the_oracle_lie_between_never_and_always() {
        let runs = [crate::table::tests::run("x", 1, 0.7, 0.6)];
        let picture = front_picture(&summarise_methods(&runs, &[]), Some(&controls()));
        let lines: Vec<&str> = picture.lines().collect();
        // from -0.08 to 1.08 calls: column (0.6 + 0.08) / 1.16 * 63 = 36.9
        let row = lines.iter().find(|line| line.contains('A')).unwrap();
        assert_eq!(row.find('A').unwrap(), "      |".len() + 37, "{picture}");
        // from 0.46 to 1.04 EM: row (1.04 - 0.7) / 0.58 * 15 = 8.8 below the title's
        assert_eq!(lines.iter().position(|line| line.contains('A')), Some(10), "{picture}");
        // the oracle is above the line in each column but the ends
        for x in 10..55 {
            let height = |mark: char| {
                let has = |line: &str| line.chars().nth(7 + x) == Some(mark);
                lines[1..17].iter().position(|line| has(line))
            };
            if let (Some(oracle), Some(line)) = (height(':'), height('.')) {
                assert!(oracle < line, "{picture}");
            }
        }
        let plain = front_picture(&summarise_methods(&runs, &[]), None);
        assert!(!plain.contains(':') || plain.matches(':').count() == 2, "{plain}");
        assert!(picture.contains(": oracle router") && !plain.contains("oracle"));
    }

    #[test]
    fn methods_stand_where_their_objectives_are() {
        let runs = [
            run("x", 1, &[0.5, 0.25, 0.5]),
            run("y", 1, &[0.75, 0.0, 0.5]),
            run("z", 1, &[1.0, 1.0, 0.5]),
        ];
        let picture =
            objectives_picture(&summarise_methods(&runs, &[]), &summarise_objectives(&runs, &[]));
        let picture = picture.unwrap();
        let lines: Vec<&str> = picture.lines().collect();
        let places = |line: &str| {
            let inside = line.split('|').nth(1).unwrap();
            ["A", "B", "C"].map(|letter| inside.find(letter).unwrap())
        };
        assert!(lines[1].starts_with("a  0.500 |A") && lines[1].ends_with("C| 1.000"), "{picture}");
        // 63 places from 0.5 to 1: 0.75 is 31.5, rounded up
        assert_eq!(places(lines[1]), [0, 32, 63]);
        // from 0 to 1: 0.25 is 15.75
        assert_eq!(places(lines[2]), [16, 0, 63]);
        // all equal: in the middle, side by side
        assert_eq!(places(lines[3]), [32, 33, 34]);
        let two = [run("x", 1, &[0.5, 0.25])];
        assert_eq!(
            objectives_picture(&summarise_methods(&two, &[]), &summarise_objectives(&two, &[])),
            None
        );
    }
}
