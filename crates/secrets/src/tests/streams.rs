//! Findings do not depend on where a stream is cut, and what is held back is enough.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Pieces that open, nearly open, and end candidates in every layer.
const PIECES: &[&str] = &[
    "sk-",
    "sk",
    "s",
    "proj-",
    "sk-proj-",
    "T3BlbkFJ",
    "aB3dE5fG7hJ9kL1mN2pQ",
    "Zx8Wv6Ut4Sr2Qp0On9Ml",
    "c2stcHJvai1hQjNkRTVmRzdoSjlrTDFtTjJwUVQzQmxia0ZKWng4V3Y2VXQ0U3IyUXAwT245TWw=",
    "\\u0073\\u006b-",
    "\\",
    "\\u00",
    "73",
    "%73",
    "%",
    "&#115;",
    "&#",
    "\"",
    "\" + \"",
    "', '",
    "\n",
    "\r\n",
    " ",
    "\\n",
    "=\r\n",
    "\u{200b}",
    "\0",
    "sp-proj_",
    "ghp_",
    "AKIA",
    "Q3EGRCV5XWN2TY4K",
    "736b2d",
    "616233646535664737684a396b4c316d4e3270515433426c626b464a5a783857",
    "115,107,45,",
    "97,66,51,100,69,53,102,",
    "0x73, 0x6b, 0x2d",
    "<b>",
    "\n\ndata: ",
    "</b>",
    "\"content\":\"",
    "\"}}]}\n\ndata: {\"delta\":{\"content\":\"",
    "NEXT_PUBLIC_OPENAI_KEY",
    "=abc12345XYZ9",
    "-----BEGIN PRIVATE KEY-----",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
    "-----END PRIVATE KEY-----",
    "fx-",
    "some words in between, ",
    "postgres://u:",
    "hX7kQ2mZ@db",
];

fn engine() -> Engine {
    static ENGINE: std::sync::LazyLock<Engine> =
        std::sync::LazyLock::new(|| Engine::new(Config { finds_reversed: true, ..Config::default() }));
    ENGINE.clone()
}

fn cut(bytes: &[u8], cuts: &[usize]) -> (Vec<Finding>, Vec<(u64, usize)>) {
    let mut stream = engine().stream();
    let (mut findings, mut held) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    let mut at = 0;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        findings.extend(stream.push(piece));
        at += piece.len() as u64;
        held.push((at, stream.held_back()));
        rest = behind;
    }
    findings.extend(stream.finish());
    (findings, held)
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {:?} {:?} {}", f.rule.kind, f.span, f.encodings, f.secret.expose())).collect()
}

fn same_for_every_cut(bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let whole = engine().scan(bytes);
    let (findings, held) = cut(bytes, cuts);
    prop_assert_eq!(shown(&whole), shown(&findings));
    // No finding begins in what was passed on before it was told, unless it was told by then.
    for (at, held) in held {
        prop_assert!(held <= crate::HELD_BACK_BYTES_MAX);
        let passed = at - held as u64;
        for finding in &whole {
            prop_assert!(
                finding.span.end <= passed || finding.span.start >= passed,
                "{finding:?} at {at}, held {held}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 3_000 } else { 20_000 }))]

    #[test]
    fn pieces_cut_anywhere(pieces in prop::collection::vec(select(PIECES), 0..40), cuts in prop::collection::vec(1_usize..60, 1..8)) {
        same_for_every_cut(pieces.concat().as_bytes(), &cuts)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 2000 }))]

    #[test]
    fn long_text_cut_anywhere(seed: u64, cuts in prop::collection::vec(1_usize..9000, 1..8)) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut text = String::new();
        while text.len() < 30_000 {
            match rng.u8(..8) {
                0 => text.push_str(PIECES[rng.usize(..PIECES.len())]),
                1 => text.push_str(&openai_keys(&mut rng)[rng.usize(..10)]),
                2 => { let n = rng.usize(..600); text.push_str(&random(&mut rng, URL, n)) }
                _ => text.push_str(&" lorem ipsum dolor".repeat(rng.usize(..30))),
            }
        }
        same_for_every_cut(text.as_bytes(), &cuts)?;
    }
}

#[test]
fn ordinary_text_is_hardly_held_back() {
    let mut stream = super::engine().stream();
    let mut most = 0;
    for word in
        "the quick brown fox, asks \"why\" and jumps over 12 lazy dogs.\nAnd so on. ".repeat(50).split_inclusive(' ')
    {
        stream.push(word.as_bytes());
        most = most.max(stream.held_back());
    }
    assert!(most <= 2, "{most}");
}
