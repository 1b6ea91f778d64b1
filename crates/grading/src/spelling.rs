//! One spelling for each thing: LaTeX commands that only change how an answer looks go, synonyms
//! become one command, and Unicode's mathematical characters become LaTeX.
//!
//! Nothing here changes what an answer says. Left out: macros that a document defines itself.

/// Set apart by LaTeX (`{,}`, `,\!`), so surely a separator of thousands.
pub(crate) const SEPARATOR: char = '\u{1}';

/// Commands that say how large or where, not what.
const DROPPED: [&str; 48] = [
    "left",
    "right",
    "middle",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "bigm",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "Biggl",
    "Biggr",
    "limits",
    "nolimits",
    "displaystyle",
    "textstyle",
    "scriptstyle",
    "scriptscriptstyle",
    "tiny",
    "scriptsize",
    "footnotesize",
    "small",
    "normalsize",
    "large",
    "Large",
    "LARGE",
    "huge",
    "Huge",
    "bf",
    "bfseries",
    "it",
    "itshape",
    "rm",
    "sf",
    "tt",
    "boldmath",
    "centering",
    "noindent",
    "nonumber",
    "notag",
    "strut",
    "mathstrut",
    "allowbreak",
    "hfill",
];

/// Commands that go with their argument, and how many arguments go.
const DROPPED_WITH_ARGUMENTS: [(&str, usize); 13] = [
    ("color", 1),
    ("textcolor", 1),
    ("colorbox", 1),
    ("fcolorbox", 2),
    ("href", 1),
    ("raisebox", 1),
    ("fontsize", 2),
    ("hspace", 1),
    ("vspace", 1),
    ("phantom", 1),
    ("hphantom", 1),
    ("label", 1),
    ("tag", 1),
];

/// Commands whose argument stands for itself.
const TRANSPARENT: [&str; 20] = [
    "boxed",
    "fbox",
    "framebox",
    "boldsymbol",
    "bm",
    "pmb",
    "underline",
    "uline",
    "underbrace",
    "overbrace",
    "mathnormal",
    "ensuremath",
    "mathop",
    "mathrel",
    "mathbin",
    "mathord",
    "mathinner",
    "mathopen",
    "mathclose",
    "smash",
];

/// Commands with another name for the same thing.
const SYNONYMS: [(&str, &str); 94] = [
    ("dfrac", "\\frac"),
    ("tfrac", "\\frac"),
    ("cfrac", "\\frac"),
    ("nicefrac", "\\frac"),
    ("sfrac", "\\frac"),
    ("flatfrac", "\\frac"),
    ("dbinom", "\\binom"),
    ("tbinom", "\\binom"),
    ("textbf", "\\text"),
    ("textrm", "\\text"),
    ("textit", "\\text"),
    ("textsf", "\\text"),
    ("texttt", "\\text"),
    ("textnormal", "\\text"),
    ("textup", "\\text"),
    ("textsc", "\\text"),
    ("textmd", "\\text"),
    ("emph", "\\text"),
    ("mbox", "\\text"),
    ("hbox", "\\text"),
    ("mathbf", "\\mathrm"),
    ("mathit", "\\mathrm"),
    ("mathsf", "\\mathrm"),
    ("mathtt", "\\mathrm"),
    ("operatorname", "\\mathrm"),
    ("bold", "\\mathrm"),
    ("leq", "\\le "),
    ("leqslant", "\\le "),
    ("leqq", "\\le "),
    ("geq", "\\ge "),
    ("geqslant", "\\ge "),
    ("geqq", "\\ge "),
    ("neq", "\\ne "),
    ("degree", "^\\circ "),
    ("degrees", "^\\circ "),
    ("celsius", "^\\circ \\text{C}"),
    ("quad", " "),
    ("qquad", " "),
    ("enspace", " "),
    ("thinspace", " "),
    ("medspace", " "),
    ("thickspace", " "),
    ("nobreakspace", " "),
    ("space", " "),
    ("lbrack", "["),
    ("rbrack", "]"),
    ("lparen", "("),
    ("rparen", ")"),
    ("lbrace", "\\{"),
    ("rbrace", "\\}"),
    ("vert", "|"),
    ("lvert", "|"),
    ("rvert", "|"),
    ("Vert", "\\|"),
    ("lVert", "\\|"),
    ("rVert", "\\|"),
    ("colon", ":"),
    ("cdotp", "\\cdot "),
    ("bullet", "\\cdot "),
    ("ast", "*"),
    ("slash", "/"),
    ("varnothing", "\\emptyset "),
    ("infin", "\\infty "),
    ("R", "\\mathbb{R}"),
    ("reals", "\\mathbb{R}"),
    ("Reals", "\\mathbb{R}"),
    ("N", "\\mathbb{N}"),
    ("Z", "\\mathbb{Z}"),
    ("integers", "\\mathbb{Z}"),
    ("Q", "\\mathbb{Q}"),
    ("Complex", "\\mathbb{C}"),
    ("Bbb", "\\mathbb"),
    ("varepsilon", "\\epsilon "),
    ("varphi", "\\phi "),
    ("vartheta", "\\theta "),
    ("smallsetminus", "\\setminus "),
    ("backslash", "\\setminus "),
    ("ldots", "\\dots "),
    ("cdots", "\\dots "),
    ("dotsc", "\\dots "),
    ("simeq", "\\approx "),
    ("approxeq", "\\approx "),
    ("sim", "\\approx "),
    ("thickapprox", "\\approx "),
    ("lt", "<"),
    ("gt", ">"),
    ("vee", "\\lor "),
    ("wedge", "\\land "),
    ("overset", ""),
    ("arctg", "\\arctan "),
    ("tg", "\\tan "),
    ("ctg", "\\cot "),
    ("pounds", "\\sterling "),
    ("textdollar", "\\dollar "),
];

