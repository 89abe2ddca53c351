//! The texts of a multipart form, read along while it passes.
//!
//! Promises: fields have the rules of the table; files of text are read whatever they call themselves, JSON lines line
//! by line; what a file says has roles only where the form's purpose gives them (see [`Purpose`]); texts are handed out
//! as they are found, so that a file of any size takes the memory of a few stretches; what is found does not depend on
//! how the bytes were split.

use std::borrow::Cow;
use std::sync::Arc;

use wire::json::scan;

use crate::class::{Class, is_name, is_word, shown};
use crate::file::{self, Reading, SNIFFED_BYTES};
use crate::lines::Lines;
use crate::purpose::Purpose;
use crate::stretch::Stretches;
use crate::table::{NodeId, Table, UNKNOWN};
use crate::text::{Extracted, Form, Medium, Origin, Text, Unscanned};
use crate::walk::Walk;

/// Longest field that is read as a whole, in bytes; longer ones are read as stretches of text.
pub const FIELD_BYTES_MAX: usize = 256 * 1024;

/// Reads a form. The calls follow the events of `wire::multipart`.
#[derive(Debug)]
pub struct FormReader {
    root: NodeId,
    purpose: Purpose,
    part: Option<Part>,
    found: Extracted<'static>,
}

#[derive(Debug)]
struct Part {
    name: Arc<str>,
    node: NodeId,
    keep: Keep,
}

/// What is done with a part's bytes.
#[derive(Debug)]
enum Keep {
    /// A field, until its end.
    Field(Vec<u8>),
    /// The first bytes of a file, until it is known what it is.
    Head(Vec<u8>),
    Text(Stretches),
    Lines(Lines),
    /// They pass.
    Nothing,
}

impl FormReader {
    /// A reader for forms of an endpoint whose files are documents.
    pub fn new(endpoint: &wire::endpoint::Endpoint) -> FormReader {
        let (root, purpose) = (Table::shared().root(endpoint), Purpose::default());
        FormReader { root, purpose, part: None, found: Extracted::default() }
    }

    /// The same for forms whose files are for something else.
    #[must_use]
    pub fn with_purpose(self, purpose: Purpose) -> FormReader {
        FormReader { purpose, ..self }
    }

    /// A part begins.
    pub fn begin(&mut self, name: &str, file_name: Option<&str>) {
        let node = Table::shared().field(self.root, name);
        // What is no word is a text, and findings show places, never texts.
        let part: Arc<str> = shown(name).into();
        let class = Table::shared().node(node).class;
        let is_file = file_name.is_some() || matches!(class, Some(Class::File | Class::Media(_)));
        if let Some(file_name) = file_name.filter(|name| !is_name(name)) {
            self.add(Origin::File, &part, file_name);
        }
        if node == UNKNOWN && !is_word(name) {
            self.add(Origin::Unknown, &part, name);
        }
        if node == UNKNOWN && is_file {
            self.found.note_unknown(shown(name));
        }
        let keep = match class {
            Some(Class::Unread) if !is_file => Keep::Nothing,
            _ if is_file => Keep::Head(Vec::new()),
            _ => Keep::Field(Vec::new()),
        };
        self.part = Some(Part { name: part, node, keep });
    }

    /// Bytes of the part.
    pub fn data(&mut self, data: &[u8]) {
        let Some(part) = &mut self.part else { return };
        match &mut part.keep {
            Keep::Field(kept) => {
                kept.extend_from_slice(data);
                if kept.len() > FIELD_BYTES_MAX {
                    let kept = std::mem::take(kept);
                    let origin = match Table::shared().node(part.node).class {
                        Some(Class::Text(origin) | Class::Loose(origin)) => origin,
                        _ => Origin::Odd,
                    };
                    let mut text = Stretches::new(Arc::clone(&part.name), origin, 0, Reading::Narrow);
                    text.push(&kept, &mut self.found.texts);
                    part.keep = Keep::Text(text);
                }
            }
            Keep::Head(kept) => {
                let room = SNIFFED_BYTES - kept.len();
                let (head, rest) = data.split_at(room.min(data.len()));
                kept.extend_from_slice(head);
                if kept.len() == SNIFFED_BYTES {
                    self.look();
                    self.data(rest);
                }
            }
            Keep::Text(text) => text.push(data, &mut self.found.texts),
            Keep::Lines(lines) => lines.push(data, &mut self.found),
            Keep::Nothing => {}
        }
    }

    /// The part ends.
    pub fn end(&mut self) {
        if matches!(&self.part, Some(Part { keep: Keep::Head(_), .. })) {
            self.look();
        }
        let Some(part) = self.part.take() else { return };
        match part.keep {
            Keep::Field(value) => self.read_field(part.node, &part.name, &value),
            Keep::Text(text) => text.end(&mut self.found.texts),
            Keep::Lines(lines) => lines.end(&mut self.found),
            Keep::Head(_) | Keep::Nothing => {}
        }
    }

    /// The texts that are whole by now.
    pub fn drain(&mut self) -> Vec<Text<'static>> {
        std::mem::take(&mut self.found.texts)
    }

    /// What was found, but for texts that were taken before.
    pub fn finish(mut self) -> Extracted<'static> {
        self.end();
        self.found
    }

    fn add(&mut self, origin: Origin, part: &Arc<str>, text: &str) {
        let (part, text) = (Some(Arc::clone(part)), Cow::Owned(text.to_owned()));
        self.found.texts.push(Text {
            channel: origin.channel(),
            origin,
            at: 0..0,
            form: Form::Key,
            part,
            text,
            pieces: Vec::new(),
        });
    }

    /// Decides what a file is by its first bytes.
    fn look(&mut self) {
        let Some(Part { name, node, keep }) = &mut self.part else { return };
        let Keep::Head(head) = std::mem::replace(keep, Keep::Nothing) else { return };
        let (sniffed, reading) = file::sniff(&head);
        if let Some(sniffed) = sniffed {
            let medium = match Table::shared().node(*node).class {
                Some(Class::Media(medium)) if sniffed == Medium::Binary => medium,
                _ => sniffed,
            };
            self.found.unscanned.push(Unscanned { medium, at: 0..0, part: Some(Arc::clone(name)) });
        }
        *keep = if self.purpose == Purpose::Lines && reading == Reading::Narrow && Lines::may_be(&head) {
            Keep::Lines(Lines::new(Arc::clone(name)))
        } else {
            Keep::Text(Stretches::new(Arc::clone(name), Origin::File, 0, reading))
        };
        self.data(&head);
    }

    /// A field: a value, or a document where the table has members.
    fn read_field(&mut self, node: NodeId, name: &Arc<str>, value: &[u8]) {
        if Table::shared().node(node).has_members() && value.trim_ascii_start().first() == Some(&b'{') {
            let mut walk = Walk::new(node, value.len());
            if scan(value, &mut walk).is_ok() {
                return self.found.absorb(walk.finish(), name);
            }
        }
        let mut walk = Walk::field(self.root, node, name);
        walk.value(0..value.len(), Form::Bytes, String::from_utf8_lossy(value));
        self.found.absorb(walk.finish(), name);
    }
}
