//! What the guards say about a request: the header, the refusal, the words of both.
//!
//! Promise: never the content; names of a caller's choosing are cut, and freed of whatever looks like a key.
//!
//! The header's grammar: `verdict = word *( "; " name [ "=" item *( "," item ) ] )`, documented in
//! docs/reference/headers.md.

use std::collections::BTreeSet;

use extract::{Medium, UnseenSet};
use injection::{Channel, Kind};
use store::TextHash;
use wire::key_like::without_keys;
use wire::refusal::{Reason, Refusal};

use super::pool::Failure;
use super::reading::{Found, kind_word};
use crate::prepare::INSPECTED_FORM_BYTES_MAX;

/// The header.
pub(crate) const HEADER: &str = "x-sallyport-verdict";
/// Findings that a refusal names; of more, only the number.
const NAMED_MAX: usize = 3;
/// Longest name of a place or field in the header and in refusals, in characters.
const NAME_CHARS_MAX: usize = 96;

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Word {
    /// Nothing was found.
    Pass,
    /// Something was found, and passes.
    Observe,
    /// It is refused.
    Block,
}

impl Word {
    /// In the header, in log lines and metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Word::Pass => "pass",
            Word::Observe => "observe",
            Word::Block => "block",
        }
    }
}

/// Something found, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    /// `messages[2].content`.
    pub(crate) place: String,
    pub(crate) channel: Channel,
    /// Of the whole text.
    pub(crate) hash: TextHash,
    pub(crate) found: Found,
    /// Whether it is refused for it.
    pub(crate) blocks: bool,
}

/// Why texts are not marked that should be.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Unmarked {
    /// The provider would keep the marks.
    pub(crate) is_stored: bool,
    /// They are what can be read of a file that is not all text.
    pub(crate) is_binary: bool,
}

impl Unmarked {
    fn words(self) -> String {
        let words = [(self.is_stored, "stored"), (self.is_binary, "binary")];
        words.into_iter().filter_map(|(is, word)| is.then_some(word)).collect::<Vec<_>>().join(",")
    }
}

/// What the guards say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verdict {
    /// The best finding of each text.
    pub(crate) found: Vec<Placed>,
    /// What cannot be read here.
    pub(crate) media: Vec<Medium>,
    /// A form's parts, which are not read.
    pub(crate) has_unread_parts: bool,
    /// Untrusted text that the model sees and that never passes here.
    pub(crate) unseen: UnseenSet,
    /// Fields that nobody knows; they were read as untrusted.
    pub(crate) unknown: Vec<String>,
    /// How many more of those there were.
    pub(crate) unknown_more: usize,
    /// Why spotlighting was asked for and left out.
    pub(crate) unmarked: Unmarked,
    /// Whether texts or parts of them were left to the cheap stages.
    pub(crate) partly: bool,
    /// How many texts were left to them as a whole.
    pub(crate) unread: usize,
    /// Why texts could not be judged.
    pub(crate) failure: Option<Failure>,
    /// Whether the request is refused for that.
    pub(crate) fails_closed: bool,
    /// Whether the guards still read: what they find is told elsewhere.
    pub(crate) is_pending: bool,
}

impl Verdict {
    /// What becomes of the request.
    pub(crate) fn word(&self) -> Word {
        let blocks = self.fails_closed || self.found.iter().any(|placed| placed.blocks);
        match (blocks, self.found.is_empty()) {
            (true, _) => Word::Block,
            (false, false) => Word::Observe,
            (false, true) => Word::Pass,
        }
    }

    /// The kinds of what was found, each once: `direct,indirect`.
    pub(crate) fn kinds(&self) -> String {
        let kinds: BTreeSet<Kind> = self.found.iter().map(|placed| placed.found.kind).collect();
        kinds.into_iter().map(kind_word).collect::<Vec<_>>().join(",")
    }

