//! The cheap stages: every text is found, and looked at for tens of microseconds a kilobyte.
//!
//! Promise: a detector that panics costs the request its verdict, not the worker its life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use aws_lc_rs::rand;
use extract::{Extracted, FormReader, Key, Medium, Text, Unseen, UnseenSet, is_marked, spotlight};
use injection::{Channel, Glance, Pending};
use store::{GuardMode, Spotlight, Threshold};
use wire::multipart::{Event, MultipartError, Parser, boundary};

use super::Case;
use super::guards::score;
use super::pool::Failure;
use super::reading::{Reading, hash};
use super::verdict::Verdict;
use crate::prepare::BodyKind;

/// A form is walked in pieces of this size, so that its texts are looked at as they are found.
const PIECE_BYTES: usize = 64 * 1024;

/// Where a text stands, and whose it is.
pub(super) struct Spot {
    pub(super) channel: Channel,
    pub(super) at: usize,
    pub(super) part: Option<Arc<str>>,
}

/// A text that the transformer has to read.
pub(super) struct Unsure {
    pub(super) spot: Spot,
    /// `None` once it is on its way to the threads.
    pub(super) pending: Option<Pending<'static>>,
    /// Of its text.
    pub(super) bytes: usize,
    /// Windows that it takes to read it whole, or all that a request has.
    pub(super) windows: usize,
    /// Whether there was no window left for it.
    pub(super) is_unread: bool,
    /// In millionths.
    pub(super) threshold: u32,
    /// What it is remembered by.
    pub(super) key: Key,
    /// What it is remembered by if parts of it were left to the cheap stages.
    pub(super) partly_key: Key,
    /// Whether it was read so before. Then others come first.
    pub(super) was_read: bool,
}

/// What the cheap stages saw.
#[derive(Default)]
pub(super) struct Looked {
    /// What they are sure of, as far as there is something to say about it.
    pub(super) judged: Vec<(Spot, Reading)>,
    pub(super) unsure: Vec<Unsure>,
    pub(super) media: Vec<Medium>,
    pub(super) unseen: UnseenSet,
    pub(super) unknown: Vec<String>,
    pub(super) unknown_more: usize,
    pub(super) has_unread_parts: bool,
    pub(super) failure: Option<Failure>,
    /// The body with its untrusted texts marked, where the project asks for that.
    pub(super) lit: Option<Vec<u8>>,
    /// Whether they were to be marked and are not: see [`Case::is_kept`].
    pub(super) unmarked: bool,
}

impl Looked {
    fn failed() -> Looked {
        Looked { failure: Some(Failure::Failed), ..Looked::default() }
    }

    /// What is known of the verdict before the transformer has read.
    pub(super) fn early(&self) -> Verdict {
        Verdict {
            media: self.media.clone(),
            has_unread_parts: self.has_unread_parts,
            unseen: self.unseen,
            unknown: self.unknown.clone(),
            unknown_more: self.unknown_more,
            is_pending: true,
            ..Verdict::default()
        }
    }

    /// Keeps what there is something to say about.
    pub(super) fn note(&mut self, spot: Spot, reading: Reading) {
        if !reading.found.is_empty() || reading.partly {
            self.judged.push((spot, reading));
        }
    }
}

