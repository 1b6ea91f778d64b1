//! What a model thinks before it answers: `<think>..</think>`. It is the model's own text, drawn and
//! trained on; calls and answers inside it do not count.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What of a turn stands behind its thinking. `begun` says that the prompt has opened it already, as
/// some templates do; without a closing tag all is thinking then.
///
/// ```
/// use paretopo_chat::behind_thinking;
///
/// assert_eq!(behind_thinking("<think>\nHm.\n</think>\n\nSeven.", false), "\n\nSeven.");
/// assert_eq!(behind_thinking("Hm.\n</think>Seven.", true), "Seven.");
/// assert_eq!(behind_thinking("Hm.", true), "");
/// assert_eq!(behind_thinking("Seven.", false), "Seven.");
/// ```
pub fn behind_thinking(turn: &str, begun: bool) -> &str {
    if begun || turn.trim_start().starts_with(OPEN) {
        turn.split_once(CLOSE).map_or("", |(_, behind)| behind)
    } else {
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_thinking_at_the_beginning_counts() {
        // quoted in an answer the tags are text
        let quoted = "The tag <think> opens, </think> closes.";
        assert_eq!(behind_thinking(quoted, false), quoted);
        // a second pair is part of the answer
        assert_eq!(
            behind_thinking("<think>a</think>b<think>c</think>", false),
            "b<think>c</think>"
        );
        // thought without an end: nothing has been said
        assert_eq!(behind_thinking(" <think>a", false), "");
    }
}
