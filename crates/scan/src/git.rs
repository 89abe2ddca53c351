//! Objects of a git repository, read through `git cat-file`.
//!
//! A repository is data of somebody else: git runs without hooks, file system monitors, filters, external diffs,
//! signature programs, pagers, replacement objects and lazy fetching, and asks nobody for a password.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::SyncSender;

use crate::hit::Hit;
use crate::reading::Name;
use crate::run::{Error, Scanner, Work};

/// Larger objects are read while git writes them; smaller ones wait for a thread.
const QUEUED_BYTES_MAX: u64 = 4 << 20;
/// Objects whose path and commit are known; a larger history's others are reported by their own name.
const NAMED_OBJECTS_MAX: usize = 8_000_000;
/// What a message of git's may be long.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Longest header of an object, and longest line of the log.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A name that only objects have to which nothing refers.
const DANGLING: &str = "unreachable object ";

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(["--no-pager", "--no-replace-objects", "--no-optional-locks", "-C"]).arg(folder);
    for setting in [
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "core.quotePath=false",
        "core.alternateRefsCommand=true",
        "log.showSignature=false",
        "log.mailmap=false",
        "protocol.allow=never",
        // Reading objects runs nothing of the repository's, so that its owner does not matter.
        "safe.directory=*",
    ] {
        command.args(["-c", setting]);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in [
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_PAGER", "cat"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, Error> {
    let output = git(folder, arguments).output().map_err(Error::NoGit)?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let message = String::from_utf8_lossy(&output.stderr);
            Err(Error::Git(folder.display().to_string(), message.trim().to_owned()))
        }
    }
}

/// The commit that first had an object, and its path there.
struct Origin {
    commit: usize,
    path: String,
}

/// Everything in the object store, each object once.
pub(crate) fn feed_history(scanner: &Scanner<'_>, folder: &Path, queue: &SyncSender<Work>) -> Result<(), Error> {
    // Where a hook runs, its own repository is set; the one that was named counts.
    let is_top = output(folder, &["rev-parse", "--show-prefix"])?.trim_ascii().is_empty();
    let (commits, origins) = origins(scanner, folder)?;
    let mut reader =
        Objects::start(git(folder, &["cat-file", "--batch", "--batch-all-objects", "--unordered", "--buffer"]))?;
    while let Some(header) = reader.next_header(scanner, folder)? {
        let name = match header.kind.as_str() {
            "blob" => match origins.get(&header.id) {
                Some(origin) => Name {
                    file: if is_top { shown(folder, &origin.path) } else { origin.path.clone() },
                    path: origin.path.clone(),
                    commit: commits.get(origin.commit).cloned(),
                    // The log has the newest first.
                    age: u32::MAX - u32::try_from(origin.commit).unwrap_or(u32::MAX),
                },
                None => Name::of(format!("{DANGLING}{}", header.id), header.id.clone()),
            },
            "commit" => message("COMMIT_EDITMSG", &header.id),
            "tag" => message("TAG_EDITMSG", &header.id),
            _ => {
                reader.skip(header.bytes);
                continue;
            }
        };
        reader.hand_over(scanner, name, header.bytes, queue);
    }
    Ok(())
}

fn message(file: &str, id: &str) -> Name {
    Name { commit: Some(id.to_owned()), ..Name::of(file.to_owned(), file.to_owned()) }
}

fn shown(folder: &Path, path: &str) -> String {
    let joined = folder.join(path).to_string_lossy().into_owned();
    joined.strip_prefix("./").map_or(joined.clone(), str::to_owned)
}

/// Which commit brought which object, from the oldest on: of commits that all refs, the stash and the reflogs reach.
fn origins(scanner: &Scanner<'_>, folder: &Path) -> Result<(Vec<String>, HashMap<String, Origin>), Error> {
    let arguments = [
        "log",
        "--all",
        "--reflog",
        "--raw",
        "--no-abbrev",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "-c",
        "--root",
        "--date-order",
        "--format=commit %H",
    ];
    let mut child = git(folder, &arguments).spawn().map_err(Error::NoGit)?;
    let errors = collect_errors(&mut child);
    let mut lines = BufReader::new(child.stdout.take().expect("the output is piped"));
    let (mut commits, mut origins) = (Vec::new(), HashMap::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\n');
        if let Some(commit) = text.strip_prefix("commit ") {
            commits.push(commit.to_owned());
        } else if let Some((id, path)) = changed(text).filter(|_| origins.len() < NAMED_OBJECTS_MAX) {
            // Newest first: the oldest overwrites.
            origins.insert(id.to_owned(), Origin { commit: commits.len().saturating_sub(1), path: path.to_owned() });
        }
    }
    if !child.wait().is_ok_and(|status| status.success()) {
        scanner.warn_path(
            folder,
            format_args!("git tells no paths of its history: {}", errors.join().unwrap_or_default()),
        );
    }
    Ok((commits, origins))
}

/// The new object and its path of a raw line: `:MODE MODE OLD NEW STATUS\tPATH`, with one more colon, mode and old object
/// for each further parent.
fn changed(line: &str) -> Option<(&str, &str)> {
    let parents = line.bytes().take_while(|byte| *byte == b':').count();
    let (fields, path) = line[parents..].split_once('\t')?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let id = fields.get(2 * parents + 1).filter(|_| parents > 0)?;
    let is_file = fields.get(parents).is_some_and(|mode| mode.starts_with("10") || mode.starts_with("12"));
    is_file.then_some((*id, path.trim_matches('"')))
}

