//! The texts of requests: the first byte says which shape the others are read as.
#![no_main]

use extract::{Form, FormReader, Purpose, Spotlight, Text, extract, place, spotlight};
use libfuzzer_sys::fuzz_target;
use wire::endpoint::find;

const PATHS: [&str; 6] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/evals/e/runs",
    "/v1/realtime/client_secrets",
];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let path = PATHS[usize::from(*choice) % PATHS.len()];
    let row = find("POST", path).expect("a row").endpoint;
    for purpose in [Purpose::Documents, Purpose::Lines] {
        form(row, purpose, body, usize::from(*choice) + 1);
    }
    let Ok(found) = extract(row, body) else { return };
    for text in &found.texts {
        let literal = &body[text.at.clone()];
        match text.form {
            Form::Plain | Form::Key => {
                assert_eq!(serde_json::from_slice::<String>(literal).expect("a literal"), text.text);
            }
            Form::Base64 | Form::Pieces => assert_eq!(literal[0], b'"'),
            Form::Seam => seam(text, &found.texts),
            Form::Tokens => assert_eq!(literal[0], b'['),
            Form::Bytes => panic!("no form"),
        }
    }
    if let Some(last) = found.texts.last() {
        assert!(!place(body, last.at.start).is_empty());
    }
    for how in [Spotlight::Delimit, Spotlight::Datamark] {
        if let Some(lit) = spotlight(row, body, &found.texts, how, 7) {
            let again = extract(row, &lit.body).expect("still JSON");
            // Marks may make a part too long to stand whole in a seam.
            assert_eq!(without_seams(&again.texts), without_seams(&found.texts) + 1);
        }
    }
});

fn without_seams(texts: &[Text<'_>]) -> usize {
    texts.iter().filter(|text| text.form != Form::Seam).count()
}

/// Each piece of a seam is what its part says there.
fn seam(seam: &Text<'_>, texts: &[Text<'_>]) {
    assert!(seam.pieces.len() > 1);
    for piece in &seam.pieces {
        let is_part = |text: &&Text<'_>| text.at.start == piece.at && text.form != Form::Seam;
        let part = texts.iter().find(is_part).expect("the part is a text of its own");
        let count = piece.range.len();
        let there = part.text.chars().skip(piece.before).take(count);
        assert!(there.eq(seam.text.chars().skip(piece.range.start).take(count)));
    }
}

/// A form with the body as a file and as a field, in one piece and in many.
fn form(row: &wire::endpoint::Endpoint, purpose: Purpose, body: &[u8], piece_bytes: usize) {
    let read = |piece_bytes: usize| {
        let mut reader = FormReader::new(row).with_purpose(purpose);
        for (name, file_name) in [("file", Some("a")), ("session", None), ("prompt", None)] {
            reader.begin(name, file_name);
            body.chunks(piece_bytes).for_each(|piece| reader.data(piece));
            reader.end();
        }
        reader.finish()
    };
    assert_eq!(read(usize::MAX), read(piece_bytes));
}
