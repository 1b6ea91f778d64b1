//! What of a conversation an assistant wrote: for learning from conversations.
//!
//! A template with `{% generation %}` blocks says it. For any other it is derived: let `o` be what
//! is rendered of the messages in front of an assistant's, with the header of its turn, and `t` what
//! is rendered up to that message. The turn is `t` without `o`, up to the last token that ends
//! turns. So what is learnt is what a policy would have to write behind what it would have read.
//! Where `t` writes what the policy has read in another way (Hermes 3 does so with the latest
//! results), the turn is what stands behind the only header there.

use crate::chat_turns::behind_last_end;
use crate::{ChatError, ChatTemplate, Conversation, Rendered};
use serde_json::Value;
use std::ops::Range;

impl ChatTemplate {
    /// A conversation as texts to learn from, each with what the assistant wrote in it. That is the
    /// whole conversation; where the template writes an earlier turn in another way once more has
    /// been said (Qwen3 leaves its thinking out), the conversation up to that turn stands in front,
    /// as a text of its own. A text without anything to learn is there only if none has.
    ///
    /// `ends` are the texts of the tokens that end a turn.
    ///
    /// ```
    /// use paretopo_chat::{ChatTemplate, Conversation};
    /// use serde_json::json;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\
    ///         <end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    ///     let template = ChatTemplate::new(template, &json!({}))?;
    ///     let conversation: Conversation = serde_json::from_value(json!({ "messages": [
    ///         { "role": "user", "content": "6 * 7?" },
    ///         { "role": "assistant", "content": "42" },
    ///     ] }))?;
    ///     let lessons = template.lessons(&conversation, &["<end>".to_owned()])?;
    ///     assert_eq!(lessons[0].text, "<user>6 * 7?<end><assistant>42<end>");
    ///     assert_eq!(lessons[0].assistant, [28..35]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the template does not render the conversation or a part of it, writes a turn in another
    /// way than it opens one, or does not end it.
    pub fn lessons(
        &self,
        conversation: &Conversation,
        ends: &[String],
    ) -> Result<Vec<Rendered>, ChatError> {
        let mut whole = self.render_conversation(conversation)?;
        if !whole.assistant.is_empty() {
            return Ok(vec![whole]);
        }
        let mut lessons = Vec::new();
        for (place, message) in conversation.messages.iter().enumerate() {
            if message.get("role").and_then(Value::as_str) != Some("assistant") {
                continue;
            }
            let (mut text, turn) = self.turn_at(conversation, place, ends)?;
            text.truncate(turn.end);
            if turn.is_empty() {
                continue;
            }
            if whole.text.starts_with(&text) {
                whole.assistant.push(turn);
            } else {
                lessons.push(Rendered { text, assistant: vec![turn] });
            }
        }
        if lessons.is_empty() || !whole.assistant.is_empty() {
            lessons.push(whole);
        }
        Ok(lessons)
    }

    /// What is rendered up to a message, and where in it the message's own turn is.
    fn turn_at(
        &self,
        conversation: &Conversation,
        place: usize,
        ends: &[String],
    ) -> Result<(String, Range<usize>), ChatError> {
        let rendered = |messages: usize, add_generation_prompt: bool| {
            let part = Conversation {
                messages: conversation.messages[..messages].to_vec(),
                add_generation_prompt,
                ..conversation.clone()
            };
            Ok(self.render_conversation(&part)?.text)
        };
        let opening = rendered(place, true)?;
        let text = rendered(place + 1, false)?;
        let begin = match text.starts_with(&opening) {
            true => Some(opening.len()),
            false => behind_the_header(&rendered(place, false)?, &opening, &text),
        };
        let refused = |reason: &str| {
            let file = self.file().display();
            Err(ChatError::Turns(format!(
                "`{file}`: message {} (of the assistant) cannot be learnt from: the chat template \
                 {reason}\nhint: mark what an assistant writes by `{{% generation %}}` blocks",
                place + 1
            )))
        };
        let Some(begin) = begin else {
            return refused("writes a turn in another way than it opens one");
        };
        let turn = &text[begin..];
        match behind_last_end(turn, ends) {
            Some(end) => {
                let turn = begin..begin + end;
                Ok((text, turn))
            }
            None => refused("does not end the turn with a token that ends turns"),
        }
    }
}

