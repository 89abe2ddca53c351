//! The compressed streams of PDF files: where their text is.

use std::io::Read;

use crate::reading::Name;
use crate::run::Scanner;

/// A larger PDF file is read as it is: this one is kept in memory.
const PDF_BYTES_MAX: u64 = 64 << 20;
/// Most streams that are unpacked.
const STREAMS_MAX: usize = 20_000;

impl Scanner<'_> {
    /// Reads the file as it is, then each of its streams that unpacks.
    pub(crate) fn read_pdf(&self, name: &Name, from: &mut dyn Read, take: impl Fn(u64) -> std::io::Result<()>) {
        let mut bytes = Vec::new();
        if let Err(error) = Read::take(&mut *from, PDF_BYTES_MAX).read_to_end(&mut bytes) {
            self.warn(name, format_args!("cannot be read: {error}"));
        }
        self.read_plain(name, &mut bytes.as_slice().chain(from));
        for (index, start) in memchr::memmem::find_iter(&bytes, b"stream\r\n")
            .map(|at| at + 8)
            .chain(memchr::memmem::find_iter(&bytes, b"stream\n").map(|at| at + 7))
            .take(STREAMS_MAX)
            .enumerate()
        {
            // Zlib says what it is in its first byte.
            if bytes.get(start).is_none_or(|byte| byte & 0x0f != 8) {
                continue;
            }
            let mut text = Vec::new();
            let mut decoder = flate2::read::ZlibDecoder::new(&bytes[start..]).take(PDF_BYTES_MAX);
            // Cut or broken streams give what they have.
            let _ = decoder.read_to_end(&mut text);
            if let Err(error) = take(text.len() as u64) {
                return self.warn(name, format_args!("{error}"));
            }
            if !text.is_empty() {
                self.read_plain(&name.member(&format!("stream{index}")), &mut text.as_slice());
            }
        }
    }
}