/// The text with one spelling for each thing; boundaries of formulas become `$`.
pub(crate) fn tidy(text: &str) -> String {
    let text = separators(&single_backslashes(text));
    let mut tidied = String::with_capacity(text.len() + 16);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => command(rest, &mut tidied),
            '~' => {
                tidied.push(' ');
                &rest[1..]
            }
            // `$$` opens and closes formulas as `$` does
            '$' => {
                tidied.push('$');
                rest.strip_prefix("$$").unwrap_or(&rest[1..])
            }
            ascii if ascii.is_ascii() => {
                tidied.push(ascii);
                &rest[1..]
            }
            _ => character(rest, &mut tidied),
        };
    }
    tidied
}

/// Separators of thousands that LaTeX sets apart.
fn separators(text: &str) -> String {
    let mut text = text.to_owned();
    if text.contains("{,") || text.contains("{ ,") {
        text = text.replace(" {,", "{,");
        for spelling in ["{,}", "{, }", "{ , }"] {
            text = text.replace(spelling, "\u{1}");
        }
    }
    if text.contains("\\!") {
        text = text.replace(",\\! ", "\u{1}").replace(",\\!", "\u{1}");
    }
    if text.contains(SEPARATOR) { text.replace("\u{1} ", "\u{1}") } else { text }
}

/// Writes what the command at the start of `rest` stands for; what is left behind it.
fn command<'t>(rest: &'t str, tidied: &mut String) -> &'t str {
    let behind = &rest[1..];
    let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
    if letters == 0 {
        return symbol_command(behind, tidied);
    }
    let (name, mut rest) = behind.split_at(letters);
    // a star, as in `\operatorname*`
    if let Some(starred) = rest.strip_prefix('*')
        && ["operatorname", "hspace", "vspace", "tag"].contains(&name)
    {
        rest = starred;
    }
    if DROPPED.contains(&name) {
        // no delimiter on this side
        let invisible = ["left", "right", "middle"].contains(&name);
        rest = rest.strip_prefix('.').filter(|_| invisible).unwrap_or(rest);
        // `\left<` is an angle bracket
        for (mark, bracket) in [("<", "\\langle "), (">", "\\rangle ")] {
            if let Some(behind) = rest.strip_prefix(mark).filter(|_| invisible) {
                tidied.push_str(bracket);
                return behind;
            }
        }
        if !invisible {
            tidied.push(' ');
        }
        return rest;
    }
    if let Some((_, arguments)) = DROPPED_WITH_ARGUMENTS.iter().find(|(of, _)| *of == name) {
        for _ in 0..*arguments {
            rest = behind_group(rest);
        }
        return rest;
    }
    if TRANSPARENT.contains(&name) {
        tidied.push(' ');
        return rest;
    }
    match SYNONYMS.iter().find(|(of, _)| *of == name) {
        Some((_, spelling)) => tidied.push_str(spelling),
        None => {
            tidied.push('\\');
            tidied.push_str(name);
        }
    }
    rest
}

