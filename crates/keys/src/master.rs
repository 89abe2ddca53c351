//! The master key: what seals the few secrets that the database has to keep.
//!
//! It comes from the environment or from a file that only its owner may read. What it seals is bound to a name, so
//! that one sealed value cannot be put in another's place.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::Random;

const BYTES: usize = 32;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The environment's value has a wrong form.
    #[error(
        "SALLYPORT_MASTER_KEY must be 32 bytes in base64 (44 characters) or hexadecimal (64); make one with `openssl rand -base64 32`"
    )]
    Form,
    /// The file has a wrong form.
    #[error("{} is not a master key file: it must hold 32 bytes in base64", .0.display())]
    FileForm(PathBuf),
    /// Others may read the file.
    #[error("{} can be read by others: run `chmod 600 {}`", .0.display(), .0.display())]
    FileMode(PathBuf),
    /// The file cannot be read or made.
    #[error("cannot use the master key file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Something sealed cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("a sealed value cannot be opened with this master key: it was sealed with another, or was changed")]
pub struct UnsealError;

/// A sealed value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which master key sealed it.
    pub master_key_id: String,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// The master key.
pub struct MasterKey {
    key: LessSafeKey,
    id: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    fn from_bytes(bytes: &[u8; BYTES]) -> MasterKey {
        // SIV: a nonce drawn twice would tell that two values are equal, and nothing more.
        let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("AES-256 takes 32 bytes");
        MasterKey { key: LessSafeKey::new(key), id: id_of("mk_", bytes) }
    }

    /// The key in a text, as `SALLYPORT_MASTER_KEY` holds it.
    ///
    /// # Errors
    /// When it is not 32 bytes in base64 or hexadecimal.
    pub fn from_text(text: &str) -> Result<MasterKey, MasterKeyError> {
        decode(text.trim()).map(|bytes| MasterKey::from_bytes(&bytes)).ok_or(MasterKeyError::Form)
    }

    /// The key in a file that is there.
    ///
    /// # Errors
    /// When it is not there, is readable by others, or has another form.
    pub fn from_present_file(path: &Path) -> Result<MasterKey, MasterKeyError> {
        let failed = |source| MasterKeyError::File { path: path.to_owned(), source };
        MasterKey::read(File::open(path).map_err(failed)?, path)
    }

    /// The key in a file; makes the file, readable by its owner alone, when it is not there. The caller sees to it that
    /// one process at a time does so.
    ///
    /// # Errors
    /// When the file is readable by others, has another form, or cannot be read or made.
    pub fn from_file(path: &Path, random: &dyn Random) -> Result<MasterKey, MasterKeyError> {
        let failed = |source| MasterKeyError::File { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => MasterKey::read(file, path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0; BYTES]);
                random.fill(&mut *bytes);
                let text = Zeroizing::new(STANDARD.encode(*bytes));
                create(path, text.as_bytes()).map_err(failed)?;
                Ok(MasterKey::from_bytes(&bytes))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn read(file: File, path: &Path) -> Result<MasterKey, MasterKeyError> {
        let failed = |source| MasterKeyError::File { path: path.to_owned(), source };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(MasterKeyError::FileMode(path.to_owned()));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(1_024).read_to_string(&mut text).map_err(failed)?;
        let bytes = decode(text.trim()).ok_or_else(|| MasterKeyError::FileForm(path.to_owned()))?;
        Ok(MasterKey::from_bytes(&bytes))
    }

    /// Names the key without telling it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a value under a name.
    pub fn seal(&self, name: &str, plain: &[u8], random: &dyn Random) -> Sealed {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        // Room for the tag: a buffer that grows would leave the plain text behind.
        let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM_SIV.tag_len());
        sealed.extend_from_slice(plain);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed)
            .expect("a short value can be sealed");
        Sealed { master_key_id: self.id.clone(), bytes: [&nonce[..], &sealed].concat() }
    }

    /// Opens a value sealed under the same name.
    ///
    /// # Errors
    /// When another key or name sealed it, or it was changed.
    pub fn open(&self, name: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (nonce, ciphertext) = sealed.bytes.split_at_checked(NONCE_LEN).ok_or(UnsealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length =
            self.key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut plain).map_err(|_| UnsealError)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    /// Seals anew, under another master key, what this one sealed under the same name.
    ///
    /// # Errors
    /// When this key did not seal it under this name, or it was changed.
    pub fn rewrap(
        &self,
        name: &str,
        sealed: &Sealed,
        to: &MasterKey,
        random: &dyn Random,
    ) -> Result<Sealed, UnsealError> {
        self.open(name, sealed).map(|plain| to.seal(name, &plain, random))
    }
}

