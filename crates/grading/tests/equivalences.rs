//! What is taken as equal and what is not: pairs by kind in `cases.txt`, and families of pairs that
//! are worked out here. `EQUIVALENCES.md`, which the crate's documentation shows, is made of the
//! pairs: `UPDATE_EQUIVALENCES=1 cargo test -p paretopo-grading` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use paretopo_grading::{answers_equal, extract_answer, units_table};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Pairs of a kind that the documentation shows, of each verdict.
const SHOWN: usize = 8;

struct Pair {
    line: usize,
    gold: String,
    prediction: String,
    equal: bool,
}

struct Kind {
    title: String,
    rule: String,
    pairs: Vec<Pair>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn kinds() -> Vec<Kind> {
    let text = std::fs::read_to_string(folder().join("tests/cases.txt")).unwrap();
    let mut kinds: Vec<Kind> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            kinds.push(Kind { title: title.into(), rule: String::new(), pairs: Vec::new() });
        } else if let Some(rule) = line.strip_prefix("> ") {
            kinds.last_mut().unwrap().rule = rule.into();
        } else if let Some((verdict, pair)) = line.split_at_checked(2)
            && ["= ", "! "].contains(&verdict)
        {
            let (gold, prediction) = pair.split_once(" ||| ").unwrap();
            let broken = |text: &str| text.replace('⏎', "\n");
            kinds.last_mut().unwrap().pairs.push(Pair {
                line: index + 1,
                gold: broken(gold),
                prediction: broken(prediction),
                equal: verdict == "= ",
            });
        }
    }
    kinds
}

