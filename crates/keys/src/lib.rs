//! Keys: their shape, how they are made, and the only forms in which they are kept.
//!
//! Promises: a secret prints as stars and is wiped when dropped; a client's key is kept as HMAC-SHA-256 under a pepper
//! and compared in constant time; its shape and checksum are tested without a look-up and without an allocation; the
//! pepper itself is kept sealed under the master key; upstream keys under a data key that the master key wraps.
//!
//! Left out: where any of it is stored.

mod data_key;
mod master;
mod shape;

pub use data_key::{DataKey, Enclosed, Place};
pub use master::{MasterKey, MasterKeyError, Sealed, UnsealError};
pub use shape::{Kind, Malformed, SECRET_CHARS, Shape, redacted, redacted_foreign};

use std::fmt;

use aws_lc_rs::{hmac, rand};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text: stars in every format, compared in constant time, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The secret itself. Every caller of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where randomness comes from; passed in, so that tests can repeat themselves.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness, by way of the cryptographic library.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// A key as it is looked up: HMAC-SHA-256 under the pepper. Useless without it.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest's bytes, for the store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// The server's own secret in every digest: a stolen database alone tests no key.
pub struct Pepper(hmac::Key);

impl Pepper {
    /// Bytes of a pepper.
    pub const BYTES: usize = 32;
    /// Bytes of an end user's keyed hash that are kept: nobody finds another name with the same.
    const END_USER_BYTES: usize = 16;

    /// Prepares a pepper.
    pub fn new(bytes: &[u8; Pepper::BYTES]) -> Pepper {
        Pepper(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The digest of a key. Of the key itself nothing stays on the stack, where the next caller may be a long time away.
    pub fn digest(&self, key: &str) -> Digest {
        let digest = self.sign(key);
        wipe_stack();
        digest
    }

    /// Has a frame of its own below its caller's, which [`wipe_stack`] then lies over.
    #[inline(never)]
    fn sign(&self, key: &str) -> Digest {
        let tag = hmac::sign(&self.0, key.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest(bytes)
    }

    /// The name under which an end user of a project is kept: the same within the project, nobody's outside it, and no
    /// personal data.
    pub fn end_user(&self, project: &str, end_user: &str) -> String {
        // No key has a line break in it, so that no key's digest can be asked for this way.
        let digest = self.digest(&format!("end user\n{project}\n{end_user}"));
        digest.as_bytes()[..Pepper::END_USER_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// More stack than an HMAC uses, whose contexts hold the last block of what was hashed. A test that reads the memory of a
/// running gate found it there, and sees that this is enough.
const HMAC_STACK_BYTES: usize = 8 * 1024;

/// Overwrites the stack below the caller's frame.
#[inline(never)]
fn wipe_stack() {
    let mut bytes = [0_u8; HMAC_STACK_BYTES];
    // Nobody reads it; the compiler is not to know.
    std::hint::black_box(&mut bytes);
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_as_stars() {
        let secret = Secret::new("sk-very-secret");
        let pepper = Pepper::new(&[7; 32]);
        let shown = format!("{secret} {secret:?} {pepper:?} {:?}", pepper.digest("x"));
        assert!(!shown.contains("very"));
        assert!(shown.starts_with("*** Secret(***) Pepper(***) Digest("));
        assert!(secret == Secret::new("sk-very-secret") && secret != Secret::new("sk-very"));
    }

    #[test]
    fn end_users_are_known_by_pepper_and_project_only() {
        let (pepper, other) = (Pepper::new(&[7; 32]), Pepper::new(&[8; 32]));
        let name = pepper.end_user("proj_a", "alice");
        // What is stored stays valid. Made with another implementation of HMAC.
        assert_eq!(name, "4e2b79fe846b1c6c43a60e5a4737884d");
        assert_eq!(pepper.end_user("proj_a", "alice"), name);
        for different in
            [pepper.end_user("proj_b", "alice"), pepper.end_user("proj_a", "Alice"), other.end_user("proj_a", "alice")]
        {
            assert_ne!(different, name);
        }
    }

    #[test]
    fn digests_depend_on_key_and_pepper() {
        let (one, two) = (Pepper::new(&[1; 32]), Pepper::new(&[2; 32]));
        assert_eq!(one.digest("a"), one.digest("a"));
        assert_ne!(one.digest("a"), one.digest("b"));
        assert_ne!(one.digest("a"), two.digest("a"));
        // RFC 4231, test case 2, with its short key padded by zeros as HMAC does.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = Pepper::new(&key).digest("what do ya want for nothing?");
        assert_eq!(digest.as_bytes()[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
