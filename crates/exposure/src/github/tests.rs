//! Signatures, key sets, alerts and labels, with the vectors that GitHub publishes.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::Secret;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const ID: &str = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n";
const BODY: &[u8] =
    br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
/// Its second integer has 31 bytes: shorter than most.
const SIGNATURE: &str =
    "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==";
const NOW: i64 = 1_790_000_000;

fn listed(id: &str, pem: &str, is_current: bool) -> serde_json::Value {
    json!({"key_identifier": id, "key": pem, "is_current": is_current, "of_a_later_version": [1]})
}

fn set_of(keys: &[serde_json::Value]) -> KeySet {
    KeySet::parse(json!({"public_keys": keys, "more": {}}).to_string().as_bytes(), NOW, None).expect("a key set")
}

fn theirs() -> KeySet {
    set_of(&[listed(ID, PEM, true)])
}

fn verify<'b>(set: &KeySet, id: &str, signature: &str, body: &'b [u8]) -> Result<Verified<'b>, Unverified> {
    set.verify(Signature { key_identifier: id, base64: signature }, body, NOW)
}

/// A signer of our own: its PEM, and signatures.
struct Signer(EcdsaKeyPair);

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

impl Signer {
    fn new() -> Signer {
        Signer(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key"))
    }

    fn pem(&self) -> String {
        let head = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        let mut der: Vec<u8> =
            (0..head.len()).step_by(2).map(|at| u8::from_str_radix(&head[at..at + 2], 16).expect("hex")).collect();
        der.extend(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn sign(&self, body: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), body).expect("a signature").as_ref().to_vec()
    }
}

#[test]
fn the_published_vector_verifies_and_reads() {
    assert_eq!(BODY.len(), 104);
    let verified = verify(&theirs(), ID, SIGNATURE, BODY).expect("genuine");
    let alerts = verified.alerts().expect("alerts");
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((alert.token.expose(), alert.kind.as_str()), ("some_token", "some_type"));
    assert_eq!(
        (alert.url.as_deref(), alert.source.as_deref()),
        (Some("https://example.com/base-repo-url/"), Some("commit"))
    );
}

#[test]
fn the_identifier_is_the_hash_of_the_pem() {
    assert_eq!(token_hash(&Secret::new(PEM)), ID);
}

#[test]
fn only_the_body_as_it_came_is_signed() {
    let set = theirs();
    let respaced = String::from_utf8(BODY.to_vec()).expect("text").replace("\":\"", "\": \"");
    for body in [&b""[..], b"[]", &BODY[..103], respaced.as_bytes(), &[BODY, b"\n"].concat()] {
        assert_eq!(verify(&set, ID, SIGNATURE, body).expect_err("forged"), Unverified::Signature);
    }
}

#[test]
fn a_signature_of_another_key_or_under_another_name_is_none() {
    let ours = SIGNER.sign(BODY);
    let set = set_of(&[listed(ID, PEM, true), listed("ours", &SIGNER.pem(), true)]);
    assert!(verify(&set, "ours", &STANDARD.encode(&ours), BODY).is_ok());
    assert_eq!(verify(&set, ID, &STANDARD.encode(&ours), BODY).expect_err("forged"), Unverified::Signature);
    assert_eq!(verify(&set, "ours", SIGNATURE, BODY).expect_err("forged"), Unverified::Signature);
    for unknown in ["", "nobody", &ID[..63], &ID.to_uppercase()] {
        assert_eq!(verify(&set, unknown, SIGNATURE, BODY).expect_err(unknown), Unverified::UnknownKey);
    }
}

#[test]
fn text_that_is_no_der_signature_is_none() {
    let set = theirs();
    let der = STANDARD.decode(SIGNATURE).expect("base64");
    let (r, s) = (&der[4..37], &der[39..]);
    let integer = |bytes: &[u8]| [&[2, u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let pair = |r: &[u8], s: &[u8]| {
        let both = [integer(r), integer(s)].concat();
        [&[0x30, u8::try_from(both.len()).expect("short")], both.as_slice()].concat()
    };
    assert_eq!(pair(r, s), der, "the vector is put together again");
    let padded = [&[0], s].concat();
    let forged: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("truncated", der[..der.len() - 1].to_vec()),
        ("a byte behind", [der.as_slice(), &[0]].concat()),
        ("a zero too many", pair(r, &padded)),
        ("a negative r", pair(&r[1..], s)),
        ("zeros", pair(&[0], &[0])),
        ("an empty integer", pair(r, &[])),
        ("r and s swapped", pair(s, r)),
        ("fixed width, not DER", [&r[1..], padded.as_slice()].concat()),
    ];
    for (what, der) in forged {
        assert_eq!(verify(&set, ID, &STANDARD.encode(der), BODY).expect_err(what), Unverified::Signature, "{what}");
    }
    for text in ["", "====", "not base64!", &SIGNATURE[..95], &format!(" {SIGNATURE}"), &SIGNATURE.replace('/', "_")] {
        assert_eq!(verify(&set, ID, text, BODY).expect_err(text), Unverified::Signature, "{text}");
    }
    let huge = STANDARD.encode(vec![0x30; 100_000]);
    assert_eq!(verify(&set, ID, &huge, BODY).expect_err("huge"), Unverified::Signature);
}

proptest! {
    #[test]
    fn one_bit_makes_another_signature(bit in 0_usize..70 * 8) {
        let mut der = STANDARD.decode(SIGNATURE).expect("base64");
        prop_assert_eq!(der.len(), 70);
        der[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&theirs(), ID, &STANDARD.encode(der), BODY).is_err());
    }

    #[test]
    fn one_bit_makes_another_body(bit in 0_usize..104 * 8) {
        let mut body = BODY.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&theirs(), ID, SIGNATURE, &body).is_err());
    }

    #[test]
    fn whatever_is_signed_verifies(body: Vec<u8>) {
        let set = set_of(&[listed("ours", &SIGNER.pem(), true)]);
        let signature = STANDARD.encode(SIGNER.sign(&body));
        prop_assert!(verify(&set, "ours", &signature, &body).is_ok());
    }

    #[test]
    fn no_bytes_panic(body: Vec<u8>, id in ".{0,80}", signature in ".{0,120}") {
        prop_assert!(verify(&theirs(), &id, &signature, &body).is_err());
        let _ = parse_alerts(&body);
        let _ = KeySet::parse(&body, NOW, None);
    }

    #[test]
    fn alerts_read_back(tokens in prop::collection::vec((".{0,40}", "[a-z_]{1,10}", prop::option::of("[ -~]{0,50}")), 0..20)) {
        let body: serde_json::Value = tokens
            .iter()
            .map(|(token, kind, url)| json!({"token": token, "type": kind, "url": url, "source": null, "x": {"token": 1}}))
            .collect();
        let alerts = parse_alerts(body.to_string().as_bytes()).expect("alerts");
        prop_assert_eq!(alerts.len(), tokens.len());
        for (alert, (token, kind, url)) in alerts.iter().zip(&tokens) {
            prop_assert_eq!((alert.token.expose(), &alert.kind), (token.as_str(), kind));
            let url = url.as_deref().map(str::trim).filter(|url| !url.is_empty());
            prop_assert_eq!((alert.url.as_deref(), &alert.source), (url, &None));
        }
    }
}

