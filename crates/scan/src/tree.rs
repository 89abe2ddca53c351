//! The files of a tree. Links are not followed, so that nothing outside is read and no loop is gone round; what is no
//! file is a warning.

use std::fs;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::run::{Error, Scanner};

/// The file at the top of a tree that names what is left out.
const IGNORE_FILE: &str = ".sallyportignore";
/// Folders inside each other.
const DEPTH_MAX: usize = 512;

/// What is left out.
pub(crate) struct Excluded(GlobSet);

impl Excluded {
    /// Patterns as in `.gitignore`: one without a slash is of names anywhere, a folder's name takes all that is in it.
    pub(crate) fn new(root: &Path, patterns: &[String]) -> Result<Excluded, Error> {
        let ignored = fs::read_to_string(root.join(IGNORE_FILE)).unwrap_or_default();
        let lines = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut set = GlobSetBuilder::new();
        for pattern in patterns.iter().map(String::as_str).chain(lines) {
            let inner = pattern.trim_matches('/');
            let anchored =
                if pattern.trim_end_matches('/').contains('/') { inner.to_owned() } else { format!("**/{inner}") };
            for glob in [anchored.clone(), format!("{anchored}/**")] {
                let glob = GlobBuilder::new(&glob).literal_separator(true).build();
                set.add(glob.map_err(|error| Error::Pattern(pattern.to_owned(), error.to_string()))?);
            }
        }
        set.build().map(Excluded).map_err(|error| Error::Pattern(String::new(), error.to_string()))
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

/// "Too many levels of symbolic links", on Linux.
const ELOOP: i32 = 40;

/// Whether a link leads to itself, or to a folder that it stands in.
fn is_loop(link: &Path) -> bool {
    match fs::canonicalize(link) {
        Ok(target) => {
            link.parent().and_then(|folder| fs::canonicalize(folder).ok()).is_some_and(|at| at.starts_with(target))
        }
        Err(error) => error.raw_os_error() == Some(ELOOP),
    }
}

/// Calls `file` with each file's path, and its path below the root.
pub(crate) fn walk(scanner: &Scanner<'_>, root: &Path, excluded: &Excluded, file: &mut dyn FnMut(PathBuf, PathBuf)) {
    let mut folders = vec![(root.to_path_buf(), PathBuf::new())];
    while let Some((folder, below)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                scanner.warn_path(&folder, format_args!("cannot be read: {error}"));
                continue;
            }
        };
        for entry in entries {
            let kind = entry.and_then(|entry| Ok((entry.file_type()?, entry)));
            let (kind, entry) = match kind {
                Ok(found) => found,
                Err(error) => {
                    scanner.warn_path(&folder, format_args!("has an entry that cannot be read: {error}"));
                    continue;
                }
            };
            let (path, below) = (entry.path(), below.join(entry.file_name()));
            if excluded.has(&below) {
                continue;
            }
            if kind.is_symlink() {
                // What it leads to is read where it stands, if it is in the tree.
                if is_loop(&path) {
                    scanner.warn_path(&path, format_args!("is a link that leads back to itself: not followed"));
                }
                continue;
            }
            if kind.is_dir() && entry.file_name() == ".git" {
                // Objects are packed: `--git` reads them. The configuration holds addresses, with passwords in them.
                let config = path.join("config");
                if config.is_file() {
                    file(config, below.join("config"));
                }
            } else if kind.is_dir() && below.components().count() < DEPTH_MAX {
                folders.push((path, below));
            } else if kind.is_file() {
                file(path, below);
            } else {
                scanner
                    .warn_path(&path, format_args!("is no file (a pipe, a socket, a device, or too deep): not read"));
            }
        }
    }
}
