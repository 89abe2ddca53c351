//! Places for people: the path to a byte of a JSON body.
//!
//! Promise: linear in the body. Texts carry offsets, which cost nothing; the path is made for the few that are shown.

use std::borrow::Cow;

use crate::class::shown;
use wire::json::{Element, Kind, Member, Visit, Visitor, scan};

/// Longest path that is given, in characters.
const PLACE_CHARS_MAX: usize = 256;

/// The path to the value, or to the key of the value, that begins at `offset`: `messages[3].content[0].text`. `$` for
/// the document itself and where no value or key begins; `*` for a key that is no plain word.
pub fn place(body: &[u8], offset: usize) -> String {
    let mut path = Path { body_bytes: body.len(), offset, open: vec![(Step::Document, 0)], found: None };
    // A body that is no JSON has its path up to the fault.
    let _ = scan(body, &mut path);
    let place: String = path.found.unwrap_or_default().chars().take(PLACE_CHARS_MAX).collect();
    if place.is_empty() { "$".to_owned() } else { place }
}

/// How a value is called in what is around it.
enum Step<'b> {
    /// It is the document.
    Document,
    /// By its key.
    Key(Cow<'b, str>),
    /// By its number.
    Index(usize),
}

/// Looks for the value that begins at an offset.
struct Path<'b> {
    body_bytes: usize,
    offset: usize,
    /// The open objects and arrays, the document first, each with the number of its next element.
    open: Vec<(Step<'b>, usize)>,
    found: Option<String>,
}

impl<'b> Path<'b> {
    fn begin(&mut self, step: Step<'b>, kind: Kind, starts: [usize; 2]) {
        self.open.push((step, 0));
        if self.found.is_none() && starts.contains(&self.offset) {
            self.found = Some(self.path());
        }
        if !matches!(kind, Kind::Object | Kind::Array | Kind::EmptyArray) {
            self.open.pop();
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for (step, _) in &self.open {
            match step {
                Step::Document => {}
                Step::Key(key) => {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(shown(key));
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

impl<'b> Visitor<'b> for Path<'b> {
    fn enter(&mut self, member: Member<'b>) -> Visit {
        let starts = [member.key_literal.at, self.body_bytes - member.ahead.len()];
        self.begin(Step::Key(member.key), member.kind, starts);
        Visit::Into
    }

    fn element(&mut self, element: Element<'b>) {
        let index = self.open.last_mut().map_or(0, |(_, next)| {
            *next += 1;
            *next - 1
        });
        let start = self.body_bytes - element.ahead.len();
        self.begin(Step::Index(index), element.kind, [start, start]);
    }

    fn leave(&mut self) {
        self.open.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_a_path() {
        let body = br#"{"a": [{"b": "x"}, [], {"c": {"d e": ["y", "z"]}}], "f": 1}"#;
        let at = |needle: &str| memchr::memmem::find(body, needle.as_bytes()).expect("there");
        for (needle, expected) in [
            (r#""x""#, "a[0].b"),
            (r#""z""#, "a[2].c.*[1]"),
            (r#""d e""#, "a[2].c.*"),
            ("[],", "a[1]"),
            (r#""f""#, "f"),
            ("1}", "f"),
        ] {
            assert_eq!(place(body, at(needle)), expected);
        }
        assert_eq!(place(body, 0), "$");
        assert_eq!(place(body, 1_000), "$");
        assert_eq!(place(br#"["a", "b"]"#, 6), "[1]");
        assert_eq!(place(b"\"a\"", 0), "$");
        assert_eq!(place(b"{", 0), "$");
    }
}