#[test]
fn a_replaced_key_counts_for_a_day() {
    let current = theirs();
    let json = json!({"public_keys": [listed(ID, PEM, false)]}).to_string();
    let replaced = KeySet::parse(json.as_bytes(), NOW, Some(&current)).expect("a key set");
    // A refresh later on does not begin the day anew.
    let refreshed = KeySet::parse(json.as_bytes(), NOW + 80_000, Some(&replaced)).expect("a key set");
    let signature = Signature { key_identifier: ID, base64: SIGNATURE };
    for set in [&replaced, &refreshed] {
        assert!(set.verify(signature, BODY, NOW + REPLACED_KEY_SECONDS_MAX).is_ok());
        let late = set.verify(signature, BODY, NOW + REPLACED_KEY_SECONDS_MAX + 1);
        assert_eq!(late.expect_err("late"), Unverified::ReplacedKey);
    }
    let json = json!({"public_keys": [listed(ID, PEM, true)]}).to_string();
    let again = KeySet::parse(json.as_bytes(), NOW + 90_000, Some(&refreshed)).expect("a key set");
    assert!(again.verify(signature, BODY, i64::MAX).is_ok(), "it is current again");
}

#[test]
fn a_key_set_that_could_mislead_is_none() {
    let parse = |json: serde_json::Value| KeySet::parse(json.to_string().as_bytes(), NOW, None);
    let (ours, x25519) = (SIGNER.pem(), "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAAAAA\n-----END PUBLIC KEY-----\n");
    assert!(matches!(parse(json!([])), Err(KeySetError::Shape(_))));
    assert!(matches!(parse(json!({"public_keys": [{"key": PEM, "is_current": true}]})), Err(KeySetError::Shape(_))));
    assert!(matches!(parse(json!({"public_keys": []})), Err(KeySetError::Empty)));
    assert!(matches!(parse(json!({"public_keys": [listed("x", x25519, true)]})), Err(KeySetError::Empty)));
    let two = json!({"public_keys": [listed(ID, PEM, true), listed(ID, &ours, true)]});
    assert!(matches!(parse(two), Err(KeySetError::Ambiguous(_))));
    let many: Vec<_> = (0..65).map(|number| listed(&number.to_string(), PEM, true)).collect();
    assert!(matches!(parse(json!({"public_keys": many})), Err(KeySetError::TooMany(65))));
    // A kind that is not known does not take the others with it.
    let mixed = parse(json!({"public_keys": [listed("x", x25519, true), listed(ID, PEM, true)]})).expect("a key set");
    assert!(mixed.knows(ID) && !mixed.knows("x"));
}

