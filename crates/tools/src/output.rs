//! Shortening tool output before the model reads it.

/// Keeps the first and last halves of `text` when it is longer than `limit` characters, with a
/// marker between them that says how many characters are missing. Returns the text and whether it
/// was shortened. Counts characters, not bytes.
pub fn truncate_middle(text: &str, limit: usize) -> (String, bool) {
    let length = text.chars().count();
    if length <= limit {
        return (text.to_owned(), false);
    }
    let head_length = limit.div_ceil(2);
    let tail_length = limit - head_length;
    let head: String = text.chars().take(head_length).collect();
    let tail: String = text.chars().skip(length - tail_length).collect();
    (format!("{head}...({} characters omitted)...{tail}", length - limit), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_both_ends() {
        // 10 characters, limit 5: 3 in front, 2 behind, 5 omitted
        assert_eq!(
            truncate_middle("0123456789", 5),
            ("012...(5 characters omitted)...89".to_owned(), true)
        );
        assert_eq!(truncate_middle("0123456789", 10), ("0123456789".to_owned(), false));
        assert_eq!(truncate_middle("äöü", 0), ("...(3 characters omitted)...".to_owned(), true));
    }

    proptest! {
        #[test]
        fn never_longer_than_limit_plus_marker(text in "\\PC{0,300}", limit in 0usize..200) {
            let (short, truncated) = truncate_middle(&text, limit);
            prop_assert!(short.chars().count() <= limit + "...( characters omitted)...".len() + 4);
            prop_assert_eq!(truncated, text.chars().count() > limit);
        }
    }
}
