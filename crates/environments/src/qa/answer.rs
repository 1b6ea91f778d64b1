//! Exact match and F1 as the official HotpotQA script has them (hotpot_evaluate_v1.py; the
//! normalisation is SQuAD's), run by Python 3.11.
//!
//! What Rust and Python call a letter differs, and an article is only an article beside what is
//! none: Python's `\w` leaves out the vowel signs and points of Devanagari, Thai, Arabic or Hebrew.
//! So the characters of a word are a table of Python's own, of Unicode 14. What came into Unicode
//! later is no letter to that Python, and keeps its case.

use super::word_characters::WORD_CHARACTERS;
use std::collections::HashMap;

/// What Python's `string.punctuation` holds.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const ARTICLES: [&str; 3] = ["a", "an", "the"];
/// The capitals that are no letters: in circles.
const CIRCLED_CAPITALS: std::ops::RangeInclusive<char> = '\u{24b6}'..='\u{24cf}';

/// Whether Python's `\w` matches.
fn is_word(c: char) -> bool {
    let code = u32::from(c);
    let behind = WORD_CHARACTERS.partition_point(|(first, _)| *first <= code);
    behind > 0 && code <= WORD_CHARACTERS[behind - 1].1
}

/// Whether Python's `str.split` splits at it: white space, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `str.lower`: Rust's, but for capitals that are newer than the table.
fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let is_newer = |c: char| {
        let has_lower = !c.to_lowercase().eq([c]);
        has_lower && !is_word(c) && !CIRCLED_CAPITALS.contains(&c)
    };
    // piece by piece, as the form of a final sigma depends on its neighbours
    let pieces = text.split_inclusive(is_newer).map(|piece| match piece.chars().next_back() {
        Some(last) if is_newer(last) => {
            let (known, newer) = piece.split_at(piece.len() - last.len_utf8());
            known.to_lowercase() + newer
        }
        _ => piece.to_lowercase(),
    });
    pieces.collect()
}

