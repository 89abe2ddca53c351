//! Reads a multipart body along: the bytes pass unchanged, and what two parsers could read differently stops them.
//!
//! Promises: framing is checked to the last boundary; a field that the gate or several readers act on stands once;
//! fields that refer to stored objects are refused while projects share an upstream account.

use bytes::Bytes;
use metering::request::{self, Asked, FormReader};
use wire::endpoint::{Meter, Reference};
use wire::multipart::{Event, MultipartError, Parser, boundary};
use wire::refusal::{Reason, Refusal};

/// Longest name of a model, in bytes.
pub(crate) const MODEL_BYTES_MAX: usize = 256;

/// Fields that may stand once. Names with `[]`, and any others, may repeat.
const SINGLE_FIELDS: &[&str] = &[
    "model",
    "purpose",
    "stream",
    "n",
    "response_format",
    "size",
    "quality",
    "language",
    "prompt",
    "temperature",
    "user",
    "background",
    "output_format",
    "seconds",
    "name",
    "consent",
    "partial_images",
];

/// A multipart body being read along.
pub(crate) struct Form {
    parser: Parser,
    events: Vec<Event>,
    seen: Vec<&'static str>,
    /// Whether the part being read is the model's name.
    in_model: bool,
    model: Option<Vec<u8>>,
    refuse_references: bool,
    /// Reads what the form says about its cost, where the endpoint is metered.
    cost: Option<FormReader>,
}

impl Form {
    /// A form with the boundary of this content type.
    ///
    /// # Errors
    /// 415 when there is no usable boundary.
    pub(crate) fn new(content_type: &str, meter: Meter, refuse_references: bool) -> Result<Form, Refusal> {
        let boundary = boundary(content_type).map_err(|error| {
            Refusal::new(Reason::UnsupportedMediaType, format!("The multipart body cannot be read: {error}."))
                .param("Content-Type")
        })?;
        Ok(Form {
            parser: Parser::new(&boundary),
            events: Vec::new(),
            seen: Vec::new(),
            in_model: false,
            model: None,
            refuse_references,
            cost: request::reads(meter).then(|| FormReader::new(meter)),
        })
    }

    /// Reads bytes along.
    ///
    /// # Errors
    /// 400 for broken framing or a field that stands twice, 403 for a reference.
    pub(crate) fn read(&mut self, chunk: &Bytes) -> Result<(), Refusal> {
        let mut events = std::mem::take(&mut self.events);
        let pushed = self.parser.push(chunk, &mut events);
        for event in events.drain(..) {
            match event {
                Event::Begin(part) => {
                    self.begin(&part.name)?;
                    if let Some(cost) = &mut self.cost {
                        cost.begin(&part.name, part.file_name.as_deref(), part.content_type.as_deref());
                    }
                }
                Event::Data(data) => {
                    if self.in_model {
                        let model = self.model.get_or_insert_default();
                        let room = MODEL_BYTES_MAX.saturating_sub(model.len());
                        model.extend_from_slice(&data[..data.len().min(room)]);
                    }
                    if let Some(cost) = &mut self.cost {
                        cost.data(&data);
                    }
                }
                Event::End => {
                    self.in_model = false;
                    if let Some(cost) = &mut self.cost {
                        cost.end();
                    }
                }
            }
        }
        self.events = events;
        pushed.map_err(|error| broken(&error))
    }

    /// The body's end.
    ///
    /// # Errors
    /// 400 when it ends too early.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        self.parser.finish().map_err(|error| broken(&error))
    }

    /// The `model` field.
    pub(crate) fn model(&self) -> Option<String> {
        self.model.as_ref().map(|model| String::from_utf8_lossy(model).into_owned())
    }

    /// What the form says about its cost, once it was read.
    pub(crate) fn asked(self) -> Option<Asked> {
        self.cost.map(FormReader::finish)
    }

    fn begin(&mut self, name: &str) -> Result<(), Refusal> {
        if self.refuse_references && Reference::is_form_field(name) {
            return Err(reference(name));
        }
        if let Some(single) = SINGLE_FIELDS.iter().find(|single| **single == name) {
            if self.seen.contains(single) {
                let words = format!("The form field '{name}' stands more than once. Send it once.");
                return Err(Refusal::new(Reason::InvalidBody, words).param(*single));
            }
            self.seen.push(single);
        }
        self.in_model = name == "model";
        Ok(())
    }
}

fn broken(error: &MultipartError) -> Refusal {
    Refusal::new(Reason::InvalidBody, format!("The multipart body cannot be read: {error}."))
}

/// The refusal for a reference to a stored object.
pub(crate) fn reference(name: &str) -> Refusal {
    let words = format!(
        "'{name}' refers to an object stored upstream. Several projects of this gate share one upstream account, so such \
         references cannot be accepted yet: send the content itself."
    );
    Refusal::new(Reason::SharedUpstream, words).param(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, refuse_references: bool) -> Result<Option<String>, Refusal> {
        let mut form = Form::new("multipart/form-data; boundary=B", Meter::Nothing, refuse_references)?;
        form.read(&Bytes::copy_from_slice(body.replace('\n', "\r\n").as_bytes()))?;
        form.end()?;
        Ok(form.model())
    }

    fn part(name: &str, value: &str) -> String {
        format!("--B\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n")
    }

    #[test]
    fn the_model_is_read_and_single_fields_stand_once() {
        let body = format!("{}{}{}--B--\n", part("model", "whisper-1"), part("include[]", "a"), part("include[]", "b"));
        assert_eq!(read(&body, false).expect("valid").as_deref(), Some("whisper-1"));
        let twice = format!("{}{}--B--\n", part("model", "a"), part("model", "b"));
        let refusal = read(&twice, false).expect_err("twice");
        assert_eq!((refusal.reason, refusal.param.as_deref()), (Reason::InvalidBody, Some("model")));
        assert_eq!(read("--B\n", false).expect_err("cut").reason, Reason::InvalidBody);
    }

    #[test]
    fn references_are_refused_while_projects_share() {
        let body = format!("{}--B--\n", part("file_id", "file-1"));
        assert!(read(&body, false).is_ok());
        assert_eq!(read(&body, true).expect_err("a reference").reason, Reason::SharedUpstream);
    }

    #[test]
    fn a_content_type_without_boundary_is_415() {
        assert_eq!(
            Form::new("multipart/form-data", Meter::Nothing, false).map(|_| ()).expect_err("none").status(),
            415
        );
    }
}
