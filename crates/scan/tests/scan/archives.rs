//! Members of archives are found under `outer!inner`, with spans in the member.

use std::fs;

use crate::make::{gzip, openai, tar, zip, zstd};
use crate::{files, tree};

#[test]
fn every_packing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let key = openai(&mut rng);
    let text = format!("first line\nOPENAI_API_KEY={key}\n");
    let text = text.as_bytes();
    let many: [(&str, Vec<u8>, &str); 14] = [
        ("a.zip", zip(&[("x/.env", text)]), "a.zip!x/.env"),
        ("app.apk", zip(&[("assets/index.android.bundle", text)]), "app.apk!assets/index.android.bundle"),
        ("app.ipa", zip(&[("Payload/A.app/main.jsbundle", text)]), "app.ipa!Payload/A.app/main.jsbundle"),
        ("app.jar", zip(&[("application.properties", text)]), "app.jar!application.properties"),
        ("page.docx", zip(&[("word/document.xml", text)]), "page.docx!word/document.xml"),
        ("b.tar", tar(&[("x/.env", text)]), "b.tar!x/.env"),
        ("b.tgz", gzip(&tar(&[("x/.env", text)])), "b.tgz!x/.env"),
        ("c.txt.gz", gzip(text), "c.txt.gz!c.txt"),
        ("d.env.zst", zstd(text), "d.env.zst!d.env"),
        ("e.zip", zip(&[("inner.zip", &zip(&[("deep.env", text)]))]), "e.zip!inner.zip!deep.env"),
        ("f.zip", zip(&[("inner.tar.gz", &gzip(&tar(&[("deep.env", text)])))]), "f.zip!inner.tar.gz!deep.env"),
        ("g.tar", tar(&[("inner.zip", &zip(&[("deep.env", text)]))]), "g.tar!inner.zip!deep.env"),
        ("no-name", gzip(&zip(&[("deep.env", text)])), "no-name!data!deep.env"),
        ("stub.zip", [&b"#!/bin/sh\n"[..], &zip(&[("late.env", b"nothing")])].concat(), ""),
    ];
    for (name, bytes, _) in &many {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let outcome = tree(folder.path());
    let mut expected: Vec<&str> =
        many.iter().map(|(_, _, member)| *member).filter(|member| !member.is_empty()).collect();
    expected.sort_unstable();
    assert_eq!(files(&outcome.hits, folder.path()), expected);
    assert_eq!(outcome.warnings, [""; 0]);
    for hit in outcome.hits {
        assert_eq!((hit.line, hit.column), (2, 16));
        assert_eq!(hit.span, 26..26 + key.len() as u64);
    }
}

#[test]
fn xz_and_bzip2_made_elsewhere_are_opened() {
    // `printf 'OPENAI_API_KEY=sk-None-…' | xz`, and bzip2: a key that was made for this test.
    for (name, hex) in [("a.txt.bz2", BZIP2), ("a.txt.xz", XZ)] {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        fs::write(folder.path().join(name), bytes).unwrap();
        assert_eq!(files(&tree(folder.path()).hits, folder.path()), [format!("{name}!a.txt")]);
    }
}

const BZIP2: &str = "425a68393141592653596f55f0b20000125f80001000027fe23b7ff7e0bfafec102000546000000034000031a43000680000064d0064d1a3fcede9f5287d39487200a4d0b39b8d64b7256acdab0c11de2c39704c7029069807ba1dd252900a2193ccc606d16100194fc5dc914e14241bd57c2c80";
const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a30100474f50454e41495f4150495f4b45593d736b2d4e6f6e652d7137576d325863395274345962384e7a314b664c5433426c626b464a70335664364873304a67355161325565394d69430a009ed1f26d9ffad08f000160482e177c3d1fb6f37d010000000004595a";

#[test]
fn streams_of_pdf_files_are_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let key = openai(&mut fastrand::Rng::with_seed(2));
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, format!("{}BT ({key}) Tj ET", "1 0 0 1 72 720 Tm ".repeat(50)).as_bytes())
        .unwrap();
    let pdf =
        [&b"%PDF-1.7\n1 0 obj << /Filter /FlateDecode >>\nstream\r\n"[..], &encoder.finish().unwrap(), b"\nendstream"]
            .concat();
    fs::write(folder.path().join("a.pdf"), pdf).unwrap();
    assert_eq!(files(&tree(folder.path()).hits, folder.path()), ["a.pdf!stream0"]);
}
