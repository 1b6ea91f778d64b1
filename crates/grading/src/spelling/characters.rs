//! Unicode's mathematical characters as LaTeX: signs, Greek letters, fractions, raised and lowered
//! digits, and the letters and digits of its mathematical and full-width alphabets.

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
const CHARACTERS: [(char, &str); 109] = [
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
    ('✓', ""),
    ('✔', ""),
    ('✅', ""),
    ('■', ""),
    ('□', ""),
    ('∎', ""),
    ('\u{fe0f}', ""),
    ('\u{2012}', "-"),
    ('∆', "\\Delta "),
    ('µ', "\\mu "),
    ('ℓ', "\\ell "),
    ('⊂', "\\subset "),
    ('⊆', "\\subseteq "),
    ('⊥', "\\perp "),
    ('˚', "^\\circ "),
    ('¢', "\\text{ cents}"),
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
pub(super) fn character<'t>(rest: &'t str, tidied: &mut String) -> &'t str {
    // `³⁄₁₇`
    let above: String = rest.chars().map_while(|c| on_the_line(c, true)).collect();
    let mut behind = rest.chars().skip(above.chars().count());
    if !above.is_empty() && behind.next() == Some('⁄') {
        let below: String = behind.map_while(|c| on_the_line(c, false)).collect();
        if !below.is_empty() {
            tidied.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
            let length = above.chars().count() + 1 + below.chars().count();
            let end = rest.char_indices().nth(length).map_or(rest.len(), |(end, _)| end);
            return &rest[end..];
        }
    }
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
    } else if let Some(mark) = combining(c) {
        // a mark over the character before it
        match tidied.pop() {
            Some(marked) if marked.is_alphanumeric() => {
                tidied.push_str(&format!("\\{mark}{{{marked}}}"));
            }
            Some(other) => tidied.push(other),
            None => {}
        }
    } else if let Some((_, spelling)) = CHARACTERS.iter().find(|(of, _)| *of == c) {
        let degree = spelling.strip_prefix("^\\circ");
        match degree {
            // `60^°` and `60^{∘}`
            Some(rest) if tidied.ends_with('^') || tidied.ends_with("^{") => {
                tidied.push_str("\\circ");
                tidied.push_str(rest);
            }
            _ => tidied.push_str(spelling),
        }
        // a root of a number or letter that is no group
        if spelling.starts_with("\\sqrt") {
            return root_argument(behind, tidied);
        }
    } else if let Some(name) = greek(c)
        && !is_in_greek_word(tidied, behind)
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

/// What a combining mark is in LaTeX.
fn combining(c: char) -> Option<&'static str> {
    match c {
        '\u{305}' | '\u{304}' => Some("bar"),
        '\u{307}' => Some("dot"),
        '\u{302}' => Some("hat"),
        '\u{20d7}' => Some("vec"),
        _ => None,
    }
}

fn is_greek(c: char) -> bool {
    ('\u{370}'..='\u{3ff}').contains(&c)
}

/// Whether a letter belongs to a word of three Greek letters or more.
fn is_in_greek_word(before: &str, behind: &str) -> bool {
    let is_behind =
        |count: usize| behind.chars().take(count).filter(|c| is_greek(*c)).count() == count;
    before.chars().next_back().is_some_and(is_greek) || is_behind(2)
}

fn greek(c: char) -> Option<&'static str> {
    if ('α'..='ω').contains(&c) {
        return SMALL_GREEK.get(c as usize - 'α' as usize).copied();
    }
    match c {
        // five mathematical alphabets of 58 letters
        '\u{1d6a8}'..='\u{1d7c9}' => match (c as usize - 0x1d6a8) % 58 {
            small @ 26..=50 => SMALL_GREEK.get(small - 26).copied(),
            capital @ 0..=24 => {
                let plain = char::from_u32('Α' as u32 + capital as u32)?;
                CAPITAL_GREEK.iter().find(|(of, _)| *of == plain).map(|(_, name)| *name)
            }
            _ => None,
        },
        'ϕ' => Some("phi"),
        'ϑ' => Some("theta"),
        'ϵ' => Some("epsilon"),
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
