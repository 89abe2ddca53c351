//! One request while it runs: which rows it wants computed next, and what becomes of the logits.
//!
//! Promises: the prompt is computed once, however many choices are asked for; what is sent is bounded by what the
//! consumer takes, because a sequence whose outbox is not empty asks for nothing; counts are exact, and include the
//! token that ended a choice.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::forward::Row;
use crate::refusal::LocalRefusal;
use crate::sampler::{Sampler, Sampling, log_probabilities};
use crate::template::{Message, Template};
use crate::text::{Added, TextStream};
use crate::tokenizer::Tokenizer;

/// What a request asks of the engine, whichever endpoint it came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generation {
    pub(crate) messages: Vec<Message>,
    /// The body's name for the conversation, for a refusal.
    pub(crate) messages_param: &'static str,
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    /// Most tokens a choice may have; the context bounds it too.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stops: Vec<String>,
    pub(crate) choices: usize,
    /// Whether log probabilities are wanted, and of how many likeliest tokens beside the chosen one.
    pub(crate) logprobs: Option<usize>,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// The bound on tokens, or the end of the context.
    Length,
}

/// A token's bytes and its log probability.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Likelihood {
    pub(crate) bytes: Vec<u8>,
    pub(crate) logprob: f32,
}

/// A generated token with the likeliest alternatives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenLogprob {
    pub(crate) chosen: Likelihood,
    pub(crate) top: Vec<Likelihood>,
}

/// What the engine tells the consumer, in this order: `Refused` alone, or `Started`, then for each choice `Text` any
/// number of times and `Ended`, then `Done`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    Refused(LocalRefusal),
    Started { prompt_tokens: usize },
    Text { choice: usize, text: String, logprobs: Vec<TokenLogprob> },
    Ended { choice: usize, finish: Finish },
    Done { completion_tokens: usize },
}

/// A request on its way through the queue.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) generation: Generation,
    pub(crate) progress: Sender<Progress>,
}

/// What every sequence needs of the model, beside the engine.
pub(crate) struct Language {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: Template,
    pub(crate) context_tokens: usize,
}

impl Language {
    /// Refuses text that cannot fit, before anybody encodes it or lets it wait.
    ///
    /// # Errors
    /// 400 if there are more bytes than the context's tokens could stand for.
    pub(crate) fn check_size(&self, generation: &Generation) -> Result<(), LocalRefusal> {
        let bytes: usize = generation.messages.iter().map(|message| message.content.len()).sum();
        // A turn has its two marks, however little is in it.
        let tokens = 2 * generation.messages.len() + bytes / self.tokenizer.longest_bytes;
        if tokens > self.context_tokens { Err(self.too_long(generation, tokens)) } else { Ok(()) }
    }

    /// The prompt's tokens.
    ///
    /// # Errors
    /// 400 if no token of an answer would fit behind it.
    fn prompt(&self, generation: &Generation) -> Result<Vec<u32>, LocalRefusal> {
        let prompt = self.template.encode(&self.tokenizer, &generation.messages, self.context_tokens);
        if prompt.len() < self.context_tokens { Ok(prompt) } else { Err(self.too_long(generation, prompt.len())) }
    }

    fn too_long(&self, generation: &Generation, tokens: usize) -> LocalRefusal {
        LocalRefusal::context(generation.messages_param, self.context_tokens, tokens)
    }
}

/// A running request.
pub(crate) struct Sequence {
    language: Arc<Language>,
    job: Job,
    prompt: Vec<u32>,
    /// Prompt tokens computed so far.
    fed: usize,
    /// The token to compute next, once the prompt is.
    next: Option<u32>,
    /// The logits behind the prompt, from which every choice starts.
    prompt_logits: Vec<f32>,
    choice: Choice,
    completion_tokens: usize,
    outbox: VecDeque<Progress>,
    over: bool,
}

/// The choice that is being generated.
struct Choice {
    index: usize,
    tokens: usize,
    sampler: Sampler,
    text: TextStream,
    /// Tokens whose text is still held back, with where it begins in the choice.
    held: VecDeque<(usize, TokenLogprob)>,
    bytes_made: usize,
    bytes_shown: usize,
}

impl Choice {
    fn new(generation: &Generation, index: usize) -> Choice {
        Choice {
            index,
            tokens: 0,
            sampler: Sampler::new(generation.seed, index),
            text: TextStream::new(&generation.stops),
            held: VecDeque::new(),
            bytes_made: 0,
            bytes_shown: 0,
        }
    }

    /// The message that shows `added`, if it has anything to show.
    fn shown(&mut self, added: Added) -> Option<Progress> {
        self.bytes_shown += added.bytes;
        let mut logprobs = Vec::new();
        while self.held.front().is_some_and(|(begins, _)| *begins < self.bytes_shown) {
            logprobs.extend(self.held.pop_front().map(|(_, logprob)| logprob));
        }
        let some = !added.text.is_empty() || !logprobs.is_empty();
        some.then_some(Progress::Text { choice: self.index, text: added.text, logprobs })
    }
}

