//! The whole way, against scripted receivers on this machine.

mod mail;
mod mail_server;
mod memory;
mod notifier;
mod receiver;
mod webhooks;

use std::sync::Arc;

use keys::Secret;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use store::{Notice, SpendAlert};

use crate::{Target, Webhooks};

/// The time of attempts in tests without a clock.
const NOW: i64 = 1_789_381_320;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn notice(id: &str) -> Notice {
    Notice {
        id: id.to_owned(),
        kind: SpendAlert::NOTICE_KIND.to_owned(),
        created_at: 1_789_381_000,
        payload: json!({"alert_id": "alert_1", "spent_nanousd": 52_000_000_000_u64}),
    }
}

/// Webhooks of which one, `webhook_1`, is known.
fn webhooks(url: String) -> Webhooks {
    webhooks_with(client_tls(&[]), url)
}

fn webhooks_with(tls: rustls::ClientConfig, url: String) -> Webhooks {
    Webhooks::new(tls, move |id| (id == "webhook_1").then(|| Target { url: url.clone(), secret: Secret::new(SECRET) }))
}

/// TLS that trusts these certificates only.
fn client_tls(trusted: &[CertificateDer<'static>]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).expect("a certificate");
    }
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

/// A certificate of 127.0.0.1 that nobody signed, and a server with it.
fn server_tls() -> (CertificateDer<'static>, tokio_rustls::TlsAcceptor) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a configuration");
    (cert.der().clone(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
