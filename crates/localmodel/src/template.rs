//! The chat template: messages in, prompt tokens out.
//!
//! Promises: exactly what the file's Jinja template means. The model is trained on one template, so it is written out
//! here and held against the file's text when the model is loaded, instead of being interpreted for each request.
//! Control tokens come from the template only: a message that contains `<|im_end|>` contains those letters.

use std::collections::HashMap;

use crate::gguf::{GgufError, Value};
use crate::tokenizer::Tokenizer;

/// The template that [`Template::encode`] implements, as the model file holds it.
pub(crate) const JINJA: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}\
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const DEFAULT_SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The template's role.
    pub(crate) role: &'static str,
    pub(crate) content: String,
}

/// The control tokens of the template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    start: u32,
    end: u32,
    end_of_text: u32,
}

impl Template {
    pub(crate) fn from_metadata(
        metadata: &HashMap<String, Value>,
        tokenizer: &Tokenizer,
    ) -> Result<Template, GgufError> {
        if metadata.get("tokenizer.chat_template") != Some(&Value::Text(JINJA.into())) {
            return Err(GgufError::Malformed("its chat template is not the one that is built in".into()));
        }
        let control = |name: &str| {
            tokenizer.control(name).ok_or_else(|| GgufError::Malformed(format!("it has no control token `{name}`")))
        };
        Ok(Template {
            start: control("<|im_start|>")?,
            end: control("<|im_end|>")?,
            end_of_text: control("<|endoftext|>")?,
        })
    }

    /// The prompt of a conversation, up to where the assistant speaks. Stops early once it is longer than `max`.
    pub(crate) fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], max: usize) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut turn = |role: &str, content: &str| {
            ids.push(self.start);
            tokenizer.encode(&format!("{role}\n{content}"), max, &mut ids);
            ids.push(self.end);
            tokenizer.encode("\n", max, &mut ids);
        };
        if messages.first().is_some_and(|first| first.role != "system") {
            turn("system", DEFAULT_SYSTEM);
        }
        messages.iter().for_each(|message| turn(message.role, &message.content));
        ids.push(self.start);
        tokenizer.encode("assistant\n", max, &mut ids);
        ids
    }

    /// Whether a token ends the answer.
    pub(crate) fn ends(&self, token: u32) -> bool {
        token == self.end || token == self.end_of_text
    }
}
