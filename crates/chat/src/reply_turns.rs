//! What a checkpoint's template puts around what a user says behind a turn of the policy: for
//! environments that answer turns.
//!
//! It is derived like what stands around a tool's result ([`crate::ChatTurns`]): a user, an
//! assistant and a user with placeholders are rendered, and what stands behind the assistant's turn
//! is taken. Where the template ends a turn with a token that ends turns, that is what stands behind
//! that token, which the policy has drawn itself; small templates end a turn with nothing.

use crate::chat_turns::{Form, behind_last_end, text_of};
use crate::{ChatError, ChatTemplate, Conversation};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What stands around a reply, up to where the policy's next turn begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTurn {
    /// In front of it, behind the token that ended the policy's turn.
    pub before: String,
    /// Behind it.
    pub behind: String,
    form: Form,
}

impl ReplyTurn {
    /// Derives it; `ends` are the texts of the tokens that end a turn.
    ///
    /// # Errors
    /// When the template refuses a second turn of a user, leaves its words out or rewrites them.
    pub fn new(
        template: &ChatTemplate,
        variables: &Map<String, Value>,
        ends: &[String],
    ) -> Result<Self, ChatError> {
        let derived = Derived { template, variables, ends, now: crate::jinja::now() };
        let pieces = derived.around("Xq7")?;
        // words of other length and letters: what changes with them is no part of the template
        if pieces != derived.around("Bananas9")? {
            return Err(derived.refused("what it puts around a reply depends on the reply"));
        }
        let form = derived.form()?;
        let [before, behind] = pieces;
        Ok(Self { before, behind, form })
    }

    /// A reply as the template writes it.
    pub fn written<'r>(&self, reply: &'r str) -> Cow<'r, str> {
        self.form.of(reply)
    }
}

/// What is compared while it is derived.
struct Derived<'a> {
    template: &'a ChatTemplate,
    variables: &'a Map<String, Value>,
    ends: &'a [String],
    now: i64,
}

impl Derived<'_> {
    /// What stands in front of and behind a reply that holds such a word.
    fn around(&self, word: &str) -> Result<[String; 2], ChatError> {
        let (said, reply) = (format!("{word}Said"), format!("{word}Reply"));
        let text = self.rendered(&said, &reply)?;
        let Some(from) = text.find(&said).map(|at| at + said.len()) else {
            return Err(self.refused("it leaves the policy's turn out"));
        };
        let Some(at) = text[from..].find(&reply).map(|at| from + at) else {
            return Err(self.refused("it leaves a user's second turn out"));
        };
        let begins = behind_last_end(&text[from..at], self.ends).map_or(from, |end| from + end);
        let behind = &text[at + reply.len()..];
        if behind.contains(word) {
            return Err(self.refused("it repeats a user's turn"));
        }
        Ok([text[begins..at].to_owned(), behind.to_owned()])
    }

    fn form(&self) -> Result<Form, ChatError> {
        let probe = " a \"quoted\"\n\u{e4} line ";
        let text = self.rendered("Said", probe)?;
        let forms = [Form::AsItIs, Form::Trimmed];
        let found = forms.into_iter().find(|form| text.contains(form.of(probe).as_ref()));
        found.ok_or_else(|| self.refused("it rewrites what a user says"))
    }

    fn rendered(&self, said: &str, reply: &str) -> Result<String, ChatError> {
        let messages = [("user", "Begin."), ("assistant", said), ("user", reply)];
        let as_map = |(role, content): (&str, &str)| {
            json!({ "role": role, "content": content }).as_object().cloned().unwrap_or_default()
        };
        let conversation = Conversation {
            messages: messages.into_iter().map(as_map).collect(),
            variables: self.variables.clone(),
            now: Some(self.now),
            ..Conversation::new(&[], &[], true)
        };
        text_of(self.template, &conversation, |reason| self.refused(reason))
    }

    fn refused(&self, reason: &str) -> ChatError {
        ChatError::Turns(format!(
            "`{}`: replies of an environment cannot be put behind a turn by the chat template: \
             {reason}\nhint: take a policy whose template has turns of a user and an assistant",
            self.template.file().display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(template: &str) -> Result<ReplyTurn, ChatError> {
        let config = json!({ "eos_token": "<|im_end|>" });
        let template = ChatTemplate::new(template, &config).unwrap();
        ReplyTurn::new(&template, &Map::new(), &["<|im_end|>".to_owned()])
    }

    #[test]
    fn a_reply_stands_as_the_users_turn_behind_the_token_that_ended_the_policys() {
        let chatml = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
                      {{ message.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
        let turn = derived(chatml).unwrap();
        assert_eq!(turn.before, "\n<|im_start|>user\n");
        assert_eq!(turn.behind, "<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!(turn.written(" as it is "), " as it is ");
        let trimmed = derived(&chatml.replace("content }}", "content | trim }}")).unwrap();
        assert_eq!(trimmed.written(" a "), "a");
        // that of the small shipped policies ends a turn with nothing
        let small = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\
                     {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
        let turn = derived(small).unwrap();
        assert_eq!((&*turn.before, &*turn.behind), ("<|user|>", "<|assistant|>"));
    }

    #[test]
    fn templates_that_have_no_room_for_a_reply_say_so() {
        for (template, reason) in [
            ("{{ messages[0].content }}", "it leaves the policy's turn out"),
            ("{{ messages[0].content }}{{ messages[1].content }}", "leaves a user's second turn"),
            (
                "{% for m in messages %}{{ m.content }}{% endfor %}{{ messages[2].content }}",
                "it repeats a user's turn",
            ),
            (
                "{% for m in messages %}{{ m.content }}{% endfor %}{{ messages[2].content | length }}",
                "depends on the reply",
            ),
            (
                "{% for m in messages %}{{ m.content | replace('\"', '') }}{% endfor %}",
                "it rewrites what a user says",
            ),
            ("{{ raise_exception('one turn alone') }}", "one turn alone"),
        ] {
            let error = derived(template).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("hint: "), "{template}: {error}");
        }
    }
}
