//! Git: every object once, by the commit that brought it.

use std::fs;
use std::path::Path;
use std::process::Command;

use scan::Target;

use crate::make::openai;
use crate::{files, scanned};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn everything_that_git_still_has_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut rng = fastrand::Rng::with_seed(6);
    let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
    git(path, &["init", "-q", "-b", "main"]);
    write("deleted.env", &format!("K={}\n", openai(&mut rng)));
    write("kept.env", &format!("K={}\n", openai(&mut rng)));
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "first"]);
    let first = git(path, &["rev-parse", "HEAD"]);
    // The same key in a later version of the file is told once.
    let old = fs::read_to_string(path.join("deleted.env")).unwrap();
    write("deleted.env", &format!("# more\n{old}"));
    git(path, &["commit", "-qam", "second"]);
    git(path, &["rm", "-q", "deleted.env"]);
    git(path, &["commit", "-qm", &format!("remove {}", openai(&mut rng))]);
    git(path, &["checkout", "-qb", "side"]);
    write("branch.env", &openai(&mut rng));
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "side"]);
    git(path, &["tag", "-a", "v1", "-m", &openai(&mut rng)]);
    git(path, &["checkout", "-q", "main"]);
    write("kept.env", &format!("stash {}\n", openai(&mut rng)));
    git(path, &["stash", "-q"]);
    write("amended.env", &openai(&mut rng));
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "amended"]);
    git(path, &["reset", "-q", "--hard", "HEAD~1"]);
    git(path, &["gc", "-q"]);
    // In no commit at all.
    write("loose", &openai(&mut rng));
    git(path, &["hash-object", "-w", "loose"]);
    fs::remove_file(path.join("loose")).unwrap();

    let outcome = scanned(&[Target::Path(path.into()), Target::History(path.into())]);
    let mut found = files(&outcome.hits, path);
    found.iter_mut().filter(|file| file.starts_with("unreachable object")).for_each(|file| *file = "unreachable");
    found.sort_unstable();
    // The stash's commits quote the message of the commit that they stand on.
    let messages = found.iter().filter(|file| **file == "COMMIT_EDITMSG").count();
    assert_eq!(messages, 3);
    found.drain(..2);
    assert_eq!(
        found,
        [
            "COMMIT_EDITMSG",
            "TAG_EDITMSG",
            "amended.env",
            "branch.env",
            "deleted.env",
            "kept.env",
            "kept.env",
            "unreachable"
        ]
    );
    let deleted = outcome.hits.iter().find(|hit| hit.file.ends_with("deleted.env")).unwrap();
    assert_eq!((deleted.commit.as_deref(), deleted.line), (Some(first.as_str()), 1));
    assert!(outcome.hits.iter().any(|hit| hit.file.ends_with("kept.env") && hit.commit.is_none()));
    assert_eq!(outcome.warnings, [""; 0]);
}

#[test]
fn only_what_is_staged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut rng = fastrand::Rng::with_seed(7);
    git(path, &["init", "-q"]);
    fs::write(path.join("a space.env"), openai(&mut rng)).unwrap();
    git(path, &["add", "."]);
    fs::write(path.join("b.env"), openai(&mut rng)).unwrap();
    // What is in the index counts, not what the file has become.
    fs::write(path.join("a space.env"), "nothing").unwrap();
    assert_eq!(files(&scanned(&[Target::Staged(path.into())]).hits, path), ["a space.env"]);
    git(path, &["commit", "-qm", "a"]);
    assert!(scanned(&[Target::Staged(path.into())]).hits.is_empty());
}

#[test]
fn nothing_of_the_repository_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    git(path, &["init", "-q"]);
    fs::write(path.join(".gitattributes"), "* diff=evil filter=evil\n").unwrap();
    fs::write(path.join("a"), openai(&mut fastrand::Rng::with_seed(8))).unwrap();
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "a"]);
    let mark = path.join("ran");
    let program = path.join("evil.sh");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = program.display().to_string();
    for setting in [
        "core.fsmonitor",
        "core.pager",
        "pager.log",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.smudge",
        "filter.evil.clean",
        "gpg.program",
        "core.sshCommand",
        "core.alternateRefsCommand",
    ] {
        git(path, &["config", setting, &program]);
    }
    git(path, &["config", "log.showSignature", "true"]);
    let hooks = path.join(".git/hooks");
    for hook in ["post-index-change", "reference-transaction", "fsmonitor-watchman"] {
        fs::copy(&program, hooks.join(hook)).unwrap();
    }
    let outcome = scanned(&[Target::History(path.into())]);
    assert_eq!(outcome.hits.len(), 1);
    assert!(scanned(&[Target::Staged(path.into())]).hits.is_empty());
    assert!(!mark.exists());
}

#[test]
fn no_repository_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let target = [Target::History(folder.path().into())];
    let error = scan::run(&target, &scan::Options::default(), &scan::Progress::default()).unwrap_err();
    assert!(error.to_string().contains("not a git repository"), "{error}");
}