/// The same for a backslash before something that is no letter.
fn symbol_command<'t>(behind: &'t str, tidied: &mut String) -> &'t str {
    let Some(mark) = behind.chars().next() else {
        return behind;
    };
    let rest = &behind[mark.len_utf8()..];
    match mark {
        // the end of a row, perhaps with the distance to the next: `\\[2pt]`
        '\\' => {
            tidied.push_str("\\\\");
            let rest = rest.strip_prefix('*').unwrap_or(rest);
            let distance = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
            return match distance {
                Some((size, behind)) if is_length(size) => behind,
                _ => rest,
            };
        }
        '!' => {}
        ',' | ';' | ':' | '>' | ' ' | '/' | '\n' => tidied.push(' '),
        '(' | ')' | '[' | ']' => tidied.push('$'),
        '$' => tidied.push_str("\\dollar "),
        '%' => tidied.push('%'),
        '#' => {}
        '{' | '}' | '|' => {
            tidied.push('\\');
            tidied.push(mark);
        }
        other => {
            tidied.push('\\');
            tidied.push(other);
        }
    }
    rest
}

/// Whether a text is a length of TeX: `2pt`, `-0.5 em`.
fn is_length(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || "-+. ".contains(c)).trim();
    unit.len() < text.len() && ["pt", "em", "ex", "mm", "cm", "in", "mu", "px"].contains(&unit)
}

/// What stands behind a group in braces, or behind one in square brackets and one in braces.
fn behind_group(text: &str) -> &str {
    let mut rest = text.trim_start();
    if let Some((_, behind)) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        rest = behind.trim_start();
    }
    if !rest.starts_with('{') {
        return text;
    }
    let mut depth = 0usize;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &rest[index + 1..];
        }
    }
    text
}

/// Small Greek letters from alpha on; the second sigma is the one at the end of words.
const SMALL_GREEK: [&str; 25] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi",
    "chi", "psi", "omega",
];

/// Capital Greek letters that differ from Latin ones.
const CAPITAL_GREEK: [(char, &str); 11] = [
    ('Γ', "Gamma"),
    ('Δ', "Delta"),
    ('Θ', "Theta"),
    ('Λ', "Lambda"),
    ('Ξ', "Xi"),
    ('Π', "Pi"),
    ('Σ', "Sigma"),
    ('Υ', "Upsilon"),
    ('Φ', "Phi"),
    ('Ψ', "Psi"),
    ('Ω', "Omega"),
];