/// The same on a thread where a long body keeps no other request waiting, as many at once as there are cores.
pub(super) async fn look_off_thread(case: Case, kind: BodyKind) -> (Case, Looked) {
    // Kept by the look itself, which goes on when its caller leaves. Nobody closes it.
    let turn = Arc::clone(&case.gate.guards.looks).acquire_owned().await;
    let case = Arc::new(case);
    let looking = Arc::clone(&case);
    let look = move || {
        let _turn = turn;
        looking.look(&kind)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let looked = looked.unwrap_or_else(|_| Looked::failed());
    (Arc::into_inner(case).expect("the look is over, and had the only other copy"), looked)
}

impl Case {
    /// What the cheap stages see.
    pub(super) fn look(&self, kind: &BodyKind) -> Looked {
        let look = || match kind {
            BodyKind::Nothing => Looked::default(),
            BodyKind::Json => self.look_at_json(),
            BodyKind::Form(content_type) => self.look_at_form(content_type).unwrap_or_else(|_| Looked::failed()),
            BodyKind::Unread => Looked { has_unread_parts: true, ..Looked::default() },
        };
        catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| Looked::failed())
    }

    fn look_at_json(&self) -> Looked {
        // It was read before by the same reader.
        let Ok(extracted) = extract::extract(self.teller.endpoint, &self.body) else { return Looked::failed() };
        let is_wanted = self.project.guards.spotlight != Spotlight::Off;
        let mut looked = Looked::default();
        if is_wanted && self.is_kept(extracted.unseen) {
            looked.unmarked = extracted.texts.iter().any(is_marked);
        } else {
            looked.lit = self.lit(&extracted);
        }
        self.look_at(extracted, &mut looked);
        looked
    }

    fn look_at_form(&self, content_type: &str) -> Result<Looked, MultipartError> {
        let (mut looked, mut events) = (Looked::default(), Vec::new());
        let (mut parser, mut form) = (Parser::new(&boundary(content_type)?), FormReader::new(self.teller.endpoint));
        let mut rest = self.body.clone();
        while !rest.is_empty() {
            parser.push(&rest.split_to(rest.len().min(PIECE_BYTES)), &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Begin(part) => form.begin(&part.name, part.file_name.as_deref()),
                    Event::Data(data) => form.data(&data),
                    Event::End => form.end(),
                }
            }
            form.drain().into_iter().for_each(|text| self.look_at_text(text, &mut looked));
        }
        self.look_at(form.finish(), &mut looked);
        Ok(looked)
    }

    fn look_at(&self, extracted: Extracted<'_>, looked: &mut Looked) {
        looked.media = extracted.media().collect();
        looked.unseen = extracted.unseen;
        looked.unknown_more = extracted.unknown_count.saturating_sub(extracted.unknown_fields.len());
        looked.unknown = extracted.unknown_fields;
        extracted.texts.into_iter().for_each(|text| self.look_at_text(text, looked));
    }

    fn look_at_text(&self, text: Text<'_>, looked: &mut Looked) {
        let (guard, channel) = (self.project.guards.channel(text.channel), text.channel);
        if guard.mode == GuardMode::Off || text.text.is_empty() {
            return;
        }
        if let Some(by) = self.judged_by(text, guard.threshold, looked) {
            self.gate.metrics.guards.texts(channel.as_str(), by, 1);
        }
    }

    /// Looks at one text; how it was judged, if it was.
    fn judged_by(&self, text: Text<'_>, threshold: Threshold, looked: &mut Looked) -> Option<&'static str> {
        let (guards, channel) = (&self.gate.guards, text.channel);
        let settings = &self.project.guards;
        if !settings.allow.is_empty() && settings.allows(channel, hash(&text.text)) {
            return Some("allowed");
        }
        let threshold = guards.threshold(threshold, channel);
        let key = guards.memory.key(channel, &text.text, self.generation);
        // What was found is read again: somebody wants to know where.
        if guards.memory.recall(key).is_some_and(|known| known < score(threshold)) {
            return Some("remembered");
        }
        let spot = Spot { channel, at: text.at.start, part: text.part };
        match self.detector.glance(&text.text, channel, score(threshold)) {
            Glance::Sure(judgement) => {
                guards.memory.note(key, judgement.score);
                looked.note(spot, Reading::of(&text.text, judgement));
                Some("glanced")
            }
            Glance::Unsure(pending) => {
                let (windows, bytes) = (self.detector.windows(&pending, guards.limits.windows_max), text.text.len());
                let pending = Some(pending.into_owned());
                let partly_key = guards.memory.key(channel, &text.text, !self.generation);
                let was_read = guards.memory.recall(partly_key).is_some_and(|known| known < score(threshold));
                let is_unread = false;
                let unsure = Unsure { spot, pending, bytes, windows, is_unread, threshold, key, partly_key, was_read };
                looked.unsure.push(unsure);
                None
            }
        }
    }

    /// Whether the provider keeps the request's texts, to show them later or to go on from them: marks would be kept,
    /// too. Responses are stored unless the caller says no, chat completions if the caller says so.
    fn is_kept(&self, unseen: UnseenSet) -> bool {
        let is_stored = match self.teller.endpoint.path {
            "/v1/responses" => self.store != Some(false),
            "/v1/chat/completions" => self.store == Some(true),
            _ => false,
        };
        is_stored || unseen.contains(Unseen::Conversation)
    }

    /// The body with its untrusted texts marked.
    fn lit(&self, extracted: &Extracted<'_>) -> Option<Vec<u8>> {
        let how = match self.project.guards.spotlight {
            Spotlight::Off => return None,
            Spotlight::Delimit => extract::Spotlight::Delimit,
            Spotlight::Datamark => extract::Spotlight::Datamark,
        };
        let mut random = [0; 8];
        // Without randomness a text could know its mark: then it is not sent marked, but not at all (`look` fails).
        rand::fill(&mut random).expect("the system's randomness works: TLS does not without it, either");
        let lit = spotlight(self.teller.endpoint, &self.body, &extracted.texts, how, u64::from_le_bytes(random));
        lit.map(|lit| lit.body)
    }
}
