//! Finding the final answer in a response, and deciding whether it means the same as the gold
//! answer.
//!
//! ```
//! use paretopo_grading::{answers_equal, extract_answer};
//!
//! let response = r"Half of it is left, so the answer is \boxed{\frac{1}{2}}.";
//! let answer = extract_answer(response);
//! assert_eq!(answer.as_deref(), Some(r"\frac{1}{2}"));
//! assert_eq!(extract_answer("I do not know."), None);
//!
//! assert!(answers_equal("0.5", r"\frac{1}{2}"));
//! assert!(answers_equal("0.5", response), "a whole response will do");
//! assert!(answers_equal("x^2 + 2x + 1", "(x + 1)^2"));
//! assert!(answers_equal(r"\{1, 2, 3\}", r"\{3, 2, 1\}"));
//! assert!(!answers_equal("(1, 2)", "(2, 1)"), "the order of a pair counts");
//! ```
//!
//! An answer is read as LaTeX or plain text: `spelling` gives each thing one spelling, `tokens`
//! and `parser` make a tree of it (`tree`), `normal` its normal form. Scalars are compared
//! exactly where that is possible (`exact`, in terms of `fraction`), then as functions in a prime
//! field (`field`), and at several complex points where it is not (`complex`); `scalars` says what
//! a printed decimal stands for. Sets, tuples, intervals, matrices, relations, quantities and named
//! values are compared part by part (`compare`). What cannot be read as math is compared as text.
//! Length, depth and sizes are bounded, so is the work.
#![doc = include_str!("../EQUIVALENCES.md")]

mod choices;
mod compare;
mod complex;
mod exact;
mod extract;
mod field;
mod fraction;
mod matrices;
mod normal;
mod notations;
mod parser;
mod readings;
mod real_sets;
mod relations;
mod scalars;
mod seen;
mod spelling;
mod tokens;
mod tree;
mod units;

pub use extract::extract_answer;
pub use units::units_table;

use choices::Verdict;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// Answers longer than this, in bytes, are compared as they stand.
const LONGEST_ANSWER: usize = 1500;

