//! The deepest texts that are read, of every kind that can nest, on a thread with a small stack:
//! what is graded beside others must not bring the process down.

use paretopo_grading::{answers_equal, extract_answer};

/// Threads have 2 MiB, most of which is for whoever calls the grader. Measured on 2026-11-25:
/// between 480 and 560 KiB in a debug build, between 128 and 160 KiB in a release build.
const STACK: usize = if cfg!(debug_assertions) { 768 << 10 } else { 256 << 10 };

/// What opens, what closes, and what may stand inside.
const GROUPS: [(&str, &str); 62] = [
    ("(", ")"),
    ("1+(", ")"),
    ("2(", ")"),
    ("2^(", ")"),
    ("(1,", ")"),
    ("(1;", ")"),
    ("[", "]"),
    ("[1,", "]"),
    ("{", "}"),
    ("{2", "}"),
    ("\\{", "\\}"),
    ("\\{1,", "\\}"),
    ("\\{x|x>", "\\}"),
    ("\\{x\\in ", "|x>2\\}"),
    ("|", "|"),
    ("2|", "|"),
    ("\\|", "\\|"),
    ("\\frac{", "}{3}"),
    ("\\frac{1}{", "}"),
    ("3\\frac{1}{", "}"),
    ("{1 \\over ", "}"),
    ("\\sqrt{", "}"),
    ("\\sqrt[3]{", "}"),
    ("\\sqrt-", ""),
    ("2^{", "}"),
    ("2^", ""),
    ("x_{", "}"),
    ("\\log_{", "}x"),
    ("\\sin^{", "}x"),
    ("\\sin(", ")"),
    ("2\\sin(", ")"),
    ("\\sin ", ""),
    ("2\\sin ", ""),
    ("sin ", ""),
    ("det(", ")"),
    ("abs(", ")"),
    ("\\binom{5}{", "}"),
    ("\\lfloor ", "\\rfloor "),
    ("\\langle 1,", "\\rangle "),
    ("\\begin{pmatrix}", "\\end{pmatrix}"),
    ("\\begin{pmatrix}2", "\\end{pmatrix}"),
    ("\\begin{vmatrix}", "\\end{vmatrix}"),
    ("\\begin{cases}", "\\end{cases}"),
    ("\\overline{", "}"),
    ("\\angle ", ""),
    ("\\text{1", "}"),
    ("\\mathbf{1+", "}"),
    ("\\boxed{", "}"),
    ("\\$", ""),
    ("-", ""),
    ("\\pm(", ")"),
    ("x=(", ")"),
    ("5 \\approx (", ")"),
    ("1:(", ")"),
    ("(1 or ", ")"),
    ("[0,1]\\cup(", ")"),
    ("[0,1]\\setminus(", ")"),
    ("(\\mathbb{R} except ", ")"),
    ("(5 \\pmod{", "})"),
    ("Fraction(", ",3)"),
    ("root(", ",3)"),
    ("Interval(1,", ")"),
];

/// What may stand behind a value over and over.
const ATTACHED: [&str; 17] = [
    "!",
    "! ",
    "%",
    "^2",
    "^{2}",
    "_1",
    "'",
    "^\\circ",
    "/2",
    "\\div 2",
    "2^2",
    "\\setminus\\{1\\}",
    " except 1",
    "\\cup\\{1\\}",
    " cm",
    " hours 5 minutes",
    "{ }",
];

/// Pairs of texts that say the same in other words, so that trees are compared and not only texts.
fn pairs() -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let values = [("2", "1+1"), ("x!!!/2/2", "x!!!/4")];
    // the depth at which a kind is no longer read is somewhere between
    for depth in [6, 12, 13, 14, 19, 20, 21, 38, 39, 40, 41] {
        for (open, close) in GROUPS {
            for (value, other) in values {
                let nested =
                    |value| format!("{}{value}{}", open.repeat(depth), close.repeat(depth));
                pairs.push((nested(value), nested(other)));
            }
        }
    }
    for times in [3, 100, 130, 155, 170, 740] {
        for attached in ATTACHED {
            for (value, other) in [("2", "(1+1)"), ("x", "(x+0)"), ("ab", "ba")] {
                let attach = |value| format!("{value}{}", attached.repeat(times));
                pairs.push((attach(value), attach(other)));
            }
        }
    }
    // both at once
    for (open, close) in GROUPS {
        let both =
            |value| format!("{}{value}{}", open.repeat(13), format!("{close}!!!").repeat(13));
        pairs.push((both("2"), both("1+1")));
    }
    for opened in ["(", "\\{", "{ }", "\\frac{", "9!", "2^", "|", "\\boxed{", "$", "\\{x\\in "] {
        let open = opened.repeat(1400 / opened.len());
        pairs.push((open.clone() + "2", open + "1+1"));
    }
    pairs
}

#[test]
fn the_deepest_texts_take_little_of_the_stack() {
    let grade = || {
        let mut equal = 0usize;
        for (text, other) in pairs() {
            equal += usize::from(answers_equal(&text, &other));
            answers_equal("2", &text);
            extract_answer(&text);
        }
        equal
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(grade);
    let equal = thread.expect("a thread can be made").join().expect("no panic inside");
    // what is not too deep is read and compared
    assert!(equal > 300, "{equal}");
}

#[test]
fn the_bound_on_the_height_is_above_what_is_written() {
    // 2 / 2^60 = 2^-59
    let quotients = format!("2{}", "/2".repeat(60));
    assert!(answers_equal("2^{-59}", &quotients));
    assert!(!answers_equal("2^{-58}", &quotients));
    // 3!! = 3, over and over
    let factorials = format!("3{}", "!!".repeat(60));
    assert!(answers_equal("3", &factorials));
    assert!(!answers_equal("3", &format!("4{}", "!!".repeat(60))));
}