/// Lower case, no ASCII punctuation, no articles, single spaces.
pub fn normalize_answer(answer: &str) -> String {
    let bare: String = lower(answer).chars().filter(|c| !PUNCTUATION.contains(*c)).collect();
    // an article is a whole word: a longest run of the characters of a word
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare.as_str();
    while let Some(first) = rest.chars().next() {
        let in_word = is_word(first);
        let length = rest.find(|c: char| is_word(c) != in_word).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(length);
        kept.push_str(if ARTICLES.contains(&run) { " " } else { run });
        rest = behind;
    }
    kept.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether both are the same after normalisation.
pub fn exact_match(gold: &str, answer: &str) -> bool {
    normalize_answer(gold) == normalize_answer(answer)
}

/// `2 p r / (p + r)` of the shared words, counted with multiplicity; 0 if one of them is `yes`,
/// `no` or `noanswer` and they differ.
pub fn f1(gold: &str, answer: &str) -> f64 {
    let (gold, answer) = (normalize_answer(gold), normalize_answer(answer));
    let closed = |text: &str| ["yes", "no", "noanswer"].contains(&text);
    if gold != answer && (closed(&gold) || closed(&answer)) {
        return 0.0;
    }
    let (gold, answer): (Vec<&str>, Vec<&str>) =
        (gold.split(' ').collect(), answer.split(' ').collect());
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in gold.iter().filter(|word| !word.is_empty()) {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) =
        (f64::from(shared) / answer.len() as f64, f64::from(shared) / gold.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

/// The best over all accepted answers.
pub fn best_f1<'a>(golds: impl IntoIterator<Item = &'a str>, answer: &str) -> f64 {
    golds.into_iter().map(|gold| f1(gold, answer)).fold(0.0, f64::max)
}

/// What stands between the last `<answer>` and its `</answer>`, or behind the last `<answer>` when
/// the policy ended its turn without closing it.
pub fn extract_tagged(response: &str) -> Option<String> {
    let (open, close) = ("<answer>", "</answer>");
    let answer = &response[response.rfind(open)? + open.len()..];
    let answer = answer.find(close).map_or(answer, |end| &answer[..end]).trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalisation_is_the_official_one() {
        for (text, normal) in [
            ("The  Beatles!", "beatles"),
            ("a an the", ""),
            ("Theatre an der Wien", "theatre der wien"),
            ("U.S.A.", "usa"),
            ("an-a", "ana"),
            ("d’a Vinci", "d’ vinci"),
            ("Ä—the—b", "ä— —b"),
        ] {
            assert_eq!(normalize_answer(text), normal, "{text}");
        }
    }

    /// What `tests/fixtures/make_answers.py` wrote.
    fn fixture() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../../tests/fixtures/answers.json")).unwrap()
    }

    /// Every character on both sides of an article, and its lower case, as Python has them. The
    /// characters of Rust's newer Unicode among them, which the table does not know.
    #[test]
    fn every_character_is_judged_as_python_judges_it() {
        let fixture = fixture();
        let kinds: Vec<(u32, &str)> = fixture["kinds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| (run[0].as_u64().unwrap() as u32, run[1].as_str().unwrap()))
            .collect();
        let lower_cases: HashMap<&str, &str> = fixture["lower"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        assert_eq!((kinds.len(), lower_cases.len()), (1488, 1433));
        for c in '\0'..=char::MAX {
            let kind = kinds[kinds.partition_point(|(first, _)| *first <= u32::from(c)) - 1].1;
            let text = c.to_string();
            let low = lower_cases.get(text.as_str()).copied().unwrap_or(&text);
            assert_eq!(lower(&text), low, "{c:?}");
            // `w`: of a word, `m`: a mark or symbol, `s`: space, `p`: punctuation
            let right = match &kind[..1] {
                "w" => format!("x the{low}y"),
                "m" => format!("x {low}y"),
                "s" => "x y".to_owned(),
                _ => "x they".to_owned(),
            };
            let left = match &kind[1..] {
                "w" => format!("x {low}the y"),
                "m" => format!("x {low} y"),
                _ => "x y".to_owned(),
            };
            assert_eq!(normalize_answer(&format!("x the{c}y")), right, "{c:?}");
            assert_eq!(normalize_answer(&format!("x {c}the y")), left, "{c:?}");
        }
    }

    #[test]
    fn answers_in_many_scripts_are_graded_as_the_official_script_does() {
        let fixture = fixture();
        let cases = fixture["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 600);
        for case in cases {
            let (gold, pred) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
            assert_eq!(normalize_answer(gold), case[2].as_str().unwrap(), "{case}");
            assert_eq!(exact_match(gold, pred), case[3].as_bool().unwrap(), "{case}");
            assert!((f1(gold, pred) - case[4].as_f64().unwrap()).abs() < 1e-12, "{case}");
        }
    }

    #[test]
    fn an_article_before_a_vowel_sign_is_one() {
        for (text, normal) in [
            // no combining mark is of a word: the article goes, and the mark stays
            ("a\u{93e} x", "\u{93e} x"),
            ("the\u{5b8}", "\u{5b8}"),
            ("a\u{e31}", "\u{e31}"),
            ("an\u{64e}", "\u{64e}"),
            ("a\u{301}", "\u{301}"),
            // the letters themselves are
            ("a\u{915}", "a\u{915}"),
            ("\u{e1}", "\u{e1}"),
            // an accent in one character and an accent apart are different answers
            ("caf\u{e9}", "caf\u{e9}"),
            ("cafe\u{301}", "cafe\u{301}"),
            // digits of any script and numbers are of a word, circled letters are not
            ("a\u{b2}", "a\u{b2}"),
            ("a\u{24b6}", "\u{24d0}"),
            // the separators of ASCII are white space to Python
            ("x\u{1c}the\u{1f}y", "x y"),
            ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}"),
        ] {
            assert_eq!(normalize_answer(text), normal, "{text:?}");
        }
        // a capital of Unicode 16 keeps its case, and is no letter beside a final sigma
        assert_eq!(lower("\u{1c89}\u{391}\u{3a3}\u{1c89}A"), "\u{1c89}\u{3b1}\u{3c2}\u{1c89}a");
    }

    #[test]
    fn f1_counts_shared_words() {
        // gold: key house mirror; answer: house of mirrors; shared 1, precision 1/3, recall 1/3, F1
        // = 2/9 / (2/3) = 1/3
        assert!((f1("Key House Mirror", " The House of Mirrors ") - 1.0 / 3.0).abs() < 1e-12);
        // gold: x x y; answer: x; precision 1, recall 1/3, F1 = 2/3 / (4/3) = 1/2
        assert!((f1("x x y", "x") - 0.5).abs() < 1e-12);
        assert_eq!((f1("yes", "yes it is"), f1("no", "no"), f1("", "x")), (0.0, 1.0, 0.0));
        assert!((best_f1(["z", "x y"], "y") - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_last_tag_counts() {
        assert_eq!(
            extract_tagged("<answer>x</answer> no: <answer> y z </answer>").as_deref(),
            Some("y z")
        );
        assert_eq!(extract_tagged("<answer>y").as_deref(), Some("y"));
        assert_eq!(
            (
                extract_tagged("y</answer>"),
                extract_tagged("<answer> </answer>"),
                extract_tagged("")
            ),
            (None, None, None)
        );
    }

    proptest! {
        #[test]
        fn f1_is_symmetric_bounded_and_one_for_equals(a in "[a-c ]{0,12}", b in "[a-c ]{0,12}") {
            prop_assert!((f1(&a, &b) - f1(&b, &a)).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&f1(&a, &b)));
            prop_assert!(normalize_answer(&a).is_empty() || f1(&a, &a) == 1.0);
        }
    }
}
