//! Archives and compressed files, one inside another, unpacked as they are read and never onto the disk.
//!
//! What a file is, its first bytes say, not its name. Everything that is unpacked is counted against the file on the
//! disk that it came from: too much, too many members or too deep is a warning, and reading goes on with the next file.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek};

use crate::reading::Name;
use crate::run::Scanner;

/// Archives inside each other.
pub(crate) const DEPTH_MAX: usize = 6;
/// Most bytes that one file on the disk may unpack to.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 8 << 30;
/// So much may be unpacked whatever the ratio.
const UNPACKED_BYTES_FREE: u64 = 256 << 20;
/// Most bytes that may come out for one that goes in. Text reaches 20, logs 100; a bomb begins at 1,000.
pub(crate) const RATIO_MAX: u64 = 250;
/// Most members of one file on the disk, those of inner archives included.
pub(crate) const MEMBERS_MAX: u64 = 500_000;
/// A zip archive inside another archive is unpacked in memory, since its table is at its end.
pub(crate) const INNER_ZIP_BYTES_MAX: u64 = 128 << 20;
/// Most memory of a decoder of xz; the densest preset asks for half of it.
const XZ_MEMORY_KIB_MAX: u32 = 128 << 10;
/// Bytes that tell what a file is: a tar archive says it at 257.
const HEAD_BYTES: usize = 512;

/// What may still be unpacked of one file on the disk. Every level of it counts.
pub(crate) struct Budget {
    packed_bytes: u64,
    unpacked_bytes: Cell<u64>,
    members: Cell<u64>,
}

impl Budget {
    pub(crate) fn new(packed_bytes: u64) -> Budget {
        Budget { packed_bytes, unpacked_bytes: Cell::new(0), members: Cell::new(0) }
    }

    fn unpacked_bytes_max(&self) -> u64 {
        UNPACKED_BYTES_MAX.min(self.packed_bytes.saturating_mul(RATIO_MAX).max(UNPACKED_BYTES_FREE))
    }

    fn is_used_up(&self) -> bool {
        self.unpacked_bytes.get() > self.unpacked_bytes_max() || self.members.get() > MEMBERS_MAX
    }

    pub(crate) fn take(&self, bytes: u64) -> io::Result<()> {
        self.unpacked_bytes.set(self.unpacked_bytes.get() + bytes);
        self.check()
    }

    fn take_member(&self) -> io::Result<()> {
        self.members.set(self.members.get() + 1);
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if !self.is_used_up() {
            return Ok(());
        }
        let limit = self.unpacked_bytes_max() >> 20;
        Err(io::Error::other(format!(
            "unpacks to more than {limit} MB or {MEMBERS_MAX} members, which no honest archive of its size does; the rest of it was not read"
        )))
    }
}

/// Counts what is unpacked.
struct Metered<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.budget.take(bytes as u64)?;
        Ok(bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Zip,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Tar,
    Pdf,
    /// Read as it is.
    Plain,
}

impl Format {
    fn of(head: &[u8]) -> Format {
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'C', b'r', b'2', b'4', ..] => Format::Zip,
            [0x1f, 0x8b, 8, ..] => Format::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..] => Format::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [b'%', b'P', b'D', b'F', b'-', ..] => Format::Pdf,
            _ if head.get(257..262) == Some(b"ustar") => Format::Tar,
            _ => Format::Plain,
        }
    }
}

