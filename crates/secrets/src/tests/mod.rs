//! The promises of the crate, on keys made from seeds.

mod hiding;
mod quiet;
mod spans;
mod streams;
mod table;

use crate::{Config, Engine, Finding};

/// One for all tests: automata are built once.
pub(crate) fn engine() -> Engine {
    static ENGINE: std::sync::LazyLock<Engine> = std::sync::LazyLock::new(|| Engine::new(Config::default()));
    ENGINE.clone()
}

/// Random characters of an alphabet.
pub(crate) fn random(rng: &mut fastrand::Rng, alphabet: &str, count: usize) -> String {
    let alphabet = alphabet.as_bytes();
    (0..count).map(|_| char::from(alphabet[rng.usize(..alphabet.len())])).collect()
}

pub(crate) const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(crate) const URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Keys of the OpenAI API of every known shape.
pub(crate) fn openai_keys(rng: &mut fastrand::Rng) -> Vec<String> {
    let mut keys = vec![format!("sk-{}T3BlbkFJ{}", random(rng, ALNUM, 20), random(rng, ALNUM, 20))];
    for (word, half) in [
        ("proj", 20),
        ("proj", 58),
        ("proj", 74),
        ("svcacct", 58),
        ("svcacct", 74),
        ("admin", 58),
        ("None", 20),
        ("service-search-index", 20),
        ("service-search-index", 58),
    ] {
        keys.push(format!("sk-{word}-{}T3BlbkFJ{}", random(rng, URL, half), random(rng, URL, half)));
    }
    keys
}

/// A key of this gate.
pub(crate) fn own_key(rng: &mut fastrand::Rng, kind: keys::Kind) -> String {
    struct Seeded(std::sync::Mutex<fastrand::Rng>);
    impl keys::Random for Seeded {
        fn fill(&self, bytes: &mut [u8]) {
            self.0.lock().unwrap().fill(bytes);
        }
    }
    keys::Shape::default().mint(kind, &Seeded(std::sync::Mutex::new(rng.fork()))).expose().to_owned()
}

pub(crate) fn secrets(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.secret.expose()).collect()
}
