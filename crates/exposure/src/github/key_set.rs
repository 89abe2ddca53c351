//! Who may sign: GitHub's public keys, and the test of a signature against them.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;

use super::alerts::{Alert, MalformedAlerts, parse_alerts};

/// How long a key is taken that the set lists as replaced: a delivery that was signed before the change, and is sent
/// again, still counts. The time runs from when this process first saw the key as replaced.
pub const REPLACED_KEY_SECONDS_MAX: i64 = 86_400;
/// Most keys of a set. GitHub's has a handful.
const KEYS_MAX: usize = 64;
/// What the DER of a P-256 public key begins with (RFC 5480): everything before its uncompressed point.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point: 4, then two coordinates.
const POINT_BYTES: usize = 65;
/// Most bytes of a signature: two integers of 33 bytes, their heads, and the sequence's.
const SIGNATURE_BYTES_MAX: usize = 72;

/// Why a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not the JSON that is expected.
    #[error("the key set is not JSON of the form {{\"public_keys\": [{{key_identifier, key, is_current}}]}}: {0}")]
    Shape(#[source] serde_json::Error),
    /// Too many keys.
    #[error("the key set has {0} keys, more than {KEYS_MAX}")]
    TooMany(usize),
    /// Two keys under one identifier: nobody could say which is meant.
    #[error("the key set has two keys with the identifier `{0}`")]
    Ambiguous(String),
    /// No key in it is a P-256 key in PEM.
    #[error("the key set has no P-256 public key in PEM")]
    Empty,
}

/// Why a report is not taken for GitHub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The key set has no key with this identifier.
    #[error("no key of the key set has this identifier")]
    UnknownKey,
    /// The key was replaced too long ago.
    #[error("the key that signed was replaced more than a day ago")]
    ReplacedKey,
    /// The signature is not base64 of a DER signature, or not the body's.
    #[error("the signature does not fit the body")]
    Signature,
}

#[derive(Deserialize)]
struct Written {
    public_keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
struct WrittenKey {
    key_identifier: String,
    key: String,
    is_current: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct PublicKey {
    point: [u8; POINT_BYTES],
    /// When it was first seen as replaced; `None` while it is current.
    replaced_at: Option<i64>,
}

/// The keys that may sign.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: HashMap<String, PublicKey>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

/// What a report's headers say.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// Which key signed.
    pub key_identifier: &'a str,
    /// The signature in base64.
    pub base64: &'a str,
}

/// A body that one of the keys signed. Only [`KeySet::verify`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'b> {
    body: &'b [u8],
}

impl Verified<'_> {
    /// Reads the alerts.
    ///
    /// # Errors
    /// When the body is no report, or one of too many.
    pub fn alerts(&self) -> Result<Vec<Alert>, MalformedAlerts> {
        parse_alerts(self.body)
    }
}

impl KeySet {
    /// Reads a key set as GitHub serves it, at a time in Unix seconds; `before` is the set that it takes the place of,
    /// and remembers since when keys are replaced. Keys of kinds that are not known are left out.
    ///
    /// # Errors
    /// When the set is not what it should be, or has no key that can be used.
    pub fn parse(json: &[u8], now: i64, before: Option<&KeySet>) -> Result<KeySet, KeySetError> {
        let written: Written = serde_json::from_slice(json).map_err(KeySetError::Shape)?;
        if written.public_keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(written.public_keys.len()));
        }
        let mut keys = HashMap::new();
        for written in written.public_keys {
            let Some(point) = point(&written.key) else { continue };
            let known = before.and_then(|before| before.keys.get(&written.key_identifier));
            let since = || known.and_then(|known| known.replaced_at).unwrap_or(now);
            let key = PublicKey { point, replaced_at: (!written.is_current).then(since) };
            match keys.insert(written.key_identifier.clone(), key) {
                Some(other) if other.point != point => return Err(KeySetError::Ambiguous(written.key_identifier)),
                _ => {}
            }
        }
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(KeySet { keys }) }
    }

    /// Whether a key with this identifier is in the set, replaced or not.
    pub fn knows(&self, key_identifier: &str) -> bool {
        self.keys.contains_key(key_identifier)
    }

    /// Tests a body's signature at a time in Unix seconds.
    ///
    /// # Errors
    /// [`Unverified`] says which test failed.
    pub fn verify<'b>(&self, signature: Signature<'_>, body: &'b [u8], now: i64) -> Result<Verified<'b>, Unverified> {
        let key = self.keys.get(signature.key_identifier).ok_or(Unverified::UnknownKey)?;
        if key.replaced_at.is_some_and(|at| now.saturating_sub(at) > REPLACED_KEY_SECONDS_MAX) {
            return Err(Unverified::ReplacedKey);
        }
        let der = STANDARD.decode(signature.base64).map_err(|_| Unverified::Signature)?;
        if der.len() > SIGNATURE_BYTES_MAX {
            return Err(Unverified::Signature);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.point);
        key.verify(body, &der).map_err(|_| Unverified::Signature)?;
        Ok(Verified { body })
    }
}

/// The point of a P-256 key in PEM.
fn point(pem: &str) -> Option<[u8; POINT_BYTES]> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let point = der.strip_prefix(&P256_HEAD)?;
    // 4: both coordinates are written out.
    point.try_into().ok().filter(|point: &[u8; POINT_BYTES]| point[0] == 4)
}
