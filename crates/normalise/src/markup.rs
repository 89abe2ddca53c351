//! HTML, XML and Markdown: what a reader of the source would read past.
//!
//! Tags of known elements go, their text-bearing attribute values and all comments stay as text; what stands inside a
//! word (`ig<b></b>nore`, `ig**nore**`) goes without leaving a gap. Hidden elements need no rule: their text stays.

use std::ops::Range;

use memchr::{memchr3, memmem};

use crate::changes::Change;
use crate::map::{Rewrite, Rewritten};
use crate::unicode::char_at;

/// Bytes of the longest tag that is looked for. What was searched in vain is not searched again.
const TAG_BYTES_MAX: usize = 2048;

/// Tags that follow each other and are taken for one gap inside a word.
const GROUP_MAX: usize = 8;
/// Bytes of an element's name that are read: one more than the longest known one has.
const NAME_BYTES_MAX: usize = 11;

/// Elements that make no gap between words.
const INLINE: [&str; 26] = [
    "a", "abbr", "b", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "label", "mark", "nobr",
    "q", "s", "small", "span", "strike", "strong", "sub", "sup", "u", "wbr",
];
/// The other elements whose tags are taken away. XML's own names stay: they may be words of the text.
const BLOCK: [&str; 62] = [
    "address",
    "article",
    "aside",
    "audio",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "center",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "iframe",
    "img",
    "input",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "noscript",
    "object",
    "ol",
    "option",
    "p",
    "pre",
    "script",
    "section",
    "select",
    "source",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "th",
    "title",
    "tr",
    "ul",
];
/// Attributes whose values are text.
const TEXTUAL: [&str; 8] = ["alt", "content", "description", "label", "placeholder", "summary", "title", "value"];

/// Takes the markup off.
pub(crate) fn rewrite(text: &str) -> Option<Rewritten> {
    let mut out = Rewrite::of(text);
    let bytes = text.as_bytes();
    let (mut at, mut searched, mut comment_end) = (0, 0, None);
    // Where the tags began that end at `at`.
    let mut group = 0;
    loop {
        let next = memchr3(b'<', b'*', b'`', &bytes[at..]).map(|offset| at + offset);
        // A tag that was taken away may have swallowed the comment's end.
        comment_end = comment_end.filter(|end| *end >= at);
        if let Some(end) = comment_end.filter(|end| next.is_none_or(|next| *end < next)) {
            out.replace(end..end + 3, " ", Change::Markup);
            at = end + 3;
            comment_end = None;
            continue;
        }
        let Some(start) = next else { break };
        if start != at || bytes.get(start.wrapping_sub(1)) != Some(&b'>') {
            group = start;
        }
        at = match bytes[start] {
            b'<' if start >= searched => match tag(&mut out, text, start, group) {
                Ok(end) => end,
                Err(end) => {
                    searched = end;
                    start + 1
                }
            },
            b'<' => start + 1,
            _ => emphasis(&mut out, text, start),
        };
        if comment_end.is_none() && bytes[start..].starts_with(b"<!--") && at == start + 4 {
            comment_end = memmem::find(&bytes[at..], b"-->").map(|offset| at + offset);
            if comment_end.is_none() {
                // No comment ends any more.
                searched = bytes.len();
            }
        }
    }
    out.finish()
}

/// Whether letters stand on both sides, of a script that has words with gaps between them.
fn in_word(text: &str, start: usize, end: usize) -> bool {
    let cased = |symbol: char| symbol.is_lowercase() || symbol.is_uppercase();
    text[..start].chars().next_back().is_some_and(cased) && char_at(text, end).is_some_and(cased)
}

fn emphasis(out: &mut Rewrite<'_>, text: &str, at: usize) -> usize {
    let end = at + text.as_bytes()[at..].iter().take_while(|byte| matches!(byte, b'*' | b'`')).count();
    if end - at <= 3 && in_word(text, at, end) {
        out.replace(at..end, "", Change::MarkupInWord);
    }
    end
}

