//! The walk through a JSON body: each string is held against the table where it stands.
//!
//! Promises: one pass, no tree; every string that is a value comes out once, as a text, as something unscanned, or
//! passes as the one word that its field is for; empty ones have nothing to say.

use std::borrow::Cow;
use std::ops::Range;

use wire::json::{Element, Kind, Literal, Member, Visit, Visitor};

use crate::class::{Class, is_name, is_stored_source, is_word, shown, unseen_of_type};
use crate::file;
use crate::seams::seams;
use crate::table::{NodeId, Table, UNKNOWN};
use crate::text::{Extracted, Form, Medium, Origin, Text, UNKNOWN_FIELDS_MAX, Unscanned, Unseen};
use crate::tokens::{self, TokenArray};

/// An object with a role.
struct Scope {
    /// How many objects and arrays were open when it began.
    depth: usize,
    /// Texts inside it that wait for the role: the first in [`Walk::waiting`].
    first: usize,
    /// The role, once it was read.
    origin: Option<Origin>,
    /// Whether it has an `id`.
    has_id: bool,
    /// How much had been found when it began.
    found: usize,
}

/// The parts of a message.
struct Parts {
    /// How many objects and arrays were open when they began, and they.
    depth: usize,
    /// Their texts, by number.
    texts: Vec<usize>,
}

/// A walk.
pub(crate) struct Walk<'b> {
    table: &'static Table,
    body_bytes: usize,
    /// Where the open objects and arrays stand in the table, the innermost last.
    frames: Vec<NodeId>,
    scopes: Vec<Scope>,
    parts: Vec<Parts>,
    /// Texts whose role is not known yet.
    waiting: Vec<usize>,
    /// Where the value that comes stands.
    next: NodeId,
    /// The outermost unknown field around the value that comes: its place and its key.
    unknown: (NodeId, Cow<'b, str>),
    /// How deep the name of the model stands.
    model_depth: usize,
    is_model: bool,
    /// The model that the body names.
    model: Option<Cow<'b, str>>,
    /// Arrays of tokens, which wait for the model's name.
    tokens: Vec<TokenArray>,
    /// What was found.
    found: Extracted<'b>,
}

