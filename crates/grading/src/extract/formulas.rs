//! Where formulas begin and end in a text.

/// Byte ranges and contents of `$...$` (other delimiters have been turned into these).
pub(super) fn formulas(text: &str) -> Vec<(usize, usize, &str)> {
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    let mut open: Option<usize> = None;
    for (index, _) in text.match_indices('$') {
        match open.take() {
            None => open = Some(index),
            Some(start) => {
                let content = &text[start + 1..index];
                // `$a$ + $b$` is one formula
                let joined = found
                    .last()
                    .filter(|(_, end, _)| ["+", "-", "="].contains(&text[*end..start].trim()))
                    .copied();
                if let Some((first, _, _)) = joined {
                    found.pop();
                    found.push((first, index + 1, &text[first + 1..index]));
                } else if !content.trim().is_empty() {
                    found.push((start, index + 1, content));
                }
            }
        }
    }
    found
}

/// Delimiters of formulas, longest first.
const DELIMITERS: [(&str, &str); 5] =
    [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{"), ("$", "$")];

/// The length of the formula that a text starts with, delimiters included.
pub(super) fn leading_formula(text: &str) -> Option<usize> {
    let (open, close) = DELIMITERS.into_iter().find(|(open, _)| text.starts_with(open))?;
    let inside = &text[open.len()..];
    let end = open.len() + inside.find(close)? + close.len();
    // `\end{pmatrix}`: up to the brace
    if open.starts_with("\\begin") {
        return text[end..].find('}').map(|brace| end + brace + 1);
    }
    Some(end)
}
