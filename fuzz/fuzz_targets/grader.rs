//! Two answers of any kind, as LaTeX or not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_environments::math::{answers_equal, extract_answer};
use paretopo_environments::qa;

fuzz_target!(|pair: (&str, &str)| {
    let (gold, answer) = pair;
    assert!(answers_equal(gold, answer) == answers_equal(gold, answer));
    let _ = extract_answer(answer);
    let f1 = qa::best_f1([gold].into_iter(), answer);
    assert!((0.0..=1.0).contains(&f1));
    if qa::exact_match(gold, answer) {
        assert!(f1 == 1.0 || f1 == 0.0);
    }
});