impl<'b> Walk<'b> {
    /// A walk through a document that stands at this place of the table.
    pub(crate) fn new(root: NodeId, body_bytes: usize) -> Walk<'b> {
        Walk {
            table: Table::shared(),
            body_bytes,
            frames: vec![root],
            scopes: Vec::new(),
            parts: Vec::new(),
            waiting: Vec::new(),
            next: root,
            unknown: (UNKNOWN, Cow::Borrowed("")),
            model_depth: 1,
            is_model: false,
            model: None,
            tokens: Vec::new(),
            found: Extracted::default(),
        }
    }

    /// What was found, once the document was read.
    pub(crate) fn finish(mut self) -> Extracted<'b> {
        tokens::decode(self.tokens, self.model.as_deref().unwrap_or_default(), &mut self.found);
        self.found
    }

    /// A value begins, at a place that is known now.
    fn begin(&mut self, kind: Kind, ahead: &'b str) {
        let node = self.table.node(self.next);
        if let Some(unseen) = node.present
            && kind != Kind::Null
        {
            self.found.unseen.insert(unseen);
        }
        match kind {
            Kind::Object | Kind::Array | Kind::EmptyArray => {}
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => return,
        }
        if kind == Kind::Array && node.tokens {
            self.tokens.extend(TokenArray::read(ahead, self.body_bytes - ahead.len()));
        }
        self.frames.push(self.next);
        if kind == Kind::Array && node.has_parts {
            self.parts.push(Parts { depth: self.frames.len(), texts: Vec::new() });
        }
        if kind == Kind::Object && node.has_role {
            let (depth, first, found) = (self.frames.len(), self.waiting.len(), self.count());
            self.scopes.push(Scope { depth, first, origin: None, has_id: false, found });
        }
    }

    /// How many texts and media were found.
    fn count(&self) -> usize {
        self.found.texts.len() + self.found.unscanned.len()
    }

    fn add(&mut self, origin: Origin, at: Range<usize>, form: Form, text: Cow<'b, str>) {
        if !text.is_empty() {
            self.found.texts.push(Text {
                channel: origin.channel(),
                origin,
                at,
                form,
                part: None,
                text,
                pieces: Vec::new(),
            });
        }
    }

    fn skip(&mut self, medium: Medium, at: Range<usize>) {
        self.found.unscanned.push(Unscanned { medium, at, part: None });
    }

    /// A walk through a line of a batch, which holds a body.
    pub(crate) fn batch(root: NodeId, body_bytes: usize) -> Walk<'b> {
        Walk { model_depth: 2, ..Walk::new(root, body_bytes) }
    }

    /// A walk that stands at a form's field.
    pub(crate) fn field(root: NodeId, node: NodeId, name: &str) -> Walk<'b> {
        Walk { next: node, unknown: (root, Cow::Owned(name.to_owned())), ..Walk::new(root, 0) }
    }

    /// A string that is a value.
    pub(crate) fn value(&mut self, at: Range<usize>, form: Form, text: Cow<'b, str>) {
        let Some(class) = self.table.node(self.next).class else {
            self.note_unknown();
            return self.add(Origin::Unknown, at, form, text);
        };
        match class {
            Class::ByRole => self.add_by_role(at, form, text),
            Class::Text(origin) => self.add(origin, at, form, text),
            Class::Loose(origin) if !is_name(&text) => self.add(origin, at, form, text),
            Class::Link if file::is_data_url(&text) => self.add_file(at, form, text),
            Class::Link => self.add(Origin::Url, at, form, text),
            Class::Fetch(_) | Class::File if file::is_data_url(&text) => self.add_file(at, form, text),
            Class::Fetch(medium) => {
                self.skip(medium, at.clone());
                self.add(Origin::Url, at, form, text);
            }
            Class::File => self.add_file(at, form, text),
            Class::Media(medium) if file::is_encoded(&text) => self.skip(medium, at),
            Class::Word | Class::Reference(_) | Class::Type | Class::Source | Class::Role if is_word(&text) => {
                self.read_word(class, text);
            }
            Class::Loose(_) | Class::Unread => {}
            Class::Word
            | Class::Reference(_)
            | Class::Type
            | Class::Source
            | Class::Role
            | Class::Media(_)
            | Class::Tokens
            | Class::Present(_) => self.add(Origin::Odd, at, form, text),
        }
    }

    /// What a word says about others.
    fn read_word(&mut self, class: Class, text: Cow<'b, str>) {
        match class {
            Class::Reference(unseen) if !text.is_empty() => self.found.unseen.insert(unseen),
            Class::Type => {
                if let Some(unseen) = unseen_of_type(&text) {
                    self.found.unseen.insert(unseen);
                }
            }
            Class::Source if is_stored_source(&text) => self.found.unseen.insert(Unseen::StoredAnswers),
            Class::Role => {
                if let Some(scope) = self.scopes.last_mut().filter(|scope| scope.depth == self.frames.len()) {
                    scope.origin = Some(Origin::of_role(Some(&text)));
                }
            }
            _ if self.is_model => self.model = Some(text),
            _ => {}
        }
    }

    fn add_by_role(&mut self, at: Range<usize>, form: Form, text: Cow<'b, str>) {
        match self.scopes.last() {
            Some(Scope { origin: None, .. }) if !text.is_empty() => {
                self.waiting.push(self.found.texts.len());
                self.add(Origin::Unknown, at, form, text);
            }
            scope => {
                let origin = scope.and_then(|scope| scope.origin).unwrap_or(Origin::of_role(None));
                self.add(origin, at, form, text);
            }
        }
    }

    fn add_file(&mut self, at: Range<usize>, form: Form, value: Cow<'b, str>) {
        let found = file::read(&value);
        if let Some(medium) = found.medium {
            self.skip(medium, at.clone());
        }
        if let Some(decoded) = found.text {
            let form = if decoded.is_whole { Form::Base64 } else { Form::Pieces };
            self.add(Origin::File, at.clone(), form, Cow::Owned(decoded.text));
        }
        if found.is_odd {
            self.add(Origin::Odd, at, form, value);
        }
    }

    /// Keeps a text that is a part of a message.
    fn note_part(&mut self, text: usize) {
        let (depth, node) = (self.frames.len(), self.table.node(self.next));
        if let Some(parts) = self.parts.last_mut().filter(|parts| parts.depth == depth || parts.depth + 1 == depth)
            && matches!(node.class, Some(Class::ByRole | Class::Text(_)))
            && node.is_part()
        {
            parts.texts.push(text);
        }
    }

    /// Adds what stands around where parts of a message meet.
    fn add_seams(&mut self, parts: &[usize]) {
        let texts: Vec<&Text<'b>> = parts.iter().map(|at| &self.found.texts[*at]).collect();
        let seams: Vec<_> = texts.chunk_by(|one, next| one.origin == next.origin).flat_map(seams).collect();
        let first = self.found.texts.len();
        self.found.texts.extend(seams);
        if parts.first().is_some_and(|part| self.waiting.binary_search(part).is_ok()) {
            self.waiting.extend(first..self.found.texts.len());
        }
    }

    /// Names the unknown field that holds the value at hand.
    fn note_unknown(&mut self) {
        if self.found.unknown_fields.len() >= UNKNOWN_FIELDS_MAX {
            return self.found.unknown_count += 1;
        }
        let name = if self.next == UNKNOWN {
            let (parent, key) = &self.unknown;
            let parent = self.table.path(*parent);
            let dot = if parent.is_empty() || key == "[]" { "" } else { "." };
            format!("{parent}{dot}{}", shown(key))
        } else {
            self.table.path(self.next)
        };
        self.found.note_unknown(if name.is_empty() { "$" } else { &name });
    }

    /// Whether a value inside `parent` that no table knows is the outermost such.
    fn is_outermost(&self, parent: NodeId) -> bool {
        self.next == UNKNOWN && (parent != UNKNOWN || self.frames.len() == 1)
    }
}

