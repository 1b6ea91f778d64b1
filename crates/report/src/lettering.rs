//! Texts that have their places: beside what they name, or with the lines that lead to their marks.

use crate::figures::{Area, Drawn};
use crate::labels::{End, Label, Placed};
use crate::rectangle::Pixel;
use plotters::prelude::{Color, IntoFont, IntoTextStyle, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, RGBColor};

/// Draws a text whose place is in pixels of the whole figure.
pub(crate) fn draw_label(area: &Area<'_>, label: &Label, ink: RGBColor, placed: &Placed) -> Drawn {
    let (left, top) = area.get_base_pixel();
    let within = |(x, y): Pixel| (x - left, y - top);
    if let Some(ends) = placed.leader {
        area.draw(&PathElement::new(ends.map(within).to_vec(), ink.mix(0.6)))?;
    }
    let weight = if label.is_bold { FontStyle::Bold } else { FontStyle::Normal };
    let end = match placed.end {
        End::Left => HPos::Left,
        End::Middle => HPos::Center,
        End::Right => HPos::Right,
    };
    let font = ("sans-serif", label.size).into_font().style(weight);
    let style = font.into_text_style(area).color(&ink).pos(Pos::new(end, VPos::Center));
    area.draw(&Text::new(label.text.clone(), within(placed.at), style))
}

/// Draws a text to the right of a place, at half of its height.
pub(crate) fn draw_beside(
    area: &Area<'_>,
    text: &str,
    size: i32,
    ink: RGBColor,
    at: Pixel,
) -> Drawn {
    let style = ("sans-serif", size)
        .into_text_style(area)
        .color(&ink)
        .pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
}
