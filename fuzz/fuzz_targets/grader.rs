//! Two answers of any kind, as LaTeX or not: GOLD NUL ANSWER.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_grading::{answers_equal, extract_answer};
use paretopo_environments::qa;
use paretopo_fuzz::pair;

fuzz_target!(|input: &str| {
    let (gold, answer) = pair(input);
    assert_eq!(answers_equal(gold, answer), answers_equal(gold, answer));
    if let Some(extracted) = extract_answer(answer) {
        let _ = answers_equal(gold, &extracted);
    }
    let f1 = qa::best_f1([gold].into_iter(), answer);
    assert!((0.0..=1.0).contains(&f1));
    if qa::exact_match(gold, answer) {
        // nothing has no words to share
        assert!(f1 == 1.0 || qa::normalize_answer(gold).is_empty());
    }
});
