//! The SVG figure of the archive that an estimator keeps.

use crate::figures::Drawn;
use crate::marks::mark;
use crate::objective_figures::{grid, pairs};
use crate::palette::Palette;
use plotters::prelude::*;

/// The points of an archive and the steps of the volume that they dominate: a panel for each pair
/// of objectives, which `names` names. `row` is the method's row in tables. Empty for a single
/// objective.
pub fn archive_svg(row: &str, names: &[String], points: &[Vec<f64>], palette: &Palette) -> String {
    let mut svg = String::new();
    if names.len() > 1 {
        draw_archive(&mut svg, row, names, points, palette)
            .expect("drawing into memory does not fail");
    }
    svg
}

fn draw_archive(
    svg: &mut String,
    row: &str,
    names: &[String],
    points: &[Vec<f64>],
    palette: &Palette,
) -> Drawn {
    let look = palette.look(row);
    let pairs = pairs(names.len());
    let (rows, columns) = grid(pairs.len());
    let size = (460 * columns as u32, 420 * rows as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    for ((x, y), area) in pairs.into_iter().zip(root.split_evenly((rows, columns))) {
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .caption(format!("Archive of {row}"), ("sans-serif", 15))
            .build_cartesian_2d(0.0..1.05, 0.0..1.05)?;
        chart
            .configure_mesh()
            .x_desc(&names[x])
            .y_desc(&names[y])
            .light_line_style(WHITE)
            .draw()?;
        let places: Vec<(f64, f64)> = points.iter().map(|point| (point[x], point[y])).collect();
        let fill = look.colour.mix(0.15).filled();
        chart.draw_series(places.iter().map(|place| Rectangle::new([(0.0, 0.0), *place], fill)))?;
        chart.draw_series(places.iter().flat_map(|place| mark(place, 4, &look, 1.0)))?;
    }
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_a_panel_for_each_pair() {
        let names = ["r_task", "r_tool", "r_length"].map(str::to_owned);
        let points = vec![vec![1.0, 0.5, 0.25], vec![0.5, 1.0, 0.25]];
        let palette = Palette::of(&[], &[]);
        let svg = archive_svg("x", &names, &points, &palette);
        assert_eq!(svg.matches("<circle ").count(), 3 * 2);
        assert!(svg.starts_with("<svg width=\"1380\" height=\"420\""), "{}", &svg[..60]);
        let pair: Vec<Vec<f64>> = points.iter().map(|point| point[..2].to_vec()).collect();
        let two = archive_svg("x", &names[..2], &pair, &palette);
        assert!(two.starts_with("<svg width=\"460\" height=\"420\""), "{}", &two[..60]);
        assert_eq!(two.matches("<circle ").count(), 2);
        assert!(archive_svg("x", &names[..1], &[vec![0.5]], &palette).is_empty());
    }
}