impl Sequence {
    /// Starts a request: encodes its prompt, or refuses it.
    pub(crate) fn start(language: &Arc<Language>, job: Job) -> Sequence {
        let (prompt, first, over) = match language.prompt(&job.generation) {
            Ok(prompt) => {
                let first = Progress::Started { prompt_tokens: prompt.len() };
                (prompt, first, false)
            }
            Err(refusal) => (Vec::new(), Progress::Refused(refusal), true),
        };
        Sequence {
            language: Arc::clone(language),
            choice: Choice::new(&job.generation, 0),
            job,
            prompt,
            fed: 0,
            next: None,
            prompt_logits: Vec::new(),
            completion_tokens: 0,
            outbox: VecDeque::from([first]),
            over,
        }
    }

    /// Whether nothing is left to compute or to send, or nobody listens any more.
    pub(crate) fn is_finished(&self) -> bool {
        self.job.progress.is_closed() || (self.over && self.outbox.is_empty())
    }

    /// Sends what the consumer has room for. False if it has no room for all.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(progress) = self.outbox.pop_front() {
            match self.job.progress.try_send(progress) {
                Ok(()) => {}
                Err(TrySendError::Full(progress)) => {
                    self.outbox.push_front(progress);
                    return false;
                }
                // Noticed by `is_finished`.
                Err(TrySendError::Closed(_)) => return true,
            }
        }
        true
    }

    /// Whether the next row is a generated token and not a part of the prompt.
    pub(crate) fn is_decoding(&self) -> bool {
        self.next.is_some()
    }

    /// Appends the rows to compute next, at most `max`.
    pub(crate) fn rows(&self, slot: usize, max: usize, rows: &mut Vec<Row>) {
        if self.over || !self.outbox.is_empty() {
            return;
        }
        if let Some(token) = self.next {
            let position = self.prompt.len() + self.choice.tokens - 1;
            rows.push(Row { slot, position, token, wants_logits: true });
            return;
        }
        let last = self.prompt.len() - 1;
        let part = self.prompt.iter().enumerate().skip(self.fed).take(max);
        rows.extend(part.map(|(position, &token)| Row { slot, position, token, wants_logits: position == last }));
    }

    /// Notes that `count` rows of the prompt were computed; `logits` are there once it was the last of them.
    pub(crate) fn advance(&mut self, count: usize, logits: Option<Vec<f32>>) {
        if self.next.is_none() {
            self.fed += count;
        }
        let Some(logits) = logits else { return };
        if self.next.is_none() && self.job.generation.choices > 1 {
            self.prompt_logits.clone_from(&logits);
        }
        let mut logits = logits;
        // A choice that ends lets the next one begin at once, from the prompt's logits.
        while let Some(finish) = self.take_token(&mut logits) {
            if !self.end_choice(finish) {
                return;
            }
            logits.clone_from(&self.prompt_logits);
        }
    }

    /// Chooses a token and shows its text. Gives why the choice ended, if it did.
    fn take_token(&mut self, logits: &mut [f32]) -> Option<Finish> {
        let generation = &self.job.generation;
        let language = Arc::clone(&self.language);
        let unbiased = generation.logprobs.map(|_| logits.to_vec());
        let token = self.choice.sampler.choose(logits, &generation.sampling);
        self.choice.tokens += 1;
        self.completion_tokens += 1;
        if language.template.ends(token) {
            return Some(Finish::Stop);
        }
        let bytes = language.tokenizer.bytes(token);
        if let (Some(top), Some(unbiased)) = (generation.logprobs, unbiased) {
            let logprob = token_logprob(&language.tokenizer, &unbiased, token, top);
            self.choice.held.push_back((self.choice.bytes_made, logprob));
        }
        self.choice.bytes_made += bytes.len();
        let added = self.choice.text.push(bytes);
        let stopped = added.stopped;
        self.outbox.extend(self.choice.shown(added));
        if stopped {
            // What is held is the stop string: it is never shown, and its tokens neither.
            self.choice.text = TextStream::new(&[]);
            self.choice.held.clear();
            return Some(Finish::Stop);
        }
        let full = self.prompt.len() + self.choice.tokens >= language.context_tokens;
        if full || generation.max_tokens == Some(self.choice.tokens) {
            return Some(Finish::Length);
        }
        self.next = Some(token);
        None
    }

    /// Ends the choice. True if another one follows.
    fn end_choice(&mut self, finish: Finish) -> bool {
        let rest = self.choice.text.finish();
        self.outbox.extend(self.choice.shown(rest));
        self.outbox.push_back(Progress::Ended { choice: self.choice.index, finish });
        self.next = None;
        let index = self.choice.index + 1;
        if index < self.job.generation.choices {
            self.choice = Choice::new(&self.job.generation, index);
            return true;
        }
        self.outbox.push_back(Progress::Done { completion_tokens: self.completion_tokens });
        self.over = true;
        false
    }
}

fn token_logprob(tokenizer: &Tokenizer, logits: &[f32], token: u32, top: usize) -> TokenLogprob {
    let likelihood = |token: u32, logprob: f32| Likelihood { bytes: tokenizer.bytes(token).to_vec(), logprob };
    let (chosen, top) = log_probabilities(logits, token, top);
    TokenLogprob {
        chosen: likelihood(token, chosen),
        top: top.into_iter().map(|(token, logprob)| likelihood(token, logprob)).collect(),
    }
}
