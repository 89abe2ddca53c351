use proptest::prelude::*;

use super::*;

/// Parts as (name, file name, content), from a parse in chunks of these sizes.
type Read = Vec<(String, Option<String>, Vec<u8>)>;

fn read(boundary: &str, body: &[u8], cuts: &[usize]) -> Result<Read, MultipartError> {
    let mut parser = Parser::new(boundary);
    let (mut events, mut rest) = (Vec::new(), body);
    for cut in cuts {
        let (chunk, after) = rest.split_at((*cut).min(rest.len()));
        parser.push(&Bytes::copy_from_slice(chunk), &mut events)?;
        rest = after;
    }
    parser.push(&Bytes::copy_from_slice(rest), &mut events)?;
    parser.finish()?;
    let mut parts = Read::new();
    for event in events {
        match event {
            Event::Begin(part) => parts.push((part.name, part.file_name, Vec::new())),
            Event::Data(data) => parts.last_mut().expect("a part").2.extend_from_slice(&data),
            Event::End => {}
        }
    }
    Ok(parts)
}

fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(format!("--XX\r\n{headers}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

const FIELD: &str = "Content-Disposition: form-data; name=\"model\"";
const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav";

#[test]
fn what_the_sdks_send_is_read() {
    let read = read("XX", &body(&[(FIELD, b"whisper-1"), (FILE, b"\r\n--X\r\n--XY\0\xff")]), &[]).expect("valid");
    assert_eq!(
        read,
        [
            ("model".into(), None, b"whisper-1".to_vec()),
            ("file".into(), Some("a.wav".into()), b"\r\n--X\r\n--XY\0\xff".to_vec())
        ]
    );
}

#[test]
fn an_empty_part_and_an_empty_form_are_fine() {
    for cuts in [vec![], vec![1; 200]] {
        assert_eq!(read("XX", &body(&[(FIELD, b"")]), &cuts).expect("valid"), [("model".into(), None, vec![])]);
    }
    assert_eq!(read("XX", b"--XX--\r\n", &[]), Ok(vec![]));
    assert_eq!(read("XX", b"\r\n--XX--", &[1, 1, 1]), Ok(vec![]));
}

#[test]
fn what_readers_could_take_differently_is_refused() {
    use MultipartError::{Delimiter, Ends, PartHeaders, PartHeadersTooLong, Start, Trailing};
    let with = |headers: &str| body(&[(headers, b"x")]);
    let long = format!("{FIELD}\r\nX-Long: {}", "a".repeat(PART_HEADER_BYTES_MAX));
    let cases: Vec<(Vec<u8>, MultipartError)> = vec![
        (b"preamble\r\n--XX--".to_vec(), Start),
        (b"--XX".to_vec(), Ends),
        (b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx".to_vec(), Ends),
        (b"--XXY\r\n".to_vec(), Delimiter),
        (b"--XX\nContent-Disposition: form-data; name=\"a\"\n\nx\n--XX--".to_vec(), Delimiter),
        (b"--XX--\r\n--XX\r\n".to_vec(), Trailing),
        (with("Content-Type: text/plain"), PartHeaders),
        (with("Content-Disposition: attachment; name=\"a\""), PartHeaders),
        (with("Content-Disposition: form-data"), PartHeaders),
        (with("Content-Disposition: form-data; filename=\"a\""), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\"; name=\"b\""), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a"), PartHeaders),
        (with("Content-Disposition: form-data; name*=utf-8''a"), PartHeaders),
        (with("Content-Disposition: form-data; name=\"f\"; filename=\"a\"; filename*=utf-8''b"), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\""), PartHeaders),
        (with("Content-Disposition: form-data;\r\n name=\"a\""), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\"\nX: 1"), PartHeaders),
        (with(&format!("{FIELD}\r\nContent-Type: multipart/mixed; boundary=YY")), PartHeaders),
        (with(&long), PartHeadersTooLong),
    ];
    for (body, error) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        assert_eq!(read("XX", &body, &[]).map(|_| ()), Err(error), "{shown}");
        assert!(read("XX", &body, &vec![1; body.len()]).is_err(), "{shown}");
    }
}

#[test]
fn boundaries_are_taken_from_the_content_type() {
    assert_eq!(boundary("multipart/form-data; boundary=abc").as_deref(), Ok("abc"));
    assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"").as_deref(), Ok("a b"));
    for bad in [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=ä",
    ] {
        assert_eq!(boundary(bad), Err(MultipartError::Boundary), "{bad}");
    }
    assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))), Err(MultipartError::Boundary));
}

proptest! {
    /// Content made of pieces of delimiters, cut anywhere.
    #[test]
    fn any_split_reads_the_same(
        contents in prop::collection::vec("(\r|\n|-|X|\r\n--X|a){0,12}", 1..5),
        cuts in prop::collection::vec(0_usize..9, 0..80)
    ) {
        prop_assume!(contents.iter().all(|content| !format!("\r\n{content}").contains("\r\n--XX")));
        let parts: Vec<(&str, &[u8])> = contents.iter().map(|content| (FILE, content.as_bytes())).collect();
        let body = body(&parts);
        let whole = read("XX", &body, &[]).expect("valid");
        let expected: Vec<&[u8]> = parts.iter().map(|(_, content)| *content).collect();
        prop_assert_eq!(whole.iter().map(|part| &part.2[..]).collect::<Vec<_>>(), expected);
        prop_assert_eq!(read("XX", &body, &cuts).expect("valid"), whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_splits_agree(
        bytes in "(--XX|\r\n|\r|-|Content-Disposition: form-data; name=\"a\"|x){0,20}", cuts in prop::collection::vec(0_usize..9, 0..40)
    ) {
        prop_assert_eq!(read("XX", bytes.as_bytes(), &cuts).is_ok(), read("XX", bytes.as_bytes(), &[]).is_ok());
    }
}