    /// The header's value.
    pub(crate) fn header(&self) -> String {
        let mut value = self.word().word().to_owned();
        let mut add = |name: &str, items: String| {
            if !items.is_empty() {
                value.push_str("; ");
                value.push_str(name);
                value.push('=');
                value.push_str(&items);
            }
        };
        add("found", self.kinds());
        let channels: BTreeSet<Channel> = self.found.iter().map(|placed| placed.channel).collect();
        add("in", channels.into_iter().map(Channel::as_str).collect::<Vec<_>>().join(","));
        let parts = self.has_unread_parts.then_some("form");
        add("unscanned", self.media.iter().map(|medium| medium.as_str()).chain(parts).collect::<Vec<_>>().join(","));
        add("unseen", self.unseen.iter().map(|unseen| unseen.as_str()).collect::<Vec<_>>().join(","));
        add("unknown", self.unknown.iter().map(|name| token(name)).collect::<Vec<_>>().join(","));
        if self.unknown_more > 0 {
            add("unknown-more", self.unknown_more.to_string());
        }
        add("unmarked", self.unmarked.words());
        if self.unread > 0 {
            add("unread", self.unread.to_string());
        }
        add("failed", self.failure.map_or_else(String::new, |failure| failure.word().to_owned()));
        if self.partly {
            value.push_str("; partly");
        }
        if self.is_pending {
            value.push_str("; pending");
        }
        value
    }

    /// The refusal of a request that is blocked.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let blocking: Vec<&Placed> = self.found.iter().filter(|placed| placed.blocks).collect();
        let Some(first) = blocking.first() else {
            return self.failure.filter(|_| self.fails_closed).map(unjudged);
        };
        let mut named: Vec<String> = blocking.iter().take(NAMED_MAX).map(|placed| placed.words()).collect();
        if blocking.len() > NAMED_MAX {
            named.push(format!("{} more", blocking.len() - NAMED_MAX));
        }
        let words = format!(
            "The request was blocked by this project's guards: {}. Take that text out and try again; if it is harmless, give the gate's operator this answer's request id: the finding can be marked as wrong.",
            named.join("; ")
        );
        Some(Refusal::new(Reason::ContentFiltered, words).param(shown(&first.place)))
    }
}

/// The refusal of a request that nobody could judge.
pub(crate) fn unjudged(failure: Failure) -> Refusal {
    let words = match failure {
        Failure::Overloaded => "have too much to read right now",
        Failure::Late => "did not finish reading in time",
        Failure::Failed => "failed",
        Failure::Unread => return unread_rest(),
        Failure::TooLong => return unread_text(),
        Failure::Form => return unread_form(),
    };
    let words = format!("The guards that read this request {words}, and it does not pass unread. Retry shortly.");
    Refusal::new(Reason::GuardUnavailable, words).retry_after_ms(1_000).cause(failure.word())
}

/// The refusal of a request of which something was left unread. The next try reads on.
fn unread_rest() -> Refusal {
    let words = "The guards read no more of one request than `guards.windows_max` allows, this one has more text that was not read before, and it does not pass unread. Try again, which reads on, or send less at once.";
    Refusal::new(Reason::GuardUnavailable, words.to_owned()).retry_after_ms(1_000).cause(Failure::Unread.word())
}

/// The refusal of a request with a text of which something is always left unread.
fn unread_text() -> Refusal {
    let words = "The guards read no more of one text than `guards.windows_max` allows, this request has one that is longer, and it does not pass unread. Send it in parts: several messages, or several requests.";
    Refusal::new(Reason::TextUnread, words.to_owned()).cause(Failure::TooLong.word())
}

/// The refusal of a form that nobody reads. Another try would not be read, either.
fn unread_form() -> Refusal {
    let words = format!(
        "The guards read a form before it is sent where its length is announced (Content-Length) and at most {} MB, and this one does not pass unread. Send it so, in parts if need be.",
        INSPECTED_FORM_BYTES_MAX / (1024 * 1024)
    );
    Refusal::new(Reason::FormUnread, words).cause(Failure::Form.word())
}