/// Characters and what LaTeX writes for them.
const CHARACTERS: [(char, &str); 93] = [
    ('\u{a0}', " "),
    ('\u{2009}', " "),
    ('\u{202f}', " "),
    ('\u{2002}', " "),
    ('\u{2003}', " "),
    ('\u{3000}', " "),
    ('\u{200b}', ""),
    ('\u{200d}', ""),
    ('\u{2060}', ""),
    ('\u{feff}', ""),
    ('\u{2061}', ""),
    ('\u{2212}', "-"),
    ('\u{2010}', "-"),
    ('\u{2011}', "-"),
    ('\u{2013}', "-"),
    ('\u{2014}', "-"),
    ('\u{fe63}', "-"),
    ('×', "\\times "),
    ('✕', "\\times "),
    ('⨯', "\\times "),
    ('÷', "\\div "),
    ('·', "\\cdot "),
    ('⋅', "\\cdot "),
    ('∙', "\\cdot "),
    ('•', "\\cdot "),
    ('∗', "*"),
    ('⁄', "/"),
    ('∕', "/"),
    ('∶', ":"),
    ('∞', "\\infty "),
    ('√', "\\sqrt "),
    ('∛', "\\sqrt[3]"),
    ('∜', "\\sqrt[4]"),
    ('≤', "\\le "),
    ('⩽', "\\le "),
    ('≦', "\\le "),
    ('≥', "\\ge "),
    ('⩾', "\\ge "),
    ('≧', "\\ge "),
    ('≠', "\\ne "),
    ('≈', "\\approx "),
    ('≃', "\\approx "),
    ('∼', "\\approx "),
    ('≡', "\\equiv "),
    ('∪', "\\cup "),
    ('⋃', "\\cup "),
    ('∩', "\\cap "),
    ('⋂', "\\cap "),
    ('∖', "\\setminus "),
    ('∈', "\\in "),
    ('±', "\\pm "),
    ('∓', "\\mp "),
    ('∅', "\\emptyset "),
    ('⌀', "\\emptyset "),
    ('∧', "\\land "),
    ('∨', "\\lor "),
    ('⌊', "\\lfloor "),
    ('⌋', "\\rfloor "),
    ('⌈', "\\lceil "),
    ('⌉', "\\rceil "),
    ('⟨', "\\langle "),
    ('⟩', "\\rangle "),
    ('〈', "\\langle "),
    ('〉', "\\rangle "),
    ('∣', "|"),
    ('∥', "\\|"),
    ('‖', "\\|"),
    ('°', "^\\circ "),
    ('º', "^\\circ "),
    ('∘', "^\\circ "),
    ('℃', "^\\circ \\text{C}"),
    ('℉', "^\\circ \\text{F}"),
    ('′', "'"),
    ('’', "'"),
    ('‘', "'"),
    ('″', "''"),
    ('“', "\""),
    ('”', "\""),
    ('…', "\\dots "),
    ('⋯', "\\dots "),
    ('、', ","),
    ('。', "."),
    ('∠', "\\angle "),
    ('△', "\\triangle "),
    ('→', "\\to "),
    ('ℝ', "\\mathbb{R}"),
    ('ℤ', "\\mathbb{Z}"),
    ('ℕ', "\\mathbb{N}"),
    ('ℚ', "\\mathbb{Q}"),
    ('ℂ', "\\mathbb{C}"),
    ('€', "\\euro "),
    ('£', "\\sterling "),
    ('¥', "\\yen "),
];

/// Fractions that are one character.
const VULGAR_FRACTIONS: [(char, u8, u8); 18] = [
    ('½', 1, 2),
    ('⅓', 1, 3),
    ('⅔', 2, 3),
    ('¼', 1, 4),
    ('¾', 3, 4),
    ('⅕', 1, 5),
    ('⅖', 2, 5),
    ('⅗', 3, 5),
    ('⅘', 4, 5),
    ('⅙', 1, 6),
    ('⅚', 5, 6),
    ('⅐', 1, 7),
    ('⅛', 1, 8),
    ('⅜', 3, 8),
    ('⅝', 5, 8),
    ('⅞', 7, 8),
    ('⅑', 1, 9),
    ('⅒', 1, 10),
];

/// What a raised or lowered character is on the line.
fn on_the_line(c: char, raised: bool) -> Option<char> {
    let (from, to) = if raised {
        ("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣʸᵃᵇᵗᵐᵏ", "0123456789+-()nixyabtmk")
    } else {
        ("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₑₓₙₘₖᵢⱼ", "0123456789+-()aexnmkij")
    };
    from.chars().zip(to.chars()).find(|(of, _)| *of == c).map(|(_, plain)| plain)
}

/// Writes what the characters at the start of `rest`, none of ASCII, stand for; what is left.
fn character<'t>(rest: &'t str, tidied: &mut String) -> &'t str {
    for (raised, opening) in [(true, "^{"), (false, "_{")] {
        let run: String = rest.chars().map_while(|c| on_the_line(c, raised)).collect();
        if !run.is_empty() {
            tidied.push_str(opening);
            tidied.push_str(&run);
            tidied.push('}');
            let end = rest.char_indices().nth(run.len()).map_or(rest.len(), |(end, _)| end);
            return &rest[end..];
        }
    }
    let Some(c) = rest.chars().next() else {
        return rest;
    };
    let behind = &rest[c.len_utf8()..];
    if let Some((_, above, below)) = VULGAR_FRACTIONS.iter().find(|(of, ..)| *of == c) {
        tidied.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
    } else if let Some((_, spelling)) = CHARACTERS.iter().find(|(of, _)| *of == c) {
        tidied.push_str(spelling);
        // a root of a number or letter that is no group
        if spelling.starts_with("\\sqrt") {
            return root_argument(behind, tidied);
        }
    } else if let Some(name) = greek(c)
        && !tidied.chars().next_back().is_some_and(is_greek)
        && !behind.chars().next().is_some_and(is_greek)
    {
        tidied.push('\\');
        tidied.push_str(name);
        tidied.push(' ');
    } else {
        tidied.push(styled(c));
    }
    behind
}

