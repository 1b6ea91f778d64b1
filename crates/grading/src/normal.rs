//! Removing what LaTeX and Unicode put around an answer without changing what it says.

/// Pairs of spellings, replaced in this order.
const SPELLINGS: [(&str, &str); 62] = [
    ("\\displaystyle", " "),
    ("\\left\\{", "\\{"),
    ("\\right\\}", "\\}"),
    ("\\left", ""),
    ("\\right", ""),
    ("\\bigl", ""),
    ("\\bigr", ""),
    ("\\big", ""),
    ("\\Big", ""),
    ("\\limits", ""),
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("{,}", "\u{1}"),
    ("{, }", "\u{1}"),
    ("{ , }", "\u{1}"),
    (",\\!", "\u{1}"),
    (",\\! ", "\u{1}"),
    ("\\!", ""),
    ("\\,", " "),
    ("\\;", " "),
    ("\\:", " "),
    ("\\ ", " "),
    ("~", " "),
    ("\\qquad", " "),
    ("\\quad", " "),
    ("\\$", ""),
    ("\\%", "%"),
    ("\\#", ""),
    ("\\degree", "^\\circ"),
    ("°", "^\\circ"),
    ("\u{2212}", "-"),
    ("\u{2013}", "-"),
    ("\u{d7}", "\\times "),
    ("\u{f7}", "\\div "),
    ("\u{b7}", "\\cdot "),
    ("π", "\\pi "),
    ("∞", "\\infty "),
    ("√", "\\sqrt "),
    ("≤", "\\le "),
    ("≥", "\\ge "),
    ("≠", "\\ne "),
    ("≈", "\\approx "),
    ("∪", "\\cup "),
    ("∈", "\\in "),
    ("±", "\\pm "),
    ("½", "\\frac{1}{2}"),
    ("²", "^{2}"),
    ("³", "^{3}"),
    ("€", ""),
    ("£", ""),
    ("\\(", "$"),
    ("\\)", "$"),
    ("\\[", "$"),
    ("\\]", "$"),
    ("$$", "$"),
    ("\\leqslant", "\\le"),
    ("\\geqslant", "\\ge"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\neq", "\\ne"),
    ("\\{,\\}", ","),
];

/// The text with one spelling for each thing. A thousands separator that LaTeX sets apart (`{,}`,
/// `,\!`) becomes U+0001.
pub(crate) fn tidy(text: &str) -> String {
    let mut text = single_backslashes(text);
    // the line breaks of matrices are no spacing command
    let breaks = text.contains("\\\\");
    if breaks {
        text = text.replace("\\\\", "\u{2}");
    }
    // a space inside `14 {, }916` is the separator's
    if text.contains("{,") {
        text = text.replace(" {,", "{,");
    }
    for (from, to) in SPELLINGS {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    if breaks {
        text = text.replace('\u{2}', "\\\\");
    }
    if text.contains('\u{1}') {
        text = text.replace("\u{1} ", "\u{1}");
    }
    text
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
        single.push_str(if behind.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "\\"
        } else {
            "\\\\"
        });
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
    for command in ["\\text", "\\textbf", "\\mathrm", "\\mathbf", "\\mbox", "\\rm"] {
        if text.contains(command) {
            text = text.replace(command, "");
        }
    }
    let kept = text.chars().filter(|c| !c.is_whitespace() && !['$', '{', '}', '\u{1}'].contains(c));
    let bare: String = kept.flat_map(char::to_lowercase).collect();
    bare.trim_matches(['.', ',', ';', '(', ')']).to_owned()
}
