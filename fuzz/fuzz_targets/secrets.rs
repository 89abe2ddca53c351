//! Secrets in streams cut anywhere: what is found does not depend on the cuts, and nothing panics.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secrets::{Config, Engine, Finding, HELD_BACK_BYTES_MAX};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Config { finds_reversed: true, ..Config::default() }));

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {:?} {:?} {}", f.rule.kind, f.span, f.encodings, f.secret.expose())).collect()
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let whole = ENGINE.scan(&bytes);
    let mut stream = ENGINE.stream();
    let mut findings = Vec::new();
    let mut rest = bytes.as_slice();
    for cut in cuts {
        let (piece, behind) = rest.split_at(usize::from(cut).min(rest.len()));
        findings.extend(stream.push(piece));
        assert!(stream.held_back() <= HELD_BACK_BYTES_MAX);
        rest = behind;
    }
    findings.extend(stream.push(rest));
    findings.extend(stream.finish());
    assert_eq!(shown(&whole), shown(&findings));
});