/// `√12` is the root of 12, where `\sqrt 12` would be that of 1.
fn root_argument<'t>(behind: &'t str, tidied: &mut String) -> &'t str {
    let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    let (number, rest) = behind.split_at(digits);
    if !number.is_empty() {
        tidied.push('{');
        tidied.push_str(number);
        tidied.push('}');
    }
    rest
}

fn is_greek(c: char) -> bool {
    ('\u{370}'..='\u{3ff}').contains(&c)
}

fn greek(c: char) -> Option<&'static str> {
    if ('α'..='ω').contains(&c) {
        return SMALL_GREEK.get(c as usize - 'α' as usize).copied();
    }
    match c {
        'ϕ' | '𝜙' => Some("phi"),
        'ϑ' => Some("theta"),
        'ϵ' => Some("epsilon"),
        '𝜋' | '𝝅' => Some("pi"),
        _ => CAPITAL_GREEK.iter().find(|(of, _)| *of == c).map(|(_, name)| *name),
    }
}

/// Letters and digits of Unicode's mathematical and full-width alphabets as those of ASCII.
fn styled(c: char) -> char {
    let code = c as u32;
    let plain = match code {
        0xff01..=0xff5e => code - 0xfee0,
        0x1d7ce..=0x1d7ff => u32::from(b'0') + (code - 0x1d7ce) % 10,
        // 13 alphabets of 26 capital and 26 small letters
        0x1d400..=0x1d6a3 => match (code - 0x1d400) % 52 {
            capital @ 0..26 => u32::from(b'A') + capital,
            small => u32::from(b'a') + small - 26,
        },
        // a hole of the italic alphabet, filled by Planck's constant
        0x210e => u32::from(b'h'),
        _ => code,
    };
    char::from_u32(plain).unwrap_or(c)
}

/// `\\boxed` and the like, doubled by an escaping that was done twice, become `\boxed`; line breaks
/// of matrices stay.
pub(crate) fn single_backslashes(text: &str) -> String {
    if !text.contains("\\\\") || text.contains("\\begin") {
        return text.to_owned();
    }
    let mut single = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\\\") {
        single.push_str(&rest[..at]);
        let behind = &rest[at + 2..];
        let is_command = behind.starts_with(|c: char| c.is_ascii_alphabetic());
        single.push_str(if is_command { "\\" } else { "\\\\" });
        rest = behind;
    }
    single.push_str(rest);
    // the two characters of an escaped line break
    single.replace("\\n\\n", "\n").replace("\\n\n", "\n")
}

/// Lower case without spaces, dollar signs, braces and text commands: what is compared when a text
/// cannot be read as math.
pub(crate) fn bare(text: &str) -> String {
    let mut text = text.to_owned();
    for command in ["\\text", "\\mathrm", "\\dollar"] {
        if text.contains(command) {
            text = text.replace(command, "");
        }
    }
    let ignored = ['$', '{', '}', SEPARATOR];
    let kept = text.chars().filter(|c| !c.is_whitespace() && !ignored.contains(c));
    let bare: String = kept.flat_map(char::to_lowercase).collect();
    bare.trim_matches(['.', ',', ';', '(', ')']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(tidy(text).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn looks_go_and_meanings_stay() {
        check("\\left(1,2\\right]", "(1,2]");
        check("\\left.x\\right|", "x|");
        check("x \\rightarrow y", "x \\rightarrow y");
        check("\\textcolor{red}{5}", "{5}");
        check("{\\color{blue} 5}", "{ 5}");
        check("\\dfrac12", "\\frac12");
        check("10{,}000", "10\u{1}000");
        check("11,\\! 111", "11\u{1}111");
        check("1\\\\[2pt]2", "1\\\\2");
        check("\\$5", "\\dollar 5");
    }

    #[test]
    fn characters_become_commands() {
        check("x²y⁻¹", "x^{2}y^{-1}");
        check("3½", "3\\frac{1}{2}");
        check("a₁₂", "a_{12}");
        check("√12", "\\sqrt {12}");
        check("π", "\\pi");
        check("𝟒𝑥", "4x");
        check("（１，２）", "(1,2)");
        check("λόγος", "λόγος");
    }
}
