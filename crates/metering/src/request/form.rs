//! Multipart bodies: recordings to be transcribed, images to be edited.

use wire::endpoint::Meter;

use super::parts::Number;
use super::{Asked, Cap, ImageIn, partial_images, parts};
use crate::audio::{self, Duration};
use crate::image::{self, Detail};

/// Longest text field that is read; longer ones are counted and not looked at.
const FIELD_BYTES_MAX: usize = 64 * 1024;

/// As much of an image as is looked at for its size.
const IMAGE_BYTES_MAX: usize = image::HEAD_BYTES_MAX;

/// What a part is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Field,
    Image,
    Sound,
}

/// Reads what a multipart body says about its cost, part by part.
#[derive(Debug)]
pub struct FormReader {
    meter: Meter,
    asked: Asked,
    part: Option<(String, Option<String>, Keep)>,
    kept: Vec<u8>,
    user: Option<String>,
}

impl FormReader {
    /// A reader for bodies of an endpoint.
    pub fn new(meter: Meter) -> FormReader {
        let asked = Asked { is_audio_exact: true, ..Asked::default() };
        FormReader { meter, asked, part: None, kept: Vec::new(), user: None }
    }

    /// A part begins.
    pub fn begin(&mut self, name: &str, file_name: Option<&str>, content_type: Option<&str>) {
        let keep = match (self.meter, name.trim_end_matches("[]")) {
            (Meter::Transcriptions, "file") => Keep::Sound,
            (Meter::Images, "image" | "mask") => Keep::Image,
            _ => Keep::Field,
        };
        let hint = file_name.or(content_type).map(str::to_owned);
        self.part = Some((name.to_owned(), hint, keep));
        self.kept.clear();
    }

    /// Bytes of the part.
    pub fn data(&mut self, data: &[u8]) {
        let Some((_, _, keep)) = &self.part else { return };
        let room = match keep {
            Keep::Field => FIELD_BYTES_MAX,
            Keep::Image => IMAGE_BYTES_MAX,
            Keep::Sound => usize::MAX,
        };
        if *keep == Keep::Field {
            self.asked.text_bytes = self.asked.text_bytes.saturating_add(data.len() as u64);
        }
        let room = room.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// The part ends.
    pub fn end(&mut self) {
        let Some((name, hint, keep)) = self.part.take() else { return };
        match keep {
            Keep::Image => {
                let size = image::size(&self.kept);
                self.asked.images.push(ImageIn { detail: Detail::Auto, size });
            }
            Keep::Sound => {
                let length = audio::duration(&self.kept, hint.as_deref());
                self.asked.is_audio_exact &= matches!(length, Duration::Exact { .. });
                self.asked.audio_ms = self.asked.audio_ms.saturating_add(length.ms_max());
            }
            Keep::Field => self.field(&name),
        }
        self.kept.clear();
    }

    /// What the body said.
    pub fn finish(mut self) -> Asked {
        self.asked.end_user = self.asked.end_user.or(self.user);
        self.asked
    }

    fn field(&mut self, name: &str) {
        let text = String::from_utf8_lossy(&self.kept).into_owned();
        let asked = &mut self.asked;
        let number = |text: &str| match parts::number(text.trim()) {
            Number::Whole(number) => Cap::Given(number),
            Number::Other => Cap::Odd,
        };
        match name {
            "n" => asked.choices = number(&text),
            "size" => asked.images_out.size = Some(text),
            "quality" => asked.images_out.quality = Some(text),
            "partial_images" => asked.images_out.partial_images = partial_images(number(&text)),
            "stream" => asked.streams = text.trim() == "true",
            "safety_identifier" if !text.is_empty() => asked.end_user = Some(text),
            "user" if !text.is_empty() => self.user = Some(text),
            _ => {}
        }
    }
}
