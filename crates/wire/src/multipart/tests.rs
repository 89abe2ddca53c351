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

/// Forms as HTTP clients write them, with the boundary's header: (client, content type, body, names and file names).
type Sample = (&'static str, &'static str, &'static [u8], &'static [(&'static str, Option<&'static str>)]);

const SAMPLES: &[Sample] = &[
    (
        "httpx, under the Python SDK",
        "multipart/form-data; boundary=0b1f2c3d4e5f60718293a4b5c6d7e8f9",
        b"--0b1f2c3d4e5f60718293a4b5c6d7e8f9\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
          --0b1f2c3d4e5f60718293a4b5c6d7e8f9\r\nContent-Disposition: form-data; name=\"file\"; \
          filename=\"a %22b%22 \\\\ c.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n{}\r\n\
          --0b1f2c3d4e5f60718293a4b5c6d7e8f9--\r\n",
        &[("purpose", None), ("file", Some("a %22b%22 \\ c.jsonl"))],
    ),
    (
        "undici, under the Node SDK",
        "multipart/form-data; boundary=----formdata-undici-012345678901",
        b"------formdata-undici-012345678901\r\nContent-Disposition: form-data; \
          name=\"timestamp_granularities[]\"\r\n\r\nword\r\n------formdata-undici-012345678901\r\n\
          Content-Disposition: form-data; name=\"file\"; filename=\"\xc3\xa4.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
          RIFF\r\n------formdata-undici-012345678901--\r\n",
        &[("timestamp_granularities[]", None), ("file", Some("ä.wav"))],
    ),
    (
        "mime/multipart of Go",
        "multipart/form-data; boundary=5f1d",
        b"--5f1d\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".wav\"\r\n\
          Content-Type: application/octet-stream\r\n\r\nx\r\n--5f1d--\r\n",
        &[("file", Some("a \"b\".wav"))],
    ),
    (
        "HttpClient of .NET: quoted boundary, unquoted names, content type first",
        "multipart/form-data; boundary=\"1b2c-3d\"",
        b"--1b2c-3d\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=purpose\r\n\
          \r\nbatch\r\n--1b2c-3d\r\nContent-Disposition: form-data; name=file; filename=a.jsonl\r\n\r\n{}\r\n\
          --1b2c-3d--\r\n",
        &[("purpose", None), ("file", Some("a.jsonl"))],
    ),
    (
        "Apache HttpClient: a transfer encoding that changes nothing",
        "multipart/form-data; boundary=Ab_9-Z; charset=ISO-8859-1",
        b"--Ab_9-Z\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; \
          charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nwhisper-1\r\n--Ab_9-Z--\r\n",
        &[("model", None)],
    ),
    (
        "curl",
        "multipart/form-data; boundary=------------------------d74496d66958873e",
        b"--------------------------d74496d66958873e\r\nContent-Disposition: form-data; name=\"file\"; \
          filename=\"C:\\x\\a.wav\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n\
          --------------------------d74496d66958873e--\r\n",
        &[("file", Some("C:\\x\\a.wav"))],
    ),
];

#[test]
fn what_clients_write_is_read_however_it_arrives() {
    for (client, content_type, body, expected) in SAMPLES {
        let boundary = boundary(content_type).expect(client);
        let whole = read(&boundary, body, &[]).expect(client);
        let names: Vec<_> = whole.iter().map(|(name, file_name, _)| (name.as_str(), file_name.as_deref())).collect();
        assert_eq!(names, *expected, "{client}");
        for at in 0..=body.len() {
            assert_eq!(read(&boundary, body, &[at]).as_ref(), Ok(&whole), "{client}, cut at {at}");
        }
    }
}

