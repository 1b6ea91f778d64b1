//! `{% generation %}` blocks: which parts of a rendered text an assistant wrote.
//!
//! A block's text is put between two marks, characters that neither the template nor the
//! conversation holds; they are taken out of the rendered text. So a block is found wherever its
//! text ends up, also where a macro renders it.

use crate::conversation::{Conversation, Rendered};
use minijinja::{Error, State, Value};

/// The first character that may become a mark: the first private plane of Unicode.
const FIRST: u32 = 0xf_0000;

/// The characters in front of and behind a block's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Markers {
    open: char,
    close: char,
}

impl Markers {
    /// Marks that no text has that a rendering could show.
    pub(super) fn unlike(template: &str, conversation: &Conversation) -> Self {
        let conversation = serde_json::to_string(conversation).unwrap_or_default();
        let mut unused = (FIRST..=0xf_fffd)
            .filter_map(char::from_u32)
            .filter(|c| !template.contains(*c) && !conversation.contains(*c));
        let (open, close) = (unused.next(), unused.next());
        Self { open: open.unwrap_or('\u{f0000}'), close: close.unwrap_or('\u{f0001}') }
    }

    /// Both, one behind the other.
    pub(super) fn as_text(self) -> String {
        String::from_iter([self.open, self.close])
    }

    /// The text without marks, and the spans that stood between them.
    pub(super) fn taken_from(self, marked: &str) -> Rendered {
        let mut text = String::with_capacity(marked.len());
        let mut assistant = Vec::new();
        let mut opened = Vec::new();
        for c in marked.chars() {
            if c == self.open {
                opened.push(text.len());
            } else if c == self.close {
                if let Some(start) = opened.pop() {
                    assistant.push(start..text.len());
                }
            } else {
                text.push(c);
            }
        }
        assistant.sort_by_key(|span| span.start);
        Rendered { text, assistant }
    }
}

/// The filter behind `{% generation %}`: its body's text between the marks.
pub(super) fn generation(state: &State<'_, '_>, body: &Value) -> Result<String, Error> {
    let body = super::printing::python_str(body)?;
    let marks = state.lookup(super::MARKERS).unwrap_or_default();
    let mut marks = marks.as_str().unwrap_or_default().chars();
    let mut marked = String::from_iter(marks.next());
    marked.push_str(&body);
    marked.extend(marks.next());
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user's text holds the characters that would be the first marks: others are taken.
    #[test]
    fn no_text_of_a_conversation_is_a_mark() {
        let conversation = Conversation {
            variables: [("said".to_owned(), "\u{f0000}x\u{f0002}".into())].into_iter().collect(),
            ..Conversation::default()
        };
        let markers = Markers::unlike("{{ '\u{f0001}' }}", &conversation);
        assert_eq!(markers, Markers { open: '\u{f0003}', close: '\u{f0004}' });
        let rendered = markers.taken_from("a\u{f0003}\u{f0000}b\u{f0004}c\u{f0004}");
        assert_eq!(rendered.text, "a\u{f0000}bc");
        // a letter, then a character of four bytes and a letter
        assert_eq!(rendered.assistant.first(), Some(&(1..6)));
    }
}
