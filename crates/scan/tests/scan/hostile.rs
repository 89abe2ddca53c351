//! What must cost a warning, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;

use crate::make::{gzip, openai, tar, zip};
use crate::{files, tree};

#[test]
fn bombs_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    // A gigabyte of zeros in a megabyte, and the same inside itself.
    let zeros = vec![0_u8; 16 << 20];
    let layer = zip(&[("zeros", &zeros)]);
    let many: Vec<(String, &[u8])> = (0..40).map(|at| (format!("{at}.zip"), layer.as_slice())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    fs::write(folder.path().join("nested.zip"), zip(&many)).unwrap();
    fs::write(folder.path().join("flat.tar.gz"), gzip(&tar(&[("a", &vec![0; 300 << 20])]))).unwrap();
    let outcome = tree(folder.path());
    assert!(outcome.hits.is_empty());
    assert!(
        outcome.warnings.iter().filter(|warning| warning.contains("no honest archive")).count() >= 2,
        "{:?}",
        outcome.warnings
    );
    assert!(outcome.bytes < 700 << 20, "{}", outcome.bytes);
}

#[test]
fn too_deep_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = b"the end".to_vec();
    for _ in 0..9 {
        bytes = gzip(&bytes);
    }
    fs::write(folder.path().join("deep.gz"), bytes).unwrap();
    let outcome = tree(folder.path());
    assert!(outcome.warnings[0].contains("packed more than"), "{:?}", outcome.warnings);
}

#[test]
fn links_pipes_and_forbidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let key = openai(&mut fastrand::Rng::with_seed(3));
    fs::write(outside.path().join("secret"), &key).unwrap();
    fs::write(folder.path().join("mine"), &key).unwrap();
    symlink(outside.path(), folder.path().join("away")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    symlink(folder.path(), folder.path().join("loop")).unwrap();
    symlink("itself", folder.path().join("itself")).unwrap();
    std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(pipe.success());
    let outcome = tree(folder.path());
    assert_eq!(files(&outcome.hits, folder.path()), ["mine"]);
    // Pipe, socket, and the two links that lead nowhere new.
    assert_eq!(outcome.warning_count, 4, "{:?}", outcome.warnings);
}

#[test]
fn broken_archives_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let key = openai(&mut fastrand::Rng::with_seed(4));
    let whole = zip(&[("a", b"some text"), ("b", b"more")]);
    fs::write(folder.path().join("cut.zip"), [&whole[..whole.len() / 2], b"\n", key.as_bytes()].concat()).unwrap();
    fs::write(folder.path().join("cut.gz"), &gzip(&[key.as_bytes(), &[b'x'; 100_000]].concat())[..150]).unwrap();
    fs::write(folder.path().join("no.gz"), [&[0x1f, 0x8b, 8], key.as_bytes()].concat()).unwrap();
    let outcome = tree(folder.path());
    assert!(files(&outcome.hits, folder.path()).contains(&"cut.zip"), "{:?}", outcome.hits);
    assert!(outcome.warning_count >= 3, "{:?}", outcome.warnings);
}

#[test]
fn a_long_line_keeps_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let key = openai(&mut fastrand::Rng::with_seed(5));
    let text = format!("{}\"{key}\"{}", "function a(e){return e}".repeat(100_000), ";x(1)".repeat(10_000));
    fs::write(folder.path().join("bundle.js"), text).unwrap();
    let outcome = tree(folder.path());
    assert_eq!(outcome.hits.len(), 1);
    assert_eq!((outcome.hits[0].line, outcome.hits[0].column), (1, 2_300_002));
    assert_eq!(outcome.hits[0].span.start, 2_300_001);
}
