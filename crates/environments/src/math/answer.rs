//! Finding the final answer in a response, and deciding whether it equals the gold answer.
//!
//! The grader is sound before it is complete: it says *equal* only for equal exact rationals (integers, decimals, fractions,
//! mixed numbers, with thousands separators, currency, percent signs and units peeled off) or for the same text after
//! removing LaTeX's spacing. Work is bounded by a limit on the length. Left out: algebra, sets, intervals, tolerance.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

/// Answers longer than this, in bytes, are only compared as they stand.
const LONGEST_ANSWER: usize = 4000;
/// Longest answer, in bytes, that is read as a number.
const LONGEST_NUMBER: usize = 400;

/// The final answer in a response: the last balanced `\boxed{...}` or `\fbox{...}`, else what follows the last `####`, else what
/// follows the last `answer is` or `answer:` up to the end of its sentence.
pub fn extract_answer(response: &str) -> Option<String> {
    let boxed = ["\\boxed", "\\fbox"].iter().filter_map(|command| last_balanced(response, command)).max_by_key(|(at, _)| *at);
    if let Some((_, content)) = boxed {
        return Some(content.trim().to_owned());
    }
    if let Some((_, rest)) = response.rsplit_once("####") {
        return first_line(rest);
    }
    let lowered = response.to_ascii_lowercase();
    let at = ["answer is", "answer:"].iter().filter_map(|phrase| Some(lowered.rfind(phrase)? + phrase.len())).max()?;
    let sentence = first_line(response[at..].trim_start_matches([':', ' ', '*']))?;
    let end = sentence.find(". ").unwrap_or(sentence.len());
    Some(sentence[..end].trim_end_matches(['.', '*', ' ']).to_owned()).filter(|answer| !answer.is_empty())
}

fn first_line(text: &str) -> Option<String> {
    text.trim_start().lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The content of the last `command{...}` whose braces balance, with the position of the command.
fn last_balanced<'a>(text: &'a str, command: &str) -> Option<(usize, &'a str)> {
    for (at, _) in text.rmatch_indices(command) {
        let rest = text[at + command.len()..].trim_start();
        if !rest.starts_with('{') {
            continue;
        }
        let mut depth = 0usize;
        for (index, byte) in rest.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some((at, &rest[1..index]));
            }
        }
    }
    None
}