/// The id of a key: it tells keys apart without telling anything of them, as a hash of a hash is no oracle for 256 bits.
pub(crate) fn id_of(prefix: &str, bytes: &[u8; BYTES]) -> String {
    let hash = digest::digest(&digest::SHA256, digest::digest(&digest::SHA256, bytes).as_ref());
    hash.as_ref()[..6].iter().fold(prefix.to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// Writes a file that is there whole or not at all, also after a loss of power: what is sealed under a master key that
/// did not reach the disk is lost.
fn create(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    // Left by a start that was cut short: nothing was sealed under it yet.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn decode(text: &str) -> Option<Zeroizing<[u8; BYTES]>> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    if text.len() == 2 * BYTES {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
    } else {
        let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
        *bytes = decoded[..].try_into().ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    #[test]
    fn a_sealed_value_opens_under_its_key_and_name_only() {
        let master = MasterKey::from_text(&"ab".repeat(32)).expect("hexadecimal");
        let other = MasterKey::from_text(&STANDARD.encode([1; 32])).expect("base64");
        let sealed = master.seal("pepper", b"secret pepper", &SystemRandom);
        assert_eq!(&master.open("pepper", &sealed).expect("opens")[..], b"secret pepper");
        assert!(master.open("other", &sealed).is_err());
        assert!(other.open("pepper", &sealed).is_err());
        let mut changed = sealed.clone();
        *changed.bytes.last_mut().expect("bytes") ^= 1;
        assert!(master.open("pepper", &changed).is_err());
        assert!(master.open("pepper", &Sealed { bytes: vec![1], ..sealed }).is_err());
        assert_ne!(master.id(), other.id());
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        let first = MasterKey::from_file(&path, &SystemRandom).expect("made");
        let second = MasterKey::from_file(&path, &SystemRandom).expect("read");
        assert_eq!(first.id(), second.id());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let files = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1, "nothing unfinished is left");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("ours");
        let error = MasterKey::from_file(&path, &SystemRandom).expect_err("others may read it");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_a_cut_start_left_is_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        std::fs::write(folder.path().join("master.key.new"), "half a k").expect("written");
        let made = MasterKey::from_file(&path, &SystemRandom).expect("made anew");
        assert_eq!(MasterKey::from_file(&path, &SystemRandom).expect("read").id(), made.id());
        assert!(!folder.path().join("master.key.new").exists());
        let nowhere = MasterKey::from_file(Path::new("/nonexistent/master.key"), &SystemRandom);
        assert!(matches!(nowhere, Err(MasterKeyError::File { .. })));
    }

    #[test]
    fn both_spellings_are_one_key() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).expect("below 256"));
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let (one, two) = (MasterKey::from_text(&hexadecimal), MasterKey::from_text(&STANDARD.encode(bytes)));
        assert_eq!(one.expect("hexadecimal").id(), two.expect("base64").id());
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        for text in ["", "short", &"zz".repeat(32), &STANDARD.encode([1; 31])] {
            assert!(matches!(MasterKey::from_text(text), Err(MasterKeyError::Form)), "{text}");
        }
    }
}
