//! The functions that are known.

/// Functions by the names that LaTeX and programs give them, and the name that is kept.
const FUNCTIONS: [(&str, &str); 47] = [
    ("arcsin", "arcsin"),
    ("arccos", "arccos"),
    ("arctan", "arctan"),
    ("asin", "arcsin"),
    ("acos", "arccos"),
    ("atan", "arctan"),
    ("sinh", "sinh"),
    ("cosh", "cosh"),
    ("tanh", "tanh"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("cot", "cot"),
    ("sec", "sec"),
    ("csc", "csc"),
    ("cosec", "csc"),
    ("log", "log"),
    ("ln", "ln"),
    ("lg", "lg"),
    ("exp", "exp"),
    ("min", "min"),
    ("max", "max"),
    ("Min", "min"),
    ("Max", "max"),
    ("gcd", "gcd"),
    ("GCD", "gcd"),
    ("gcf", "gcd"),
    ("GCF", "gcd"),
    ("hcf", "gcd"),
    ("HCF", "gcd"),
    ("igcd", "gcd"),
    ("lcm", "lcm"),
    ("LCM", "lcm"),
    ("ilcm", "lcm"),
    ("sqrt", "sqrt"),
    ("cbrt", "cbrt"),
    ("binom", "binom"),
    ("binomial", "binom"),
    ("comb", "binom"),
    ("floor", "floor"),
    ("ceil", "ceil"),
    ("ceiling", "ceil"),
    ("factorial", "factorial"),
    ("abs", "abs"),
    ("Abs", "abs"),
    ("det", "det"),
    ("sgn", "sgn"),
];

/// The kept name of a function.
pub(crate) fn function_named(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(of, _)| *of == name).map(|(_, kept)| *kept)
}

/// Functions of angles, in which a degree sign counts.
pub(crate) fn is_trigonometric(function: &str) -> bool {
    ["sin", "cos", "tan", "cot", "sec", "csc"].contains(&function)
}