impl Placed {
    /// For people: `indirect injection in untrusted text at messages[2].content, characters 14 to 56`.
    fn words(&self) -> String {
        let what = match self.found.kind {
            Kind::Direct => "direct injection",
            Kind::Indirect => "indirect injection",
            Kind::Jailbreak => "jailbreak",
            Kind::Extraction => "extraction of instructions",
        };
        let Found { start, end, .. } = self.found;
        format!("{what} in {} text at {}, characters {start} to {end}", self.channel.as_str(), shown(&self.place))
    }
}

/// A place of a caller's naming, fit to be shown.
pub(crate) fn shown(place: &str) -> String {
    without_keys(place).chars().take(NAME_CHARS_MAX).collect()
}

/// A name as an item of the header: other characters than those of a path become `?`.
fn token(name: &str) -> String {
    let plain = |char: char| match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '[' | ']' | '*' => char,
        _ => '?',
    };
    shown(name).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(kind: Kind, place: &str, blocks: bool) -> Placed {
        let found = Found { kind, score: 0.99, start: 3, end: 9, rule: None };
        Placed { place: place.into(), channel: Channel::Untrusted, hash: TextHash([0; 32]), found, blocks }
    }

    #[test]
    fn a_header_says_what_was_found_and_what_nobody_read() {
        assert_eq!(Verdict::default().header(), "pass");
        let mut unseen = UnseenSet::default();
        unseen.insert(extract::Unseen::Mcp);
        let verdict = Verdict {
            found: vec![placed(Kind::Indirect, "a", false), placed(Kind::Direct, "b", false)],
            media: vec![Medium::Image, Medium::Pdf],
            unseen,
            unknown: vec!["x_new".into(), "böse; pass,\r\n".into()],
            unknown_more: 2,
            partly: true,
            unread: 7,
            failure: Some(Failure::Late),
            ..Verdict::default()
        };
        assert_eq!(
            verdict.header(),
            "observe; found=direct,indirect; in=untrusted; unscanned=image,pdf; unseen=mcp; \
             unknown=x_new,b?se??pass???; unknown-more=2; unread=7; failed=late; partly"
        );
        assert!(verdict.refusal().is_none());
    }

    #[test]
    fn a_refusal_names_kinds_and_places_and_never_more_than_a_few() {
        let many = (0..9).map(|number| placed(Kind::Indirect, &format!("messages[{number}].content"), true));
        let verdict = Verdict { found: many.collect(), ..Verdict::default() };
        let refusal = verdict.refusal().expect("blocked");
        assert_eq!((refusal.status(), refusal.code()), (400, Some("content_filter")));
        assert_eq!(refusal.param.as_deref(), Some("messages[0].content"));
        assert!(
            refusal.message.contains("indirect injection in untrusted text at messages[2].content, characters 3 to 9")
        );
        assert!(refusal.message.contains("6 more") && !refusal.message.contains("messages[3]"));
        let verdict = Verdict { failure: Some(Failure::Failed), fails_closed: true, ..Verdict::default() };
        assert_eq!((verdict.word(), verdict.header().as_str()), (Word::Block, "block; failed=failed"));
        assert_eq!(verdict.refusal().expect("refused").status(), 503);
    }

    #[test]
    fn a_form_that_nobody_read_is_refused_with_what_would_be_read() {
        let verdict =
            Verdict { has_unread_parts: true, failure: Some(Failure::Form), fails_closed: true, ..Verdict::default() };
        assert_eq!(verdict.header(), "block; unscanned=form; failed=form");
        let refusal = verdict.refusal().expect("refused");
        assert_eq!((refusal.status(), refusal.code()), (413, Some("form_unread")));
        assert!(refusal.message.contains("Content-Length") && refusal.message.contains("16 MB"), "{refusal}");
        assert_eq!(refusal.retry_after_ms, None, "no other try is read, either");
    }
}