/// What the index has that the last commit has not.
pub(crate) fn feed_staged(scanner: &Scanner<'_>, folder: &Path, queue: &SyncSender<Work>) -> Result<(), Error> {
    let arguments = [
        "diff",
        "--cached",
        "--raw",
        "-z",
        "--no-abbrev",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "--diff-filter=AMT",
    ];
    let listed = output(folder, &arguments)?;
    let mut parts = listed.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut staged = Vec::new();
    while let (Some(fields), Some(path)) = (parts.next(), parts.next()) {
        let id = fields.split(' ').nth(3).unwrap_or_default().to_owned();
        staged.push((id, path.into_owned()));
    }
    let mut command = git(folder, &["cat-file", "--batch", "--buffer"]);
    command.stdin(Stdio::piped());
    let mut reader = Objects::start(command)?;
    let mut ask = reader.child.stdin.take().expect("the input is piped");
    let wanted: String = staged.iter().map(|(id, _)| format!("{id}\n")).collect();
    let asking = std::thread::spawn(move || ask.write_all(wanted.as_bytes()));
    for (_, path) in staged {
        let Some(header) = reader.next_header(scanner, folder)? else { break };
        let name = Name::of(path.clone(), path);
        reader.hand_over(scanner, name, header.bytes, queue);
    }
    // Git has read all of it, or is gone.
    let _ = asking.join();
    Ok(())
}

/// What git says of its trouble, read beside its output so that neither waits for the other.
fn collect_errors(child: &mut Child) -> std::thread::JoinHandle<String> {
    let mut errors = child.stderr.take().expect("errors are piped");
    std::thread::spawn(move || {
        let mut message = Vec::new();
        // An error while reading errors has nothing to say.
        let _ = (&mut errors).take(MESSAGE_BYTES_MAX).read_to_end(&mut message);
        let _ = std::io::copy(&mut errors, &mut std::io::sink());
        String::from_utf8_lossy(&message).trim().to_owned()
    })
}

struct Header {
    id: String,
    kind: String,
    bytes: u64,
}

/// Objects as `git cat-file --batch` writes them.
struct Objects {
    child: Child,
    reader: BufReader<std::process::ChildStdout>,
    errors: Option<std::thread::JoinHandle<String>>,
}

impl Objects {
    fn start(mut command: Command) -> Result<Objects, Error> {
        let mut child = command.spawn().map_err(Error::NoGit)?;
        let errors = Some(collect_errors(&mut child));
        let stdout = child.stdout.take().expect("the output is piped");
        Ok(Objects { child, reader: BufReader::with_capacity(256 * 1024, stdout), errors })
    }

    /// The next object that is there.
    fn next_header(&mut self, scanner: &Scanner<'_>, folder: &Path) -> Result<Option<Header>, Error> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if !read.is_ok_and(|bytes| bytes > 0) {
                self.end(scanner, folder);
                return Ok(None);
            }
            let text = String::from_utf8_lossy(&line);
            let mut fields = text.split_whitespace();
            match (fields.next(), fields.next(), fields.next().and_then(|bytes| bytes.parse().ok())) {
                (Some(id), Some(kind), Some(bytes)) => {
                    return Ok(Some(Header { id: id.to_owned(), kind: kind.to_owned(), bytes }));
                }
                _ => scanner.warn_path(folder, format_args!("git cannot read an object: {}", text.trim())),
            }
        }
    }

    fn end(&mut self, scanner: &Scanner<'_>, folder: &Path) {
        let is_good = self.child.wait().is_ok_and(|status| status.success());
        let message = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        if !is_good {
            scanner.warn_path(folder, format_args!("git did not read all objects: {message}"));
        }
    }

    fn skip(&mut self, bytes: u64) {
        // The header's count and the line's end; what is missing shows at the next header.
        let _ = std::io::copy(&mut (&mut self.reader).take(bytes + 1), &mut std::io::sink());
    }

    fn hand_over(&mut self, scanner: &Scanner<'_>, name: Name, bytes: u64, queue: &SyncSender<Work>) {
        let mut object = (&mut self.reader).take(bytes);
        if bytes <= QUEUED_BYTES_MAX {
            let mut whole = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
            let _ = object.read_to_end(&mut whole);
            // The threads are there as long as the queue is.
            let _ = queue.send(Work::Object(name, whole));
            self.skip(0);
        } else {
            scanner.guarded(&name, || scanner.read_stream(&name, &mut object, bytes));
            let rest = object.limit();
            self.skip(rest);
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // It may still be writing; nobody reads on.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Findings in order, each told once: a secret in many versions of a file by the commit that brought it, one that is in
/// the tree too at its place there, and one in an object without a name only if it is nowhere else.
pub(crate) fn merged(mut hits: Vec<Hit>) -> Vec<Hit> {
    let is_dangling = |hit: &Hit| hit.file.starts_with(DANGLING);
    let elsewhere: BTreeSet<[u8; 32]> = hits.iter().filter(|hit| !is_dangling(hit)).map(|hit| hit.secret).collect();
    hits.retain(|hit| !is_dangling(hit) || !elsewhere.contains(&hit.secret));
    let in_tree: BTreeSet<String> =
        hits.iter().filter(|hit| hit.commit.is_none()).map(|hit| hit.fingerprint.clone()).collect();
    let mut oldest: HashMap<String, u32> = HashMap::new();
    for hit in hits.iter().filter(|hit| hit.commit.is_some()) {
        let age = oldest.entry(hit.fingerprint.clone()).or_insert(hit.age);
        *age = hit.age.min(*age);
    }
    hits.retain(|hit| {
        hit.commit.is_none() || !in_tree.contains(&hit.fingerprint) && oldest.get(&hit.fingerprint) == Some(&hit.age)
    });
    hits.sort_by(|one, other| {
        let key = |hit: &Hit| (hit.file.clone(), hit.span.start, hit.commit.clone(), hit.rule.kind);
        key(one).cmp(&key(other))
    });
    hits
}
