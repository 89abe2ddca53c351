//! Tasks of the project itself.
//!
//! - `cargo xtask reference` writes the generated pages of docs/reference; with `--check` it fails where one is stale.
//! - `cargo xtask endpoints FILE` holds the endpoint table against an operation list (tab-separated: family, method,
//!   path, auth, streaming, multipart, billing unit, …).

mod endpoints;
mod pages;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["reference"] => reference(false),
        ["reference", "--check"] => reference(true),
        ["endpoints", file] => endpoints::compare(Path::new(file)),
        _ => Err(anyhow::anyhow!("usage: cargo xtask reference [--check] | cargo xtask endpoints FILE")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the pages, or checks that they are as they would be written.
fn reference(is_check: bool) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    std::fs::create_dir_all(&folder)?;
    let mut stale = Vec::new();
    for (name, make) in pages::PAGES {
        let (path, text) = (folder.join(name), make());
        if !is_check {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(*name);
        }
    }
    if stale.is_empty() { Ok(()) } else { bail!("stale: {}; run `cargo xtask reference`", stale.join(", ")) }
}
