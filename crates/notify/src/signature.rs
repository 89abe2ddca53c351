//! Signatures of webhooks, per Standard Webhooks: HMAC-SHA-256 over `id.timestamp.body`.
//!
//! Promises: comparison takes the same time whatever differs; what was signed more than [`WINDOW_SECONDS`] ago, or
//! ahead, does not verify; a secret is read once into a [`SigningKey`], and only that can sign.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keys::{Random, Secret};
use zeroize::Zeroizing;

/// What signing secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// What a symmetric signature begins with.
const SIGNATURE_PREFIX: &str = "v1,";
/// Bytes of a new secret's key; Standard Webhooks asks for 24 to 64.
const NEW_KEY_BYTES: usize = 32;
/// The range that Standard Webhooks asks for.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Seconds by which the time of a signature may differ from the verifier's, both ways.
pub const WINDOW_SECONDS: i64 = 300;

/// Why a secret cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and 24 to 64 bytes in base64")]
pub struct MalformedSecret;

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The timestamp is no number.
    #[error("the timestamp is not a number of seconds")]
    Timestamp,
    /// It was signed too long ago, or in the future.
    #[error("the timestamp is more than {WINDOW_SECONDS} seconds off")]
    OutsideWindow,
    /// No signature is of this secret, id, time and body.
    #[error("no signature matches")]
    NoMatch,
}

/// A new signing secret: `whsec_` and 32 random bytes in base64.
pub fn new_secret(random: &dyn Random) -> Secret {
    let mut key = Zeroizing::new([0; NEW_KEY_BYTES]);
    random.fill(&mut *key);
    let encoded = Zeroizing::new(STANDARD.encode(*key));
    Secret::new(format!("{SECRET_PREFIX}{}", *encoded))
}

/// A signing secret, read.
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Reads a secret.
    ///
    /// # Errors
    /// When it does not have the form of one.
    pub fn read(secret: &Secret) -> Result<SigningKey, MalformedSecret> {
        let encoded = secret.expose().strip_prefix(SECRET_PREFIX).ok_or(MalformedSecret)?;
        let key = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| MalformedSecret)?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(MalformedSecret);
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The value of `webhook-signature` for this message; `timestamp` is in Unix seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(head(id, timestamp).as_bytes());
        context.update(body);
        format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(context.sign()))
    }

    /// Whether one of the signatures in `signatures`, separated by blanks, is this key's. `timestamp` is the header's
    /// text, `now` in Unix seconds.
    ///
    /// # Errors
    /// When none is, or the time is off.
    pub fn verify(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8], now: i64) -> Result<(), Unverified> {
        let timestamp: i64 = timestamp.parse().map_err(|_| Unverified::Timestamp)?;
        if timestamp.abs_diff(now) > WINDOW_SECONDS.unsigned_abs() {
            return Err(Unverified::OutsideWindow);
        }
        let mut signed = head(id, timestamp).into_bytes();
        signed.extend_from_slice(body);
        let matches = |signature: &str| {
            let encoded = signature.strip_prefix(SIGNATURE_PREFIX)?;
            let tag = STANDARD.decode(encoded).ok()?;
            hmac::verify(&self.0, &signed, &tag).ok()
        };
        signatures.split(' ').find_map(matches).ok_or(Unverified::NoMatch)
    }
}

/// What is signed before the body.
fn head(id: &str, timestamp: i64) -> String {
    format!("{id}.{timestamp}.")
}

#[cfg(test)]
mod tests {
    use keys::SystemRandom;
    use proptest::prelude::*;

    use super::*;

    /// The example of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key() -> SigningKey {
        SigningKey::read(&Secret::new(SECRET)).expect("a secret")
    }

    fn verify(timestamp: &str, signatures: &str, now: i64) -> Result<(), Unverified> {
        key().verify(ID, timestamp, signatures, BODY, now)
    }

    #[test]
    fn the_published_example_signs_and_verifies() {
        assert_eq!(key().sign(ID, TIMESTAMP, BODY), SIGNATURE);
        assert_eq!(verify("1614265330", SIGNATURE, TIMESTAMP), Ok(()));
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let several = format!("v1,AAAA v2,{} {SIGNATURE}", &SIGNATURE[3..]);
        assert_eq!(verify("1614265330", &several, TIMESTAMP), Ok(()));
        let other_version = SIGNATURE.replace("v1,", "v2,");
        assert_eq!(verify("1614265330", &other_version, TIMESTAMP), Err(Unverified::NoMatch));
        assert_eq!(verify("1614265330", "", TIMESTAMP), Err(Unverified::NoMatch));
    }

    #[test]
    fn the_window_is_closed_at_both_ends() {
        for now in [TIMESTAMP - 300, TIMESTAMP + 300] {
            assert_eq!(verify("1614265330", SIGNATURE, now), Ok(()));
        }
        for now in [TIMESTAMP - 301, TIMESTAMP + 301, i64::MIN, i64::MAX] {
            assert_eq!(verify("1614265330", SIGNATURE, now), Err(Unverified::OutsideWindow));
        }
        assert_eq!(verify("yesterday", SIGNATURE, TIMESTAMP), Err(Unverified::Timestamp));
    }

    #[test]
    fn new_secrets_sign_and_differ() {
        let (one, other) = (new_secret(&SystemRandom), new_secret(&SystemRandom));
        assert!(one != other);
        let signature = SigningKey::read(&one).expect("a secret").sign(ID, TIMESTAMP, BODY);
        let verified = |secret| {
            let key = SigningKey::read(secret).expect("a secret");
            key.verify(ID, "1614265330", &signature, BODY, TIMESTAMP)
        };
        assert_eq!((verified(&one), verified(&other)), (Ok(()), Err(Unverified::NoMatch)));
    }

    #[test]
    fn what_is_no_secret_does_not_sign() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwj*", &short, &long] {
            assert!(SigningKey::read(&Secret::new(text)).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_change_of_anything_breaks_the_signature(
            body in prop::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
            later in 1..=300_i64,
        ) {
            let signature = key().sign(ID, TIMESTAMP, &body);
            let at = |timestamp: i64, id: &str, body: &[u8]| {
                key().verify(id, &timestamp.to_string(), &signature, body, TIMESTAMP)
            };
            prop_assert_eq!(at(TIMESTAMP, ID, &body), Ok(()));
            prop_assert_eq!(at(TIMESTAMP + later, ID, &body), Err(Unverified::NoMatch));
            prop_assert_eq!(at(TIMESTAMP, "msg_other", &body), Err(Unverified::NoMatch));
            let mut changed = body.clone();
            match changed.is_empty() {
                true => changed.push(0),
                false => changed[flip.index(body.len())] ^= 1,
            }
            prop_assert_eq!(at(TIMESTAMP, ID, &changed), Err(Unverified::NoMatch));
        }
    }
}