#[test]
fn content_is_passed_without_a_copy() {
    let mut form = Vec::new();
    (0..500).for_each(|_| form.extend_from_slice(format!("--XX\r\n{FIELD}\r\n\r\nabc\r\n").as_bytes()));
    form.extend_from_slice(b"--XX--\r\n");
    let form = Bytes::from(form);
    let (mut parser, mut events) = (Parser::new("XX"), Vec::new());
    parser.push(&form, &mut events).expect("valid");
    parser.finish().expect("whole");
    let contents: Vec<_> =
        events.iter().filter_map(|event| if let Event::Data(data) = event { Some(data) } else { None }).collect();
    assert_eq!(contents.len(), 500);
    let form = form.as_ptr_range();
    assert!(
        contents.iter().all(|content| form.contains(&content.as_ptr())),
        "a copy of the rest for each part is quadratic"
    );
}

#[test]
fn header_bounds_are_met_alike_for_any_split() {
    for (over, expected) in [(0, Ok(())), (1, Err(MultipartError::PartHeadersTooLong))] {
        let padding = PART_HEADER_BYTES_MAX - FIELD.len() - "\r\nX: ".len() + over;
        let form = body(&[(&format!("{FIELD}\r\nX: {}", "a".repeat(padding)), b"x")]);
        for cut in 0..40 {
            let cut = PART_HEADER_BYTES_MAX - 20 + cut;
            assert_eq!(read("XX", &form, &[cut]).map(|_| ()), expected, "{cut}");
        }
        assert_eq!(read("XX", &form, &vec![1; form.len()]).map(|_| ()), expected);
    }
}

#[test]
fn too_many_parts_are_refused() {
    let parts = |count: usize| body(&vec![(FIELD, &b"x"[..]); count]);
    assert_eq!(read("XX", &parts(PARTS_MAX), &[]).expect("as many as fit").len(), PARTS_MAX);
    assert_eq!(read("XX", &parts(PARTS_MAX + 1), &[]), Err(MultipartError::TooManyParts));
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
        // One reader sees two parts here, another one whose content is the second.
        (format!("--XX\r\n{FIELD}\r\n\r\n--XX\r\n{FILE}\r\n\r\nx\r\n--XX--").into_bytes(), Delimiter),
        (format!("--XX\r\n{FIELD}\r\n\r\n--XX--").into_bytes(), Delimiter),
        // Headers that are delimiters, too.
        (with(&format!("--XX: a\r\n{FIELD}")), Delimiter),
        (with(&format!("{FIELD}\r\n--XX: a")), Delimiter),
        (with(&format!("{FIELD}\r\n--XX--: a")), Delimiter),
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
        // Header names that some readers trim, and values with control characters.
        (with(&format!("{FIELD}\r\nContent-Disposition : form-data; name=\"b\"")), PartHeaders),
        (with(&format!("{FIELD}\r\n: x")), PartHeaders),
        (with(&format!("{FIELD}\r\nX: a\0b")), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\0\""), PartHeaders),
        // Content that some readers decode.
        (with(&format!("{FIELD}\r\nContent-Transfer-Encoding: base64")), PartHeaders),
        (with(&format!("{FIELD}\r\nContent-Transfer-Encoding: quoted-printable")), PartHeaders),
        // Escapes that some readers do not know, where it makes another parameter.
        (with("Content-Disposition: form-data; name=\"a\\\"b\""), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\"; filename=\"a\\\"; name=\\\"purpose\""), PartHeaders),
        (with("Content-Disposition: form-data; filename=\"\\\"\"; name=\"; name=model\""), PartHeaders),
        (with("Content-Disposition: form-data; name=\"a\"; filename=a\"b"), PartHeaders),
        (with("Content-Disposition: form-data; name=a b"), PartHeaders),
        (with("Content-Disposition: form-data; name="), PartHeaders),
        (with("Content-Disposition: form-data; name\u{a0}=\"a\""), PartHeaders),
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
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a(b)",
        "multipart/form-data; boundary=a, multipart/form-data",
        "multipart/form-data; boundary=\"a\"b",
        "multipart/form-data; boundary=a; boundary*=utf-8''b",
        "multipart/form-data; boundary*0=a",
        "multipart/form-data; x=\"; boundary=a; \"",
    ] {
        assert_eq!(boundary(bad), Err(MultipartError::Boundary), "{bad}");
    }
    assert_eq!(boundary("multipart/form-data; x=\"; boundary=b; \"; boundary=a;").as_deref(), Ok("a"));
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
