//! Exact match and F1 as the official HotpotQA script has them (hotpot_evaluate_v1.py; the
//! normalisation is SQuAD's).

use std::collections::HashMap;

/// What Python's `string.punctuation` holds.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// Lower case, no ASCII punctuation, no articles, single spaces.
pub fn normalize_answer(answer: &str) -> String {
    let bare: String =
        answer.to_lowercase().chars().filter(|c| !PUNCTUATION.contains(*c)).collect();
    // an article is a whole word: a longest run of letters and digits
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare.as_str();
    while let Some(first) = rest.chars().next() {
        let is_word = first.is_alphanumeric();
        let length = rest.find(|c: char| c.is_alphanumeric() != is_word).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(length);
        kept.push_str(if ARTICLES.contains(&run) { " " } else { run });
        rest = behind;
    }
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
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