impl<'b> Visitor<'b> for Walk<'b> {
    fn enter(&mut self, member: Member<'b>) -> Visit {
        let parent = *self.frames.last().unwrap_or(&UNKNOWN);
        let (child, is_any) = self.table.child(parent, &member.key);
        self.next = child;
        self.is_model = member.depth == self.model_depth && member.key == "model";
        // Where any key may stand, a key may be a text.
        if (is_any || child == UNKNOWN) && !is_name(&member.key) {
            let class = self.table.node(child).class;
            let origin = match class {
                Some(Class::Text(origin) | Class::Loose(origin)) => Some(origin),
                Some(Class::Unread) => None,
                Some(_) => Some(Origin::Odd),
                None => Some(Origin::Unknown),
            };
            if let Some(origin) = origin {
                self.add(origin, member.key_literal.span(), Form::Key, member.key.clone());
            }
        }
        if member.key == "id"
            && let Some(scope) = self.scopes.last_mut().filter(|scope| scope.depth == self.frames.len())
        {
            scope.has_id = true;
        }
        if self.is_outermost(parent) {
            self.unknown = (parent, member.key);
        }
        self.begin(member.kind, member.ahead);
        Visit::Into
    }

    fn element(&mut self, element: Element<'b>) {
        let parent = *self.frames.last().unwrap_or(&UNKNOWN);
        self.next = self.table.node(parent).element;
        if self.is_outermost(parent) {
            self.unknown = (parent, Cow::Borrowed("[]"));
        }
        self.begin(element.kind, element.ahead);
    }

    fn string(&mut self, literal: Literal<'b>) {
        let found = self.found.texts.len();
        self.value(literal.span(), Form::Plain, literal.text());
        if found < self.found.texts.len() {
            self.note_part(found);
        }
        self.is_model = false;
    }

    fn leave(&mut self) {
        if let Some(parts) = self.parts.pop_if(|parts| parts.depth == self.frames.len()) {
            self.add_seams(&parts.texts);
        }
        if let Some(scope) = self.scopes.pop_if(|scope| scope.depth == self.frames.len()) {
            // An item with an id and without content is looked up by the service.
            if scope.has_id && scope.found == self.count() {
                self.found.unseen.insert(Unseen::PreviousResponse);
            }
            let origin = scope.origin.unwrap_or(Origin::of_role(None));
            for at in self.waiting.drain(scope.first..) {
                let text = &mut self.found.texts[at];
                (text.origin, text.channel) = (origin, origin.channel());
            }
        }
        self.frames.pop();
    }
}