/// Fills as much of a head as there is.
fn head_of(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    Read::take(from, HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

impl Scanner<'_> {
    /// Reads a file of which any place can be reached.
    pub(crate) fn read_file(&self, name: &Name, mut file: impl Read + Seek, bytes: u64) {
        let budget = Budget::new(bytes);
        let head = match head_of(&mut file).and_then(|head| file.rewind().map(|()| head)) {
            Ok(head) => head,
            Err(error) => return self.warn(name, format_args!("cannot be read: {error}")),
        };
        if Format::of(&head) != Format::Zip {
            return self.read_any(name, &mut file, &budget, 0);
        }
        let is_archive = self.read_zip(name, &mut file, &budget, 0);
        if !is_archive && file.rewind().is_ok() {
            self.read_plain(name, &mut file);
        }
    }

    /// Reads something of which only the next byte can be reached.
    pub(crate) fn read_stream(&self, name: &Name, from: &mut dyn Read, bytes: u64) {
        self.read_any(name, from, &Budget::new(bytes), 0);
    }

    /// Reads on from the start of something.
    fn read_any(&self, name: &Name, from: &mut dyn Read, budget: &Budget, depth: usize) {
        let head = match head_of(from) {
            Ok(head) => head,
            Err(error) => return self.warn(name, format_args!("cannot be read: {error}")),
        };
        let mut whole = Cursor::new(&head).chain(&mut *from);
        let format = if depth < DEPTH_MAX { Format::of(&head) } else { Format::Plain };
        match format {
            Format::Plain => {
                if depth >= DEPTH_MAX && Format::of(&head) != Format::Plain {
                    self.warn(name, format_args!("is packed more than {DEPTH_MAX} times: read as it is"));
                }
                self.read_plain(name, &mut whole);
            }
            Format::Zip => self.read_inner_zip(name, &mut whole, budget, depth),
            Format::Tar => self.read_tar(name, &mut whole, budget, depth),
            Format::Pdf => self.read_pdf(name, &mut whole, |bytes| budget.take(bytes)),
            Format::Gzip => self.unpack(name, flate2::read::MultiGzDecoder::new(whole), budget, depth),
            Format::Bzip2 => self.unpack(name, bzip2_rs::DecoderReader::new(whole), budget, depth),
            Format::Xz => {
                self.unpack(name, lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB_MAX), budget, depth)
            }
            Format::Zstd => match ruzstd::decoding::StreamingDecoder::new(whole) {
                Ok(decoder) => self.unpack(name, decoder, budget, depth),
                Err(error) => self.warn(name, format_args!("cannot be unpacked: {error}")),
            },
        }
    }

    /// A compressed file: the member has its name without the ending, and a tar archive in it is taken for one with it.
    fn unpack(&self, name: &Name, decoder: impl Read, budget: &Budget, depth: usize) {
        let mut decoder = Metered { inner: decoder, budget };
        let head = match head_of(&mut decoder) {
            Ok(head) => head,
            Err(error) => return self.warn(name, format_args!("cannot be unpacked: {error}")),
        };
        let mut whole = Cursor::new(&head).chain(&mut decoder);
        if Format::of(&head) == Format::Tar {
            return self.read_tar(name, &mut whole, budget, depth + 1);
        }
        let base = name.path.rsplit(['/', '!']).next().unwrap_or_default();
        let stem = base.rsplit_once('.').map_or("data", |(stem, _)| stem);
        self.read_any(&name.member(stem), &mut whole, budget, depth + 1);
    }

    fn read_tar(&self, name: &Name, from: &mut dyn Read, budget: &Budget, depth: usize) {
        let mut archive = tar::Archive::new(from);
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.warn(name, format_args!("cannot be unpacked: {error}")),
        };
        for entry in entries {
            let taken = entry.and_then(|entry| budget.take_member().map(|()| entry));
            let mut entry = match taken {
                Ok(entry) => entry,
                Err(error) => return self.warn(name, format_args!("{error}")),
            };
            if entry.header().entry_type().is_file() && !budget.is_used_up() {
                let inner = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                self.read_any(&name.member(&inner), &mut entry, budget, depth + 1);
            }
        }
    }

    fn read_inner_zip(&self, name: &Name, from: &mut dyn Read, budget: &Budget, depth: usize) {
        let mut bytes = Vec::new();
        let is_whole = Read::take(&mut *from, INNER_ZIP_BYTES_MAX).read_to_end(&mut bytes);
        let is_read = match is_whole {
            Ok(_) if (bytes.len() as u64) < INNER_ZIP_BYTES_MAX => {
                self.read_zip(name, &mut Cursor::new(&bytes), budget, depth)
            }
            Ok(_) => {
                let limit = INNER_ZIP_BYTES_MAX >> 20;
                self.warn(
                    name,
                    format_args!(
                        "is a zip archive of more than {limit} MB in another archive: unpack it, then scan it"
                    ),
                );
                false
            }
            Err(error) => {
                self.warn(name, format_args!("cannot be read: {error}"));
                false
            }
        };
        if !is_read {
            self.read_plain(name, &mut Cursor::new(&bytes).chain(from));
        }
    }

    /// False if it is none.
    fn read_zip(&self, name: &Name, file: &mut (impl Read + Seek), budget: &Budget, depth: usize) -> bool {
        let mut archive = match zip::ZipArchive::new(file) {
            Ok(archive) => archive,
            Err(error) => {
                self.warn(name, format_args!("is no whole zip archive ({error}): read as it is"));
                return false;
            }
        };
        for index in 0..archive.len() {
            if budget.is_used_up() {
                break;
            }
            if let Err(error) = budget.take_member() {
                self.warn(name, format_args!("{error}"));
            }
            let inner = archive.name_for_index(index).and_then(Result::ok).unwrap_or_default().into_owned();
            let mut member = match archive.by_index(index) {
                Ok(member) => member,
                Err(error) => {
                    self.warn(&name.member(&inner), format_args!("cannot be unpacked: {error}"));
                    continue;
                }
            };
            if member.is_file() {
                let inner = name.member(&String::from_utf8_lossy(member.name_raw()));
                self.read_any(&inner, &mut Metered { inner: &mut member, budget }, budget, depth + 1);
            }
        }
        true
    }
}