/// Handles what `<` begins; `group` is where the tags right before it begin. `Ok`: go on there. `Err`: no tag, and no use in
/// looking before there.
fn tag(out: &mut Rewrite<'_>, text: &str, at: usize, group: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    if rest.starts_with(b"<!--") {
        // An empty comment inside a word goes whole.
        let blank = rest[4..].iter().take(16).take_while(|byte| byte.is_ascii_whitespace()).count();
        let end = at + 4 + blank + 3;
        if rest[4 + blank..].starts_with(b"-->") && in_word(text, at, end) {
            out.replace(at..end, "", Change::MarkupInWord);
            return Ok(end);
        }
        out.replace(at..at + 4, " ", Change::Markup);
        return Ok(at + 4);
    }
    if rest.starts_with(b"<![CDATA[") {
        out.replace(at..at + 9, " ", Change::Markup);
        return Ok(at + 9);
    }
    let Some((name_end, inline)) = element(bytes, at) else { return Err(at + 1) };
    let end = tag_end(bytes, name_end)?;
    if inline {
        let mut group_end = end;
        for _ in 1..GROUP_MAX {
            match element(bytes, group_end) {
                Some((name_end, true)) => match tag_end(bytes, name_end) {
                    Ok(end) => group_end = end,
                    Err(_) => break,
                },
                _ => break,
            }
        }
        if in_word(text, at, group_end) {
            out.replace(at..group_end, "", Change::MarkupInWord);
            return Ok(group_end);
        }
    }
    // Tags instead of a gap between two words: the raw form has no gap there.
    let change = if in_word(text, group, end) { Change::MarkupInWord } else { Change::Markup };
    lay_open(out, text, at..end, name_end, change);
    Ok(end)
}

/// The end of the name of the known element whose tag begins at `at`, and whether it makes no gap between words.
fn element(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let rest = bytes.get(at..)?.strip_prefix(b"<")?;
    let start = at + 1 + usize::from(rest.first() == Some(&b'/'));
    let len = bytes[start..].iter().take(NAME_BYTES_MAX).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = bytes[start..start + len].to_ascii_lowercase();
    let is = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    let inline = is(&INLINE);
    (inline || is(&BLOCK)).then_some((start + len, inline))
}

/// Just behind the `>` that closes a tag; where the search ended, if there is none.
fn tag_end(bytes: &[u8], from: usize) -> Result<usize, usize> {
    let limit = bytes.len().min(from + TAG_BYTES_MAX);
    let mut quote = 0;
    for (offset, &byte) in bytes[from..limit].iter().enumerate() {
        match byte {
            b'"' | b'\'' if quote == 0 => quote = byte,
            _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
            b'>' => return Ok(from + offset + 1),
            b'<' => return Err(from + offset),
            _ => {}
        }
    }
    Err(limit)
}

/// Replaces a tag by a blank and those of its attribute values that are text.
fn lay_open(out: &mut Rewrite<'_>, text: &str, tag: Range<usize>, mut at: usize, change: Change) {
    let bytes = text.as_bytes();
    let (mut open, end) = (tag.start, tag.end);
    while let Some(equals) = bytes[at..end].iter().position(|byte| *byte == b'=').map(|offset| at + offset) {
        let name = bytes[at..equals].rsplit(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-')).next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        at = equals + 1;
        let Some(&quote @ (b'"' | b'\'')) = bytes.get(at) else { continue };
        let Some(len) = bytes[at + 1..end].iter().position(|byte| *byte == quote) else { break };
        let value = at + 1..at + 1 + len;
        at = value.end + 1;
        let textual = TEXTUAL.iter().any(|known| known.as_bytes() == name)
            || name.starts_with(b"aria-")
            || name.starts_with(b"data-");
        if textual && bytes[value.clone()].contains(&b' ') {
            out.replace(open..value.start, " ", change);
            open = value.end;
        }
    }
    out.replace(open..end, " ", change);
}