#[test]
fn pairs_are_judged_as_written() {
    let mut wrong = String::new();
    for pair in kinds().iter().flat_map(|kind| &kind.pairs) {
        if answers_equal(&pair.gold, &pair.prediction) != pair.equal {
            let verdict = if pair.equal { "equal" } else { "different" };
            writeln!(
                wrong,
                "cases.txt:{}: {verdict}: {:?} and {:?}",
                pair.line, pair.gold, pair.prediction
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "should be\n{wrong}");
}

/// A text as code in a cell of a Markdown table.
fn code(text: &str) -> String {
    let text = text.replace('\n', "⏎").replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

#[test]
fn the_documentation_shows_the_pairs() {
    let mut page = String::from(
        "# What is taken as equal\n\nGold answer and prediction; the rules in words, then pairs. \
         All pairs are in `tests/cases.txt`.\n",
    );
    for kind in kinds() {
        writeln!(page, "\n## {}\n\n{}\n", kind.title, kind.rule).unwrap();
        writeln!(page, "| gold | equal | | gold | different |\n|---|---|---|---|---|").unwrap();
        let of = |equal: bool| -> Vec<&Pair> {
            kind.pairs.iter().filter(|pair| pair.equal == equal).take(SHOWN).collect()
        };
        let (equal, different) = (of(true), of(false));
        for row in 0..equal.len().max(different.len()) {
            let cells = |pairs: &[&Pair]| match pairs.get(row) {
                Some(pair) => format!("{} | {}", code(&pair.gold), code(&pair.prediction)),
                None => " | ".into(),
            };
            writeln!(page, "| {} | | {} |", cells(&equal), cells(&different)).unwrap();
        }
    }
    writeln!(
        page,
        "\n## Units\n\nTwo units of one dimension are converted. `square`, `cubic`, `per`, `/` and \
         exponents combine them; degrees and radians are converted by 180/pi. \"Units\" without a \
         name measure anything of their power.\n\n{}",
        units_table().trim_end()
    )
    .unwrap();
    let path = folder().join("EQUIVALENCES.md");
    if std::env::var_os("UPDATE_EQUIVALENCES").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "EQUIVALENCES.md is old: run with UPDATE_EQUIVALENCES=1");
}

#[track_caller]
fn check(gold: &str, prediction: &str, equal: bool) {
    assert_eq!(answers_equal(gold, prediction), equal, "`{gold}` and `{prediction}`");
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// `repr(a / b)` of Python is the shortest decimal that reads back as the same double, which is
/// what Rust prints, too.
#[test]
fn fractions_equal_what_a_program_prints_of_them() {
    let mut count = 0;
    for b in 2..=70 {
        for a in 1..=70 {
            if greatest_common_divisor(a, b) != 1 {
                continue;
            }
            count += 1;
            let gold = format!("\\frac{{{a}}}{{{b}}}");
            let value = f64::from(a) / f64::from(b);
            check(&gold, &format!("{value:?}"), true);
            check(&gold, &format!("{:?}", -value), false);
            // off by one part in 10^12
            check(&gold, &format!("{:?}", value * (1.0 + 1e-12)), false);
        }
    }
    assert!(count > 2000);
}

#[test]
fn noise_of_sums_and_products_is_none_of_the_value() {
    // tenths and hundredths, worked out in whole numbers
    for a in (1..60u32).step_by(2) {
        for b in (1..60u32).step_by(3) {
            let sum = f64::from(a) / 10.0 + f64::from(b) / 10.0;
            let hundredths = 10 * (a + b);
            let gold = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            check(&gold, &format!("{sum:?}"), true);
            let product = (f64::from(a) / 10.0) * (f64::from(b) / 10.0);
            let gold = format!("{}.{:02}", a * b / 100, a * b % 100);
            check(&gold, &format!("{product:?}"), true);
            // more than a unit of its last digit away
            check(&gold, &format!("{:?}", product + 0.011), false);
        }
    }
}

#[test]
fn surds_equal_what_a_program_prints_of_them() {
    for n in [2u32, 3, 5, 6, 7, 10, 11, 13] {
        for (above, below) in [(1u32, 1u32), (2, 1), (1, 2), (3, 4), (5, 3)] {
            let gold = format!("\\frac{{{above}\\sqrt{{{n}}}}}{{{below}}}");
            let value = f64::from(above) * f64::from(n).sqrt() / f64::from(below);
            check(&gold, &format!("{value:?}"), true);
            check(&gold, &format!("{:?}", value * (1.0 + 1e-11)), false);
        }
    }
}

/// The shapes in which a response states an answer.
const SHAPES: [&str; 30] = [
    "$@$",
    "\\boxed{@}",
    "$\\boxed{@}$",
    "\\[ \\boxed{@} \\]",
    "\\boxed{\\boxed{@}}",
    "The answer is $@$.",
    "The answer is @.",
    "The answer is: **$@$**",
    "The answer is **@**",
    "The answer is `@`.",
    "The answer is\n\n$$@$$",
    "The answer is\n\\[\n@\n\\]",
    "The answer is \\(@\\).",
    "The answer is $@$, which is what was asked.",
    "The answer is $@$ because it must be.",
    "So the answer is @, as required.",
    "#### @",
    "Answer: $@$",
    "**Answer:** @",
    "**Final Answer**: $@$",
    "**Final Answer**\n\n$@$",
    "## Final Answer\n\n$\\boxed{@}$",
    "Final Answer: The final answer is $@$. I hope it is correct.",
    "The final answer is: $\\boxed{@}$",
    "We get $\\boxed{1}$ first. **Final Answer**: $@$",
    "\\boxed{@}\n\n#### Check",
    "\\boxed{@}\n```python\nprint('\\boxed{99}')\n```",
    "```python\nx = 3  # \\boxed{98}\n```\nThe answer is $\\boxed{@}$.",
    "\\color{red}{@}",
    "$\\mathbf{@}$",
];

/// Every shape around every answer of a file: the answer is found, and is no other answer.
fn check_shapes(golds: &[String]) {
    for shape in SHAPES {
        for (index, gold) in golds.iter().enumerate() {
            let response = shape.replace('@', gold);
            assert!(answers_equal(gold, &response), "`{gold}` in `{response}`");
            if let Some(answer) = extract_answer(&response) {
                assert!(answers_equal(gold, &answer), "`{gold}` in `{response}`: `{answer}`");
            }
            let other = &golds[(index + 1) % golds.len()];
            assert_eq!(
                answers_equal(other, &response),
                answers_equal(other, gold),
                "`{other}` against `{response}`"
            );
        }
    }
}

#[test]
fn every_shape_holds_every_kind_of_answer() {
    let golds = [
        "72",
        "-3.5",
        "\\frac{1}{2}",
        "2\\sqrt{3}",
        "(1, 2)",
        "[0, 1)",
        "\\{1, 2, 3\\}",
        "(-\\infty, 2) \\cup (3, \\infty)",
        "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
        "x^2 + 2x + 1",
        "\\text{Monday}",
        "60^\\circ",
        "7, -2, \\text{ and } -5",
        "18\\text{ ways.}",
        "1,234",
        "C",
        "50\\%",
        "x \\ge 3",
        "11:30",
    ];
    check_shapes(&golds.map(str::to_owned));
}

/// The answers of the training files beside the checkout.
#[test]
fn every_shape_holds_every_answer_of_the_training_files() {
    let data = folder().join("../../../shared/data/demo");
    let mut golds: Vec<String> = Vec::new();
    for file in ["math_train4500.jsonl", "math_gsm8k_train.jsonl"] {
        match answers_of(&data.join(file)) {
            Some(answers) => golds.extend(answers),
            None => {
                eprintln!("skipped: no {file} beside the checkout");
                return;
            }
        }
    }
    golds.sort();
    golds.dedup();
    check_shapes(&golds);
}

/// The field `answer` of every line, read without a JSON library: this crate has none.
fn answers_of(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(
        text.lines()
            .filter_map(|line| {
                let (_, rest) = line.split_once("\"answer\": \"")?;
                let mut answer = String::new();
                let mut characters = rest.chars();
                loop {
                    match characters.next()? {
                        '"' => return Some(answer),
                        '\\' => match characters.next()? {
                            'n' => answer.push('\n'),
                            escaped => answer.push(escaped),
                        },
                        c => answer.push(c),
                    }
                }
            })
            .collect(),
    )
}