/// Where the turn of a text begins whose history is not that of the opening: behind the header that
/// the opening adds to what is rendered without it, if that stands but once behind what both have
/// in common.
fn behind_the_header(read: &str, opening: &str, text: &str) -> Option<usize> {
    let header = opening.strip_prefix(read).filter(|header| !header.is_empty())?;
    let same = opening.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    let mut found = text.match_indices(header).filter(|(at, _)| at + header.len() > same);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Some(at + header.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lessons(template: &str, messages: Value) -> Result<Vec<(String, Vec<String>)>, ChatError> {
        let template = ChatTemplate::new(template, &json!({})).unwrap();
        let conversation: Conversation =
            serde_json::from_value(json!({ "messages": messages })).unwrap();
        let lessons = template.lessons(&conversation, &["</s>".to_owned(), String::new()])?;
        let in_words = |lesson: Rendered| {
            let written = lesson.assistant.iter().map(|turn| lesson.text[turn.clone()].to_owned());
            (lesson.text.clone(), written.collect())
        };
        Ok(lessons.into_iter().map(in_words).collect())
    }

    fn said(role: &str, content: &str) -> Value {
        json!({ "role": role, "content": content })
    }

    const PLAIN: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}\
                         {% if add_generation_prompt %}<assistant>{% endif %}";

    #[test]
    fn all_turns_of_an_assistant_are_learnt_with_their_ends() {
        let messages = [
            said("user", "a"),
            said("assistant", "b"),
            said("tool", "</s>"),
            said("assistant", "c"),
        ];
        let found = lessons(PLAIN, messages.to_vec().into()).unwrap();
        let text = "<user>a</s>\n<assistant>b</s>\n<tool></s></s>\n<assistant>c</s>\n";
        assert_eq!(found, [(text.to_owned(), vec!["b</s>".to_owned(), "c</s>".to_owned()])]);
        // a prompt has nothing to learn
        let found = lessons(PLAIN, json!([said("user", "a")])).unwrap();
        assert_eq!(found, [("<user>a</s>\n".to_owned(), vec![])]);
    }

    #[test]
    fn a_turn_that_is_written_anew_later_is_a_lesson_of_its_own() {
        // thinks only in the last message
        let template = "{% for m in messages %}<{{ m.role }}>\
                        {% if loop.last and m.role == 'assistant' %}(hm){% endif %}\
                        {{ m.content }}</s>{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";
        let messages = json!([
            said("user", "a"),
            said("assistant", "b"),
            said("user", "c"),
            said("assistant", "d")
        ]);
        let found = lessons(template, messages).unwrap();
        let first = ("<user>a</s><assistant>(hm)b</s>".to_owned(), vec!["(hm)b</s>".to_owned()]);
        let whole = "<user>a</s><assistant>b</s><user>c</s><assistant>(hm)d</s>";
        assert_eq!(found, [first, (whole.to_owned(), vec!["(hm)d</s>".to_owned()])]);
    }

    #[test]
    fn a_turn_is_found_behind_a_history_that_is_written_anew() {
        // what was said last has another end than what was said before
        let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\
                        {% if loop.last %}!{% endif %}</s>{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";
        let messages = json!([said("user", "a"), said("assistant", "b")]);
        let whole = "<user>a</s><assistant>b!</s>".to_owned();
        assert_eq!(lessons(template, messages).unwrap(), [(whole, vec!["b!</s>".to_owned()])]);
        // who says the header has two of them
        let forged = json!([said("user", "a"), said("assistant", "<assistant>b")]);
        let error = lessons(template, forged).unwrap_err().to_string();
        assert!(error.contains("in another way"), "{error}");
    }

    #[test]
    fn blocks_of_the_template_are_taken_at_their_word() {
        let template = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}\
                        {{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %} {% endfor %}";
        let found = lessons(template, json!([said("user", "a"), said("assistant", "b")])).unwrap();
        assert_eq!(found, [("a b ".to_owned(), vec!["b".to_owned()])]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused_by_message() {
        let other = "{% for m in messages %}{{ m.content }}</s>{% endfor %}\
                     {% if add_generation_prompt %}<assistant>{% endif %}";
        let endless = "{% for m in messages %}{{ m.content }}{% endfor %}";
        for (template, reason) in [(other, "in another way"), (endless, "does not end")] {
            let error = lessons(template, json!([said("user", "a"), said("assistant", "b")]));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("message 2") && error.contains(reason), "{error}");
        }
    }
}
