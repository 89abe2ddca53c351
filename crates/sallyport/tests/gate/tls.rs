//! TLS on both sides: a gate in front of a gate, which speaks HTTP/2 because both offer it.

use serde_json::{Value, json};
use testkit::{Options, Upstream};

use crate::world::{UPSTREAM_KEY, World};

/// A gate with TLS in front of an upstream, and a gate in front of that one which trusts its certificate.
fn chain() -> (World, World) {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let upstream = Upstream::start(Options { key: Some(UPSTREAM_KEY.into()), ..Options::default() });
    let url = upstream.url();
    let config = format!("[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}");
    let inner =
        World::start(upstream, &config, &[("SALLYPORT_UPSTREAM_KEY", UPSTREAM_KEY), ("SALLYPORT_UPSTREAM_URL", &url)]);
    let url = format!("https://{}/v1", inner.address);
    let config = format!("[upstream]\nca_file = {certificate:?}");
    let spare = Upstream::start(Options::default());
    let environment = [("SALLYPORT_UPSTREAM_KEY", inner.project_key.as_str()), ("SALLYPORT_UPSTREAM_URL", &url)];
    let outer = World::start(spare, &config, &environment);
    let _ = std::fs::remove_dir_all(folder);
    (outer, inner)
}

#[test]
fn http_2_over_tls_carries_answers_streams_and_errors() {
    let (outer, inner) = chain();
    let ask = json!({"model": "gpt-4o", "messages": []});
    for _ in 0..3 {
        assert_eq!(outer.post("/v1/chat/completions", &ask).json()["object"], "chat.completion");
    }
    let text = outer.post("/v1/chat/completions", &json!({"model": "gpt-4o", "stream": true, "messages": []})).text();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(outer.call(&outer.project_key, "GET", "/v1/models", &Value::Null).status, 200);
    let lines = inner.log_lines(5);
    assert!(lines.iter().all(|line| line["protocol"] == "HTTP/2.0" && line["status"] == 200), "{lines:#?}");
    inner.upstream.script(testkit::Script { cut_after: Some(900), ..testkit::Script::default() });
    let text = outer.post("/v1/chat/completions", &json!({"model": "gpt-4o", "stream": true, "messages": []})).text();
    assert!(text.contains("upstream_broken"), "{text}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (_outer, inner) = chain();
    let url = format!("https://{}/v1", inner.address);
    let environment = [("SALLYPORT_UPSTREAM_KEY", inner.project_key.as_str()), ("SALLYPORT_UPSTREAM_URL", &url)];
    let world = World::start(Upstream::start(Options::default()), "", &environment);
    let answer = world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_unreachable"));
    assert!(world.log_lines(1)[0]["cause"].as_str().is_some_and(|cause| cause.contains("certificate")));
}
