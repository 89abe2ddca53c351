//! Secrets and packings from a seed. No key here was ever issued.

use std::io::{Cursor, Write};

pub(crate) const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(crate) const URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
pub(crate) const HEX: &str = "0123456789abcdef";

pub(crate) fn random(rng: &mut fastrand::Rng, alphabet: &str, count: usize) -> String {
    let alphabet = alphabet.as_bytes();
    (0..count).map(|_| char::from(alphabet[rng.usize(..alphabet.len())])).collect()
}

/// A key of the OpenAI API, of any kind.
pub(crate) fn openai(rng: &mut fastrand::Rng) -> String {
    let (word, half) = [
        ("", 20),
        ("proj-", 20),
        ("proj-", 58),
        ("proj-", 74),
        ("svcacct-", 58),
        ("svcacct-", 74),
        ("admin-", 58),
        ("None-", 20),
        ("service-batch-jobs-", 20),
    ][rng.usize(..9)];
    let alphabet = if word.is_empty() || word == "None-" { ALNUM } else { URL };
    format!("sk-{word}{}T3BlbkFJ{}", random(rng, alphabet, half), random(rng, alphabet, half))
}

/// A key of this gate.
pub(crate) fn own(rng: &mut fastrand::Rng) -> String {
    struct Seeded(std::sync::Mutex<fastrand::Rng>);
    impl keys::Random for Seeded {
        fn fill(&self, bytes: &mut [u8]) {
            self.0.lock().unwrap().fill(bytes);
        }
    }
    let kind = keys::Kind::ALL[rng.usize(..keys::Kind::ALL.len())];
    keys::Shape::default().mint(kind, &Seeded(std::sync::Mutex::new(rng.fork()))).expose().to_owned()
}

pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let value = three.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).for_each(|at| out.push(char::from(digits[(value >> (18 - 6 * at) & 63) as usize])));
        out.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    out
}
