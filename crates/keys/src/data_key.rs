//! The data key: what upstream keys are sealed under, itself wrapped by the master key.
//!
//! Promises: a value opens only in the place that it was sealed for (table, row, version), so that two rows of the
//! database cannot be swapped and an old value cannot be put back under a newer version; another master key wraps the
//! same data key anew, and no row under the data key is touched.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::master::{MasterKey, Sealed, UnsealError};
use crate::{Random, Secret};

const BYTES: usize = 32;

/// Which row of which table a value is sealed for, and the how manieth value of that row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The row's id.
    pub row: &'a str,
    /// Counts up with each value of the row.
    pub version: u32,
}

impl Place<'_> {
    /// The associated data. Its parts have lengths in front, so that no two places give the same bytes.
    fn associated_data(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.table.len() + self.row.len() + 20);
        for part in [self.table.as_bytes(), self.row.as_bytes(), &self.version.to_be_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// A value under a data key, as it is stored. Its place is not in it: whoever opens it says where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosed {
    /// Which data key seals it.
    pub data_key_id: String,
    /// The how manieth value of its row it is.
    pub version: u32,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A data key, unwrapped.
pub struct DataKey {
    key: LessSafeKey,
    id: String,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

impl DataKey {
    /// Makes a data key. What comes back with it is the same key wrapped under `name`, to be stored.
    pub fn create(name: &str, master: &MasterKey, random: &dyn Random) -> (DataKey, Sealed) {
        let mut bytes = Zeroizing::new([0; BYTES]);
        random.fill(&mut *bytes);
        let wrapped = master.seal(name, &*bytes, random);
        (DataKey::from_bytes(&bytes), wrapped)
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// When another master key or name wrapped it, or it was changed.
    pub fn unwrap(name: &str, wrapped: &Sealed, master: &MasterKey) -> Result<DataKey, UnsealError> {
        let plain = master.open(name, wrapped)?;
        let bytes: &[u8; BYTES] = plain[..].try_into().map_err(|_| UnsealError)?;
        Ok(DataKey::from_bytes(bytes))
    }

    fn from_bytes(bytes: &[u8; BYTES]) -> DataKey {
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("AES-256 takes 32 bytes");
        DataKey { key: LessSafeKey::new(key), id: crate::master::id_of("dk_", bytes) }
    }

    /// Names the key without telling it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for its place.
    pub fn seal(&self, place: Place<'_>, secret: &Secret, random: &dyn Random) -> Enclosed {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        // Room for the tag: a buffer that grows would leave the plain text behind.
        let mut sealed = Vec::with_capacity(secret.expose().len() + AES_256_GCM_SIV.tag_len());
        sealed.extend_from_slice(secret.expose().as_bytes());
        let (nonce_bytes, place_bytes) = (nonce, place.associated_data());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&place_bytes[..]), &mut sealed)
            .expect("a short value can be sealed");
        let bytes = [&nonce_bytes[..], &sealed].concat();
        Enclosed { data_key_id: self.id.clone(), version: place.version, bytes }
    }

    /// Opens what was found in a row of a table.
    ///
    /// # Errors
    /// When it was sealed for another place or by another key, or was changed.
    pub fn open(&self, table: &'static str, row: &str, enclosed: &Enclosed) -> Result<Secret, UnsealError> {
        let (nonce, ciphertext) = enclosed.bytes.split_at_checked(NONCE_LEN).ok_or(UnsealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let place = Place { table, row, version: enclosed.version }.associated_data();
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let opened = self.key.open_in_place(nonce, Aad::from(&place[..]), &mut plain).map_err(|_| UnsealError)?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| UnsealError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SystemRandom;

    fn master(digit: &str) -> MasterKey {
        MasterKey::from_text(&digit.repeat(64)).expect("hexadecimal")
    }

    fn place(row: &str, version: u32) -> Place<'_> {
        Place { table: "upstream_key", row, version }
    }

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let (key, _) = DataKey::create("data_key", &master("a"), &SystemRandom);
        let (other, _) = DataKey::create("data_key", &master("a"), &SystemRandom);
        let sealed = key.seal(place("upkey_1", 3), &Secret::new("sk-real"), &SystemRandom);
        assert_eq!(key.open("upstream_key", "upkey_1", &sealed).expect("opens").expose(), "sk-real");
        assert!(key.open("upstream_key", "upkey_2", &sealed).is_err(), "another row");
        assert!(key.open("upstream", "upkey_1", &sealed).is_err(), "another table");
        assert!(key.open("upstream_key", "upkey_1", &Enclosed { version: 4, ..sealed.clone() }).is_err(), "a version");
        assert!(other.open("upstream_key", "upkey_1", &sealed).is_err(), "another key");
        assert!(!sealed.bytes.windows(7).any(|window| window == b"sk-real"));
    }

    #[test]
    fn another_master_key_wraps_the_same_data_key() {
        let (old, new) = (master("a"), master("b"));
        let (key, wrapped) = DataKey::create("data_key", &old, &SystemRandom);
        let sealed = key.seal(place("upkey_1", 1), &Secret::new("sk-real"), &SystemRandom);
        let again = old.rewrap("data_key", &wrapped, &new, &SystemRandom).expect("opens under the old one");
        assert_eq!(again.master_key_id, new.id());
        assert!(DataKey::unwrap("data_key", &again, &old).is_err());
        assert!(DataKey::unwrap("other", &again, &new).is_err());
        let unwrapped = DataKey::unwrap("data_key", &again, &new).expect("opens under the new one");
        assert_eq!(unwrapped.id(), key.id());
        assert_eq!(unwrapped.open("upstream_key", "upkey_1", &sealed).expect("untouched").expose(), "sk-real");
    }

    proptest! {
        /// No bit of what is stored can be changed, and nothing of it can be left out.
        #[test]
        fn a_changed_value_does_not_open(secret in "[ -~]{1,200}", at: prop::sample::Index, bit in 0_u32..8, cut: bool) {
            let (key, _) = DataKey::create("data_key", &master("a"), &SystemRandom);
            let mut sealed = key.seal(place("row", 1), &Secret::new(secret), &SystemRandom);
            let at = at.index(sealed.bytes.len());
            if cut { sealed.bytes.truncate(at) } else { sealed.bytes[at] ^= 1 << bit }
            prop_assert!(key.open("upstream_key", "row", &sealed).is_err());
        }
    }
}
