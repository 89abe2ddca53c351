//! The shape of a key: `<prefix><kind>_` + 43 base62 digits (256 random bits) + 6 base62 digits of CRC-32.
//!
//! The checksum lets a scanner, and the gate's first test, tell a real key from a look-alike without a look-up
//! (GitHub's and npm's scheme). `_` is no base64 digit and selects on a double click.

use crate::{Random, Secret};

/// Base62 digits of the random part: 62^43 > 2^256.
const RANDOM_CHARS: usize = 43;
/// Base62 digits of the checksum: 62^6 > 2^32.
const CHECKSUM_CHARS: usize = 6;
/// Characters behind the underscore.
pub const SECRET_CHARS: usize = RANDOM_CHARS + CHECKSUM_CHARS;
/// Longest prefix that an operator may choose.
const PREFIX_CHARS_MAX: usize = 16;
/// Most prefixes that keys may still have from earlier.
const FORMER_PREFIXES_MAX: usize = 8;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A project's key.
    Project,
    /// A service account's key.
    ServiceAccount,
    /// An administration key.
    Admin,
    /// A client secret: a short-lived key for browsers and devices.
    ClientSecret,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Project, Kind::ServiceAccount, Kind::Admin, Kind::ClientSecret];

    /// The kind's word in a key.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Project => "proj",
            Kind::ServiceAccount => "svc",
            Kind::Admin => "admin",
            Kind::ClientSecret => "cs",
        }
    }

    /// The kind of this word.
    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Not a key of this gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of this gate: prefix, length, alphabet or checksum do not fit")]
pub struct Malformed;

/// The shape of this gate's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    prefix: String,
    /// Prefixes that keys were made with before.
    former: Vec<String>,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { prefix: "sp-".into(), former: Vec::new() }
    }
}

impl Shape {
    /// A shape with the operator's own prefix: 1 to 16 of `A-Z a-z 0-9 - _`.
    pub fn new(prefix: &str) -> Option<Shape> {
        is_prefix(prefix).then(|| Shape { prefix: prefix.to_owned(), former: Vec::new() })
    }

    /// The same shape, which also takes keys that were made under other prefixes, 8 at most: an operator who changes
    /// the prefix need not replace every key on the same day. New keys have the shape's own prefix.
    pub fn accepting(self, former: &[&str]) -> Option<Shape> {
        let is_good = former.len() <= FORMER_PREFIXES_MAX && former.iter().all(|prefix| is_prefix(prefix));
        is_good.then(|| Shape { former: former.iter().map(|prefix| (*prefix).to_owned()).collect(), ..self })
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Makes a key.
    pub fn mint(&self, kind: Kind, random: &dyn Random) -> Secret {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        random.fill(&mut *bytes);
        let mut text = format!("{}{}_", self.prefix, kind.word());
        text.reserve_exact(SECRET_CHARS);
        push_base62(&mut text, &mut bytes);
        let checksum = crc32fast::hash(text.as_bytes());
        push_checksum(&mut text, checksum);
        Secret::new(text)
    }

    /// Tests shape and checksum, and says what kind of key it would be. Allocates nothing.
    ///
    /// That the random part is below 2^256 is not tested: none above is ever made, so the look-up refuses it like any
    /// other key that was never made, and the test would cost every request a long multiplication.
    ///
    /// # Errors
    /// [`Malformed`], without a hint at what is wrong.
    pub fn parse(&self, key: &str) -> Result<Kind, Malformed> {
        let mut prefixes = std::iter::once(&self.prefix).chain(&self.former);
        prefixes.find_map(|prefix| kind_of(key, prefix)).ok_or(Malformed)
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=PREFIX_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The kind of a well-formed key with this prefix.
fn kind_of(key: &str, prefix: &str) -> Option<Kind> {
    let (word, secret) = key.strip_prefix(prefix)?.split_once('_')?;
    let kind = Kind::from_word(word)?;
    if secret.len() != SECRET_CHARS || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (covered, checksum) = key.split_at(key.len() - CHECKSUM_CHARS);
    (checksum.as_bytes() == checksum_digits(crc32fast::hash(covered.as_bytes()))).then_some(kind)
}

/// Appends 256 bits as 43 base62 digits, by long division; wipes the bytes on the way.
fn push_base62(text: &mut String, bytes: &mut [u8; 32]) {
    for _ in 0..RANDOM_CHARS {
        let mut remainder = 0_u32;
        for byte in bytes.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).expect("the remainder is below 62, so the quotient is below 256");
            remainder = value % 62;
        }
        text.push(char::from(DIGITS[remainder as usize]));
    }
}

fn push_checksum(text: &mut String, checksum: u32) {
    text.extend(checksum_digits(checksum).map(char::from));
}

fn checksum_digits(mut checksum: u32) -> [u8; CHECKSUM_CHARS] {
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(checksum % 62) as usize];
        checksum /= 62;
    }
    digits
}

/// A key as lists show it: prefix and kind, stars, the last four.
pub fn redacted(key: &Secret) -> String {
    let text = key.expose();
    // The prefix may hold underscores, the secret holds none.
    let head = text.rfind('_').map_or("", |at| &text[..=at]);
    let tail = text.get(text.len().saturating_sub(4)..).unwrap_or_default();
    format!("{head}****{tail}")
}

