//! Fronts as Markdown: the methods, the controls, and the leading method against each other one.

use crate::fronts::{Against, Estimate, FrontSummary};
use crate::table::{markdown, with_interval};
use crate::{Controls, Place};

fn cell(estimate: Option<Estimate>, digits: usize) -> String {
    estimate.map_or("-".into(), |found| with_interval(found.iqm, found.interval, digits))
}

/// Three digits, or `< 0.001`.
fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

/// The methods' fronts. `-` stands where a number does not exist: the routing gain without
/// controls, the comparison of the strongest baseline with itself.
pub fn fronts_table(fronts: &[FrontSummary]) -> String {
    let head = [
        "method",
        "settings",
        "seeds",
        "routing gain",
        "of means",
        "front hypervolume",
        "EM at 0.5 calls",
        "EM at 1 call",
        "calls at EM 0.9",
        "lowest #Tool",
        "head skill",
        "P(better)",
        "p (Holm)",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for front in fronts {
        let compared = front.against_strongest.as_ref();
        let better = compared.map(|against| against.probability_of_improvement);
        rows.push(vec![
            front.method.clone(),
            front.settings.len().max(1).to_string(),
            front.seeds.to_string(),
            cell(front.routing_gain, 3),
            front.routing_gain_of_means.map_or("-".into(), |gain| format!("{gain:.3}")),
            cell(Some(front.hypervolume), 3),
            cell(front.em_at_half_a_call, 3),
            cell(front.em_at_one_call, 3),
            cell(front.calls_at_em_090, 2),
            number(front.lowest_calls),
            number(front.head_skill),
            number(better),
            compared.map_or("-".into(), |against| p_value(against.p_holm)),
        ]);
    }
    markdown(&rows)
}

/// The controls: their places, and their routing gain, which is 0 for all but the oracle.
pub fn controls_table(controls: &Controls) -> String {
    let mut rows = vec![["control", "EM", "#Tool", "routing gain"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, place: Place| {
        let gain = controls.routing_gain(&[place]);
        rows.push(vec![
            name.to_owned(),
            format!("{:.3}", place.em),
            format!("{:.2}", place.calls),
            gain.map_or("-".into(), |gain| format!("{gain:.3}")),
        ]);
    };
    row("never call", controls.never());
    let always = controls.always();
    let half = always.calls / 2.0;
    if let Some(em) = controls.line().em_at(half) {
        row("half and half", Place { calls: half, em });
    }
    row("always call", always);
    let oracle = controls.oracle();
    if let Some(em) = oracle.em_at(half) {
        row("oracle router, half the calls", Place { calls: half, em });
    }
    if let Some(last) = oracle.corners().last() {
        row("oracle router, all that pays", *last);
    }
    let gain = controls.routing_gain(oracle.corners());
    rows.push(vec![
        "oracle router, its front".into(),
        "-".into(),
        "-".into(),
        gain.map_or("-".into(), |gain| format!("{gain:.3}")),
    ]);
    markdown(&rows)
}

/// The leading method against each other one.
pub fn against_table(lead: &str, comparisons: &[Against]) -> Option<String> {
    if comparisons.is_empty() {
        return None;
    }
    let head = [
        format!("{lead} against"),
        "pairs".to_owned(),
        "difference".to_owned(),
        "P(better)".to_owned(),
        "p".to_owned(),
        "p (Holm)".to_owned(),
        "visible at 80%".to_owned(),
    ];
    let mut rows = vec![head.to_vec()];
    for against in comparisons {
        rows.push(vec![
            against.other.clone(),
            against.pairs.to_string(),
            format!("{:+.3}", against.difference),
            format!("{:.2}", against.probability_of_improvement),
            p_value(against.p_value),
            p_value(against.p_holm),
            against.visible_effect.map_or("-".into(), |effect| format!("{effect:.3}")),
        ]);
    }
    Some(markdown(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::tests::controls;
    use crate::fronts::tests::{frame, swept};
    use crate::table::tests::run;
    use crate::{lead_against_each, summarise_fronts};

    fn rows(table: &str) -> Vec<String> {
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn tables_show_the_numbers_and_what_is_missing() {
        let runs = [
            swept("a", "x", 1, 0.8, 0.5),
            swept("a", "x", 2, 0.85, 0.5),
            run("b", 1, 0.775, 0.5),
            run("b", 2, 0.775, 0.5),
        ];
        let table = rows(&fronts_table(&summarise_fronts(&runs, &frame())));
        // the numbers are those of `fronts.rs`
        assert!(table[2].starts_with("| a | 1 | 2 | 0.600 [0.400, 0.800] | "), "{}", table[2]);
        assert!(table[2].ends_with("| - | - | 1.00 | 0.500 |"), "{}", table[2]);
        assert!(table[3].starts_with("| b | 1 | 2 | 0.200 | "), "{}", table[3]);
        assert!(table[3].ends_with("| - | - |"), "{}", table[3]);
        let (lead, each) = lead_against_each(&runs, &frame()).unwrap();
        let against = rows(&against_table(&lead, &each).unwrap());
        // differences 0.2 and 0.6: deviation 0.2828; 2.8016 * 0.2828 / sqrt(2 - 1.92) = 2.8
        assert!(against[2].starts_with("| b | 2 | +0.400 | 1.00 | 0.500 | 0.500 | 2.8"));
        assert_eq!(against_table("a", &[]), None);
    }

    #[test]
    fn controls_stand_on_the_line_or_at_the_oracle() {
        let table = rows(&controls_table(&controls()));
        assert_eq!(
            table[2..5],
            [
                "| never call | 0.500 | 0.00 | 0.000 |",
                "| half and half | 0.750 | 0.50 | 0.000 |",
                "| always call | 1.000 | 1.00 | 0.000 |",
            ]
        );
        assert_eq!(table[5], "| oracle router, half the calls | 0.875 | 0.50 | 1.000 |");
        assert_eq!(table[7], "| oracle router, its front | - | - | 1.000 |");
    }
}
