//! The outermost members of a document: all that most stages read of a body.

use std::borrow::Cow;

use super::{JsonError, Kind, Member, Visit, Visitor, scan};

/// The members of a document's outermost object, as texts: enough for the few that the gate reads.
#[derive(Debug, Default)]
pub struct TopLevel<'a> {
    members: Vec<(Cow<'a, str>, Kind, &'a str)>,
    waiting: Option<(Cow<'a, str>, Kind)>,
}

impl<'a> Visitor<'a> for TopLevel<'a> {
    fn enter(&mut self, member: Member<'a>) -> Visit {
        self.waiting = Some((member.key, member.kind));
        Visit::Past
    }

    fn top_level_value(&mut self, text: &'a str) {
        // The scanner bounds how many there are.
        if let Some((key, kind)) = self.waiting.take() {
            self.members.push((key, kind, text));
        }
    }
}

impl<'a> TopLevel<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// The first fault.
    pub fn read(body: &'a [u8]) -> Result<TopLevel<'a>, JsonError> {
        let mut members = TopLevel::default();
        scan(body, &mut members)?;
        Ok(members)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A member's kind and text.
    pub fn member(&self, key: &str) -> Option<(Kind, &'a str)> {
        self.members.iter().find(|(name, _, _)| name == key).map(|(_, kind, text)| (*kind, *text))
    }

    /// A member that is a string, unescaped.
    pub fn string(&self, key: &str) -> Option<String> {
        match self.member(key)? {
            (Kind::String, text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }

    /// A member that is true or false.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.member(key)? {
            (Kind::Bool, text) => Some(text == "true"),
            _ => None,
        }
    }
}