/// Beginnings of the API's own keys, which tell their kind and nothing else.
const FOREIGN_PREFIXES: [&str; 5] = ["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", "sk-"];
/// Of a foreign key with fewer characters nothing is shown.
const FOREIGN_CHARS_MIN: usize = 24;

/// A key of somebody else's shape as lists show it: its kind where it is known, stars, the last four.
pub fn redacted_foreign(key: &Secret) -> String {
    let text = key.expose();
    if text.len() < FOREIGN_CHARS_MIN {
        return "****".to_owned();
    }
    let head = FOREIGN_PREFIXES.into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or_default();
    let tail = text.get(text.len() - 4..).unwrap_or_default();
    format!("{head}****{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SystemRandom;

    struct Fixed([u8; 32]);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0);
        }
    }

    proptest! {
        #[test]
        fn what_is_minted_parses_and_any_change_does_not(bytes: [u8; 32], at in 0_usize..58, to in "[!-~]") {
            let shape = Shape::default();
            let key = shape.mint(Kind::Project, &Fixed(bytes));
            let text = key.expose();
            prop_assert_eq!(text.len(), "sp-proj_".len() + SECRET_CHARS);
            prop_assert_eq!(shape.parse(text), Ok(Kind::Project));
            let mut changed = text.to_owned();
            let at = at.min(text.len() - 1);
            changed.replace_range(at..=at, &to);
            prop_assert!(changed == text || shape.parse(&changed) == Err(Malformed), "{} {}", at, to);
            prop_assert_eq!(shape.parse(&text[..text.len() - 1]), Err(Malformed));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = Shape::default().parse(&text);
            let _ = Shape::default().parse(&format!("sp-proj_{text}"));
        }
    }

    #[test]
    fn different_bytes_make_different_keys() {
        let shape = Shape::default();
        let keys: std::collections::HashSet<String> =
            (0..=255).map(|byte| shape.mint(Kind::Admin, &Fixed([byte; 32])).expose().to_owned()).collect();
        assert_eq!(keys.len(), 256);
        let low = shape.mint(Kind::Admin, &Fixed([0; 32]));
        assert!(low.expose().starts_with(&format!("sp-admin_{}", "0".repeat(43))));
    }

    #[test]
    fn a_foreign_key_shows_its_kind_and_four_characters_at_most() {
        for (key, shown) in [
            ("sk-proj-abc_def_ghi-jkl_mno_pqr_stu_vwxyz", "sk-proj-****wxyz"),
            ("sk-svcacct-0123456789abcdef0123456789", "sk-svcacct-****6789"),
            ("0123456789abcdef_0123456789_abcdef", "****cdef"),
            ("sk-too-short", "****"),
            ("", "****"),
        ] {
            assert_eq!(redacted_foreign(&Secret::new(key)), shown);
        }
    }

    #[test]
    fn a_redacted_key_shows_its_kind_and_four_characters() {
        let key = Shape::default().mint(Kind::ServiceAccount, &SystemRandom);
        let shown = redacted(&key);
        assert!(shown.starts_with("sp-svc_****") && shown.len() == "sp-svc_****".len() + 4);
        assert!(key.expose().ends_with(&shown[shown.len() - 4..]));
    }

    #[test]
    fn the_prefix_is_the_operator_s() {
        let shape = Shape::new("sk-acme-").expect("a good prefix");
        let key = shape.mint(Kind::Project, &SystemRandom);
        assert_eq!(shape.parse(key.expose()), Ok(Kind::Project));
        assert_eq!(Shape::default().parse(key.expose()), Err(Malformed));
        let shown = redacted(&Shape::new("my_co_").expect("a good prefix").mint(Kind::Admin, &SystemRandom));
        assert!(shown.starts_with("my_co_admin_****"), "{shown}");
        assert!(Shape::new("").is_none() && Shape::new("a b").is_none() && Shape::new(&"x".repeat(17)).is_none());
    }

    #[test]
    fn keys_outlive_a_change_of_the_prefix() {
        let (old, new) = (Shape::default(), Shape::new("sp-acme-").expect("a good prefix"));
        let key = old.mint(Kind::ServiceAccount, &SystemRandom);
        assert_eq!(new.parse(key.expose()), Err(Malformed));
        let new = new.accepting(&["sk-", "sp-"]).expect("good prefixes");
        assert_eq!(new.parse(key.expose()), Ok(Kind::ServiceAccount));
        let made = new.mint(Kind::Project, &SystemRandom);
        assert!(made.expose().starts_with("sp-acme-proj_"));
        assert_eq!(new.parse(made.expose()), Ok(Kind::Project));
        assert_eq!(
            new.parse(&key.expose().replacen("sp-", "sk-", 1)),
            Err(Malformed),
            "the checksum covers the prefix"
        );
        assert!(Shape::default().accepting(&["a b"]).is_none() && Shape::default().accepting(&["a"; 9]).is_none());
    }
}