#[test]
fn bodies_that_are_no_reports_are_refused_without_repeating_them() {
    assert!(parse_alerts(b"[]").expect("empty").is_empty());
    for body in [
        &b""[..],
        b"{}",
        b"null",
        b"[1]",
        br#"[["sp-proj_secret","type"]]"#,
        br#"[{"token":"sp-proj_secret"}]"#,
        br#"[{"token":"sp-proj_secret","token":"b","type":"t"}]"#,
        br#"[{"token":5,"type":"sp-proj_secret"}]"#,
        br#"[{"token":"sp-proj_secret","type":"t"}"#,
        br#"[{"token":"sp-proj_secret","type":"t"}] []"#,
        b"[{\"token\":\"\xff\",\"type\":\"sp-proj_secret\"}]",
        "[".repeat(100_000).as_bytes(),
    ] {
        let error = parse_alerts(body).expect_err("no report");
        assert!(matches!(error, MalformedAlerts::Shape { .. }) && !error.to_string().contains("sp-proj"), "{error}");
    }
}

#[test]
fn a_report_is_bounded_in_number() {
    let of = |count: usize| format!("[{}]", vec![r#"{"token":"t","type":"k"}"#; count].join(","));
    assert_eq!(parse_alerts(of(ALERTS_MAX).as_bytes()).expect("alerts").len(), ALERTS_MAX);
    assert!(matches!(parse_alerts(of(ALERTS_MAX + 1).as_bytes()), Err(MalformedAlerts::TooMany)));
    // What lies behind the bound must be JSON all the same.
    let broken = of(ALERTS_MAX + 1).replacen(']', ",]", 1);
    assert!(matches!(parse_alerts(broken.as_bytes()), Err(MalformedAlerts::Shape { .. })));
}

#[test]
fn words_from_outside_are_one_line_of_bounded_length() {
    let body = json!([{"token": "t", "type": "k", "url": format!("https://e\u{1b}[2J\n{}", "x".repeat(9_000)), "source": "  "}]);
    let alerts = parse_alerts(body.to_string().as_bytes()).expect("alerts");
    let url = alerts[0].url.as_deref().expect("a url");
    assert!(url.starts_with("https://e[2Jxx") && url.chars().count() == 2_048 && alerts[0].source.is_none());
}

#[test]
fn a_token_in_its_own_address_is_taken_out() {
    let token = "sp-proj_0123456789abcdefghij";
    let urls = [
        format!("https://example.com/?key={token}&x=1"),
        format!("https://example.com/{}\u{7}{}", &token[..9], &token[9..]),
        format!("https://example.com/{}{token}", "x".repeat(2_020)),
    ];
    for url in urls {
        let body = json!([{"token": token, "type": "k", "url": url, "source": token}]);
        let alerts = parse_alerts(body.to_string().as_bytes()).expect("alerts");
        let (url, source) = (alerts[0].url.as_deref().expect("a url"), alerts[0].source.as_deref());
        assert!(!url.contains(&token[..9]) && source == Some("[token]"), "{url}");
    }
}

#[test]
fn answers_name_tokens_by_hash_once_for_each_type() {
    let labelled = |token: &str, kind: &str, label| Labelled {
        token_hash: token_hash(&Secret::new(token)),
        kind: kind.to_owned(),
        label,
    };
    let (ours, other) = (labelled("a", "k", Label::TruePositive), labelled("b", "k", Label::FalsePositive));
    let answer = answer(&[ours.clone(), other, ours, labelled("a", "j", Label::TruePositive)]);
    let of_a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert_eq!(
        answer,
        json!([
            {"token_hash": of_a, "token_type": "k", "label": "true_positive"},
            {"token_hash": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d", "token_type": "k", "label": "false_positive"},
            {"token_hash": of_a, "token_type": "j", "label": "true_positive"},
        ])
    );
    assert_eq!(super::answer(&[]), json!([]));
}
