//! What a form's files are for, by its field `purpose`: only some hold requests and examples, whose words have roles.
//!
//! Promises: a file has no say in it; a field that is a file, that stands twice or that the operation does not have says
//! nothing; the field is found wherever it stands, so that a reader of the files may be told before it reads them.

use wire::endpoint::Endpoint;

use crate::table::{NodeId, Table, UNKNOWN};

/// The field.
const FIELD: &str = "purpose";

/// Its values for files of lines.
const OF_LINES: [&[u8]; 3] = [b"batch", b"fine-tune", b"evals"];

/// So much is kept of a value, in bytes: more than any of those has.
const VALUE_BYTES_MAX: usize = 32;

/// What a form's files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// They are documents, whatever they look like.
    #[default]
    Documents,
    /// Requests of a batch, examples to train on or data to evaluate with, a line each.
    Lines,
}

/// Reads a form's purpose. The calls follow the events of `wire::multipart`; none is needed at a part's end.
#[derive(Debug)]
pub struct PurposeReader {
    root: NodeId,
    /// Whether the part at hand is the field.
    is_open: bool,
    /// How often the field came.
    count: usize,
    value: Vec<u8>,
}

impl PurposeReader {
    /// A reader for forms of an endpoint.
    pub fn new(endpoint: &Endpoint) -> PurposeReader {
        PurposeReader { root: Table::shared().root(endpoint), is_open: false, count: 0, value: Vec::new() }
    }

    /// Whether the operation's forms have a purpose at all; where not, nothing needs to be read for it.
    pub fn is_asked(&self) -> bool {
        Table::shared().field(self.root, FIELD) != UNKNOWN
    }

    /// A part begins.
    pub fn begin(&mut self, name: &str, file_name: Option<&str>) {
        self.is_open = name == FIELD && file_name.is_none() && self.is_asked();
        self.count += usize::from(self.is_open);
    }

    /// Bytes of the part.
    pub fn data(&mut self, data: &[u8]) {
        if self.is_open {
            let room = VALUE_BYTES_MAX - self.value.len();
            self.value.extend_from_slice(&data[..room.min(data.len())]);
        }
    }

    /// What the form says.
    pub fn finish(self) -> Purpose {
        let is_of_lines = self.count == 1 && OF_LINES.contains(&self.value.as_slice());
        if is_of_lines { Purpose::Lines } else { Purpose::Documents }
    }
}