/// Whether two answers mean the same. Each may be a bare answer, a formula between dollar signs, or
/// a whole response.
///
/// What is taken as equal, and what is not, stands in the tables above. The work is bounded: an
/// answer of more than 1,500 bytes is compared as it stands.
///
/// ```
/// use paretopo_grading::answers_equal;
///
/// assert!(answers_equal(r"\sqrt{8}", r"2\sqrt{2}"));
/// assert!(answers_equal(r"0 \le x < 1", "[0, 1)"));
/// assert!(answers_equal(r"50\%", "0.5"));
/// // a decimal of four digits or more may be a rounded one
/// assert!(answers_equal(r"\frac{1}{6}", "0.1667"));
/// assert!(!answers_equal(r"\frac{1}{6}", "0.167"));
/// ```
pub fn answers_equal(gold: &str, prediction: &str) -> bool {
    let (gold, prediction) = (extract::answer_text(gold), extract::answer_text(prediction));
    match choices::by_choice(&gold, &prediction) {
        Some(Verdict::Decided(verdict)) => verdict,
        Some(Verdict::Compare(gold, prediction)) => readings::same(gold, &prediction),
        Some(Verdict::Swapped(gold, prediction)) => readings::same(&gold, prediction),
        None => readings::same(&gold, &prediction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_box_wins_then_phrases() {
        let extract = |text: &str| extract_answer(text);
        assert_eq!(
            extract("\\boxed{1} or else \\boxed{\\frac{1}{2}}").as_deref(),
            Some("\\frac{1}{2}")
        );
        assert_eq!(extract("$\\boxed{1}$ and $\\boxed{2}$").as_deref(), Some("1, 2"));
        assert_eq!(extract("\\boxed{3} then \\boxed{4").as_deref(), Some("3"));
        assert_eq!(extract("so\n#### 72\n").as_deref(), Some("72"));
        assert_eq!(extract("The answer is 5. Good.").as_deref(), Some("5"));
        assert_eq!(extract("**Answer:** 1.5").as_deref(), Some("1.5"));
        // a box on the way, then the final answer; a box behind the phrase is the answer
        assert_eq!(
            extract(
                "$\\boxed{2}$ so far. Final Answer: The final answer is $4$. I hope it is correct."
            )
            .as_deref(),
            Some("$4$")
        );
        assert_eq!(extract("Final Answer: it is $\\boxed{7}$. Good").as_deref(), Some("7"));
        assert_eq!(extract("I do not know"), None);
        assert_eq!(extract("\\boxed"), None);
    }

    #[test]
    fn equal_values_in_other_clothes() {
        for (gold, prediction) in [
            ("7425000", "7,425,000"),
            ("1000", "1000.0"),
            ("0.5", "\\frac12"),
            ("1.5", "1 1/2"),
            ("-2", "−2"),
            ("72", "$72"),
            ("72", "\\$72.00"),
            ("18", "18 cm"),
            ("18", "18\\text{ dollars}"),
            ("50", "50\\%"),
            ("10000", "10{,}000"),
            ("3", "3 + 0i"),
            ("1000.99", "1000,99"),
            ("14916", "14 {, }916"),
            ("x \\in [-2,7]", "-2 \\le x \\le 7"),
            ("2x+4y-3=0", "y=-\\frac{1}{2}x+\\frac{3}{4}"),
            ("x < 1", "-x > -1"),
            ("\\pm 5", "-5, 5"),
            ("a=4,\\,-8,\\,-10", "-10,-8,4"),
            ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
            ("AB=4,CD=5", "4, 5"),
            ("204_5", "204_5"),
            ("11:21", "V_1:V_2=11:21"),
            ("\\frac{1}{2}", "0.5"),
            ("0 \\le x < 1", "[0,1)"),
            ("x^2+2x+1", "(x+1)^2"),
            ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"),
            ("\\sqrt{8}", "2\\sqrt2"),
            ("3+4i", "4i+3"),
            ("\\pi", "3.1416"),
            ("\\frac{1}{3}", "0.3333"),
            ("\\{1,2,3\\}", "\\{3,2,1\\}"),
            ("(-\\infty, 2) \\cup (3, \\infty)", "(-\\infty,2)\\cup(3,\\infty)"),
            ("(3, \\infty)", "(3, +\\infty)"),
            ("x=2, y=3", "y=3, x=2"),
            ("2^{100}", "2^{99}+2^{99}"),
            ("5\\text{ cm}", "5"),
            ("\\text{Monday}", "monday"),
            ("\\$18.90", "18.9"),
            ("\\frac{3}{4}", "75\\%"),
            ("y=2x+1", "2x+1"),
            ("y=2x+1", "y-2x=1"),
            ("\\sin^2 x+\\cos^2 x", "1"),
            ("e^{i\\pi}", "-1"),
            ("\\log_2 8", "3"),
            ("\\binom{5}{2}", "10"),
            ("5!", "120"),
            ("3\\frac{1}{2}", "7/2"),
            ("-3\\frac{1}{2}", "-3.5"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"),
            ("11:30\\text{ p.m.}", "11:30"),
            ("\\frac{x}{y}", "x/y"),
            ("2x", "x2"),
            ("x^{-1}", "1/x"),
            ("a^2b", "ba^2"),
            ("f^{-1}(x)=x+1", "x+1"),
            ("6\\sqrt{3}\\text{ square units}", "6\\sqrt3"),
            ("12", "\\boxed{12 \\text{ cm}^2}"),
            ("x \\ge 3", "3 \\le x"),
            ("\\left\\{-1,\\frac12\\right\\}", "x=-1 \\text{ or } x=\\frac{1}{2}"),
            ("3,5,7", "7, 5, 3"),
            ("60^\\circ", "60"),
            ("\\emptyset", "\\{\\}"),
            ("0.\\overline{3}", "1/3"),
            ("1.5 \\times 10^3", "1500"),
            ("2\\pi r", "2 r \\pi"),
            ("\\text{(B)}", "B"),
            ("\\sqrt[3]{2}", "2^{1/3}"),
            ("|x-2|", "|2-x|"),
            ("n!", "n!"),
            ("2^{2021}", "2^{2021}"),
            ("\\frac{\\pi}{2}+2k\\pi", "2\\pi k + \\pi/2"),
            ("1,234,567", "1234567"),
            ("(1,2,3)", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}"),
            ("tan(x)", "sin(x)/cos(x)"),
            ("sqrt(2)/2", "\\frac{\\sqrt{2}}{2}"),
            ("9.5*10^2", "950"),
            ("x+y+z", "z+y+x"),
            ("3x^2-5", "3x^2-5.0"),
            ("-\\frac{1}{2}", "\\frac{-1}{2}"),
            ("-\\frac{1}{2}", "\\frac{1}{-2}"),
            ("4,6,14,15", "4, 6, 14, 15"),
            ("0", "0.0"),
            ("2 + 3", "5"),
            ("\\frac{2\\pi}{3}, \\frac{4\\pi}{3}", "\\frac{4\\pi}{3}, \\frac{2\\pi}{3}"),
        ] {
            assert!(answers_equal(gold, prediction), "`{gold}` and `{prediction}`");
        }
    }

    #[test]
    fn different_values_are_not_equal() {
        for (gold, prediction) in [
            ("12", "1,2"),
            ("12", "21"),
            ("1", ""),
            ("0.33", "\\frac13"),
            ("5", "five"),
            ("5", "5x"),
            ("2", "1/0"),
            ("12", "12 or 13"),
            ("32349", "32, 349"),
            ("\\pm 5", "5"),
            ("(3,1)", "1,3"),
            ("204_5", "204_6"),
            ("x > 5", "x < 5"),
            ("7 = 11a+c", "11a+c"),
            ("1\\sqrt{19}", "1"),
            ("f(x)", "f(y)"),
            ("\\frac{3}{8}", "\\frac{3}{4}"),
            ("1", "[0,1)"),
            ("(3,4)", "[3,4]"),
            ("[0,1)", "0 \\le x < 1"),
            ("\\pi", "3.14"),
            ("\\frac{1}{3}", "0.333"),
            ("100", "99.99"),
            ("\\{1,2,3\\}", "\\{1,2\\}"),
            ("10^{100}", "10^{100}+1"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1&2\\end{bmatrix}"),
            ("\\frac{1}{2}, \\frac{3}{4}", "\\frac{1}{2}"),
            ("B", "C"),
            ("x<5", "x<6"),
            ("2^{2021}", "2^{2022}"),
            ("1", "True"),
            ("y = -2", "x = -2"),
            ("(2,3)", "(3,2)"),
        ] {
            assert!(!answers_equal(gold, prediction), "`{gold}` and `{prediction}`");
        }
    }

    #[test]
    fn answers_are_found_in_prose() {
        for (gold, prediction) in [
            ("12", "So there are 12 of them. I hope it is correct."),
            ("-3", "the value must be -3."),
            ("\\frac{2}{3}", "Therefore the probability is $p = 1 - \\frac13 = \\frac{2}{3}$."),
            ("1000.99", "it is not 10, it is 1,000.99m²"),
            ("x > 5", "Therefore $x > 5$ is the solution."),
            ("21, 16, 11", "$21,16$ or $11$"),
        ] {
            assert!(answers_equal(gold, prediction), "`{gold}` and `{prediction}`");
        }
        assert!(!answers_equal("2", "AZYUK2A"));
    }

    #[test]
    fn long_and_deep_texts_cost_little() {
        let started = std::time::Instant::now();
        for text in [
            "\\boxed{".repeat(20_000),
            "((".repeat(700),
            "9!".repeat(500),
            "2^".repeat(700) + "2",
            "\\frac{".repeat(200),
            "$".repeat(100_000),
        ] {
            answers_equal(&text, "2");
            answers_equal("2", &text);
        }
        // milliseconds each; the bound is for what grows out of hand
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn degrees_count_inside_trigonometric_functions() {
        for (gold, prediction) in [
            ("\\tan 45^\\circ", "1"),
            ("\\sin{30^{\\circ}}", "\\frac12"),
            ("\\cos(60^\\circ)", "\\cos\\frac{\\pi}{3}"),
            ("2\\sin 60^\\circ", "\\sqrt3"),
        ] {
            assert!(answers_equal(gold, prediction), "{gold} and {prediction}");
        }
        assert!(!answers_equal("\\sin 30^\\circ", "\\sin 30") && answers_equal("30^\\circ", "30"));
    }

    #[test]
    fn an_absolute_value_is_not_its_argument() {
        for (gold, prediction) in [
            ("|x|", "\\sqrt{x^2}"),
            ("|x-1|", "|1-x|"),
            ("|x| \\cdot |y|", "|xy|"),
            ("|-3|", "3"),
            ("|x|^2", "x^2"),
        ] {
            assert!(answers_equal(gold, prediction), "{gold} and {prediction}");
        }
        for (gold, prediction) in [("|x|", "x"), ("|x|+1", "x+1"), ("|ab|", "ab"), ("2|x|", "-2x")]
        {
            assert!(!answers_equal(gold, prediction), "{gold} and {prediction}");
        }
    }

    #[test]
    fn numbers_as_programs_print_them() {
        for (gold, prediction) in [
            ("123000", "1.23e5"),
            ("0.000015", "1.5e-05"),
            ("1.5e+3", "1500"),
            ("12.5", "125E-1"),
            ("10^{20}", "1e20"),
        ] {
            assert!(answers_equal(gold, prediction), "{gold} and {prediction}");
        }
        // a product with Euler's number is none of them
        assert!(
            answers_equal("2e", "e \\cdot 2")
                && answers_equal("3e^2", "e^2 3")
                && !answers_equal("2e3", "6e")
        );
    }

    #[test]
    fn sets_may_be_given_by_a_condition() {
        for (gold, prediction) in [
            ("\\{x|x>2\\}", "x > 2"),
            ("\\{x \\mid 1 < x \\le 3\\}", "(1,3]"),
            ("\\{y : y \\ge 0\\}", "[0,\\infty)"),
        ] {
            assert!(answers_equal(gold, prediction), "{gold} and {prediction}");
        }
        assert!(
            !answers_equal("\\{x|x>2\\}", "[2,\\infty)") && !answers_equal("\\{x|x>2\\}", "x < 2")
        );
        assert!(answers_equal("\\{x, |x|\\}", "\\{|x|, x\\}"));
    }

    #[test]
    fn words_are_words_marked_or_not() {
        for (gold, prediction) in [
            ("\\text{Yes}", "yes"),
            ("odd", "\\text{odd}"),
            ("\\text{(A)}", "a"),
            ("\\text{Evelyn}", "Evelyn."),
            ("East", "\\mathrm{east}"),
        ] {
            assert!(answers_equal(gold, prediction), "{gold} and {prediction}");
        }
        for (gold, prediction) in [
            ("\\text{odd}", "\\text{even}"),
            ("\\text{red}", "der"),
            ("ab", "AB"),
            ("\\text{A}", "\\text{B}"),
            ("x", "X"),
        ] {
            assert!(!answers_equal(gold, prediction), "{gold} and {prediction}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_graded_without_a_panic(
            gold in "\\PC{0,60}",
            prediction in r"(\\boxed|\\frac|\\text|\\sqrt|\\pm|\\begin\{pmatrix\}|\\end\{pmatrix\}|\\overline|\{|\}|\(|\]|\^|_|!|[0-9]|,|;|\.|/|\||=|<| |-|x|ä){0,30}",
        ) {
            let _ = answers_equal(&gold, &prediction);
            let _ = answers_equal(&prediction, &prediction);
            let _ = extract_answer(&prediction);
        }

        #[test]
        fn numbers_equal_themselves_with_separators(number in 0u64..10_000_000_000) {
            let mut grouped = String::new();
            for (index, digit) in number.to_string().chars().enumerate() {
                if index > 0 && (number.to_string().len() - index) % 3 == 0 { grouped.push(','); }
                grouped.push(digit);
            }
            prop_assert!(answers_equal(&number.to_string(), &grouped));
            prop_assert!(!answers_equal(&number.to_string(), &(number + 1).to_string()));
        }

        #[test]
        fn products_equal_their_expansion(a in -9i64..10, b in -9i64..10, c in -9i64..10) {
            // (x + a)(b x + c) = b x^2 + (c + a b) x + a c
            let product = format!("(x+{a})({b}x+{c})");
            let expansion = |constant: i64| format!("{b}x^2+{}x+{constant}", c + a * b);
            prop_assert!(answers_equal(&product, &expansion(a * c)));
            prop_assert!(!answers_equal(&product, &expansion(a * c + 1)));
        }
    }
}