/// Whether two answers mean the same.
pub fn answers_equal(gold: &str, prediction: &str) -> bool {
    if gold.len().max(prediction.len()) > LONGEST_ANSWER {
        return gold.trim() == prediction.trim();
    }
    let (gold, prediction) = (clean(gold), clean(prediction));
    if gold.is_empty() || prediction.is_empty() {
        return false;
    }
    match (parse_number(&gold), parse_number(&prediction)) {
        (Some(gold), Some(prediction)) => gold == prediction,
        (None, None) => gold.split_whitespace().eq(prediction.split_whitespace()) || without_spaces(&gold) == without_spaces(&prediction),
        _ => false,
    }
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Removes what LaTeX and prose put around an answer without changing its value.
fn clean(answer: &str) -> String {
    let mut text = answer.trim().to_owned();
    for (from, to) in [
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("\\!", ""),
        ("\\,", ""),
        ("\\;", ""),
        ("\\:", ""),
        ("\\ ", " "),
        ("~", " "),
        ("\\$", ""),
        ("$", ""),
        ("\\(", ""),
        ("\\)", ""),
        ("\\[", ""),
        ("\\]", ""),
        ("\\%", ""),
        ("%", ""),
        ("^\\circ", ""),
        ("^{\\circ}", ""),
        ("°", ""),
        ("\u{2212}", "-"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    let mut text = unwrap_text_commands(&text);
    // `x = 5` answers the same as `5`
    if let Some((left, right)) = text.split_once('=')
        && left.trim().chars().count() == 1
        && left.trim().chars().all(char::is_alphabetic)
        && !right.contains('=')
    {
        text = right.to_owned();
    }
    text.trim().trim_end_matches(['.', ',', ';']).trim().to_owned()
}

/// `5\text{ cm}` -> `5 cm`, `\text{even}` -> `even`.
fn unwrap_text_commands(text: &str) -> String {
    let mut text = text.to_owned();
    for command in ["\\text", "\\textbf", "\\mathrm", "\\mbox", "\\mathbf"] {
        while let Some((at, content)) = last_balanced(&text, command) {
            let (content, open) = (content.to_owned(), text[at..].find('{').expect("balanced braces were found"));
            let end = at + open + content.len() + 2;
            text.replace_range(at..end, &format!(" {content}"));
        }
    }
    text
}

/// An exact rational: `-12`, `1,234.5`, `3/4`, `\frac{3}{4}`, `\frac34`, `1 1/2`, each perhaps with a unit behind it.
fn parse_number(text: &str) -> Option<BigRational> {
    if text.len() > LONGEST_NUMBER {
        return None;
    }
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = parse_unsigned(text).or_else(|| parse_unsigned(without_unit(text)?))?;
    Some(if negative { -value } else { value })
}

/// `18 cm` -> `18`: a number, a space, then letters only.
fn without_unit(text: &str) -> Option<&str> {
    let at = text.find(|character: char| character.is_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let is_unit = unit.chars().all(|character| character.is_alphabetic() || character == ' ') && number.ends_with(' ');
    (is_unit && number.trim().ends_with(|last: char| last.is_ascii_digit() || last == '}')).then(|| number.trim())
}

fn parse_unsigned(text: &str) -> Option<BigRational> {
    if let Some(value) = parse_fraction(text).or_else(|| parse_decimal(text)) {
        return Some(value);
    }
    // mixed numbers: an integer, then a proper fraction
    let at = text.find("\\frac").or_else(|| text.find(' '))?;
    let whole = parse_decimal(text[..at].trim()).filter(BigRational::is_integer)?;
    let part = parse_fraction(text[at..].trim())?;
    (part < BigRational::one() && !part.is_zero()).then(|| whole + part)
}

fn parse_fraction(text: &str) -> Option<BigRational> {
    let (numerator, denominator) = if let Some(rest) = text.strip_prefix("\\frac") {
        let (numerator, rest) = fraction_argument(rest)?;
        let (denominator, rest) = fraction_argument(rest)?;
        if !rest.trim().is_empty() {
            return None;
        }
        (signed_decimal(numerator)?, signed_decimal(denominator)?)
    } else {
        let (numerator, denominator) = text.split_once('/')?;
        (parse_decimal(numerator.trim())?, signed_decimal(denominator)?)
    };
    (!denominator.is_zero()).then(|| numerator / denominator)
}

/// `{...}` or a single digit, and the rest.
fn fraction_argument(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}'),
        None => text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.split_at(1)),
    }
}

fn signed_decimal(text: &str) -> Option<BigRational> {
    let text = text.trim();
    match text.strip_prefix('-') {
        Some(rest) => parse_decimal(rest.trim()).map(|value| -value),
        None => parse_decimal(text),
    }
}

/// Digits with an optional fraction and thousands separators (`,`, or LaTeX's `{,}`).
fn parse_decimal(text: &str) -> Option<BigRational> {
    let text = text.replace("{,}", ",");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let whole = if whole.contains(',') {
        let groups: Vec<&str> = whole.split(',').collect();
        let grouped = (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
        if !grouped || groups[0].starts_with('0') {
            return None;
        }
        groups.concat()
    } else {
        whole.to_owned()
    };
    if !is_digits(&whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = BigInt::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10)?;
    Some(BigRational::new(digits, BigInt::from(10).pow(fraction.len() as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_box_wins_then_hashes_then_phrases() {
        let extract = |text: &str| extract_answer(text);
        assert_eq!(extract("\\boxed{1} or \\boxed{\\frac{1}{2}}").as_deref(), Some("\\frac{1}{2}"));
        assert_eq!(extract("\\boxed{3} then \\boxed{4").as_deref(), Some("3"));
        assert_eq!(extract("so\n#### 72\n").as_deref(), Some("72"));
        assert_eq!(extract("The answer is 5. Good.").as_deref(), Some("5"));
        assert_eq!(extract("**Answer:** 1.5").as_deref(), Some("1.5"));
        assert_eq!(extract("I do not know"), None);
        assert_eq!(extract("\\boxed"), None);
    }

    #[test]
    fn equal_values_in_other_clothes() {
        for (gold, prediction) in [
            ("7425000", "7,425,000"),
            ("1000", "1000.0"),
            ("0.5", "\\frac12"),
            ("\\frac{3}{4}", "3/4"),
            ("1.5", "1 1/2"),
            ("1.5", "1\\frac{1}{2}"),
            ("-2", "\u{2212}2"),
            ("72", "$72"),
            ("72", "\\$72.00"),
            ("18", "18 cm"),
            ("18", "18\\text{ dollars}"),
            ("5", "x = 5"),
            ("50", "50\\%"),
            ("even", "\\text{even}"),
            ("10000", "10{,}000"),
            ("-\\frac{1}{2}", "-0.5"),
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
            ("3", "3 + 0i"),
        ] {
            assert!(!answers_equal(gold, prediction), "`{gold}` and `{prediction}`");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_graded_without_a_panic(gold in "\\PC{0,60}", prediction in "(\\\\boxed|\\\\frac|\\\\text|\\{|\\}|[0-9]|,|\\.|/| |-|x|ä){0,30}") {
            let _ = answers_equal(&gold, &prediction);
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
    }
}
