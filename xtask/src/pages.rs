//! The pages of docs/reference: written from the tables that the program runs by.
//!
//! To add a page, write a function that gives its text and name both in [`PAGES`].

mod endpoints;
mod errors;
mod prices;

use std::path::Path;

use anyhow::{Context, Result, bail};

/// A generated page.
struct Page {
    /// Where it is in the repository.
    path: &'static str,
    /// Its text.
    text: fn() -> String,
}

const PAGES: &[Page] = &[
    Page { path: "docs/reference/endpoints.md", text: endpoints::text },
    Page { path: "docs/reference/errors.md", text: errors::text },
    Page { path: "docs/reference/prices.md", text: prices::text },
];

/// First lines of every page.
const NOTICE: &str = "<!-- Written by `cargo xtask reference` from the code. Do not edit. -->\n\n";

/// Writes the pages that differ.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write(repository: &Path) -> Result<()> {
    for page in differing(repository) {
        let path = repository.join(page.path);
        let folder = path.parent().context("a page lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        std::fs::write(&path, whole(page)).with_context(|| format!("cannot write `{}`", page.path))?;
        println!("wrote {}", page.path);
    }
    Ok(())
}

/// Compares the pages with what would be written.
///
/// # Errors
/// When one differs or is not there.
pub(crate) fn check(repository: &Path) -> Result<()> {
    let stale: Vec<&str> = differing(repository).map(|page| page.path).collect();
    if stale.is_empty() {
        return Ok(());
    }
    bail!("not up to date: {}. Run cargo xtask reference", stale.join(", "))
}

fn differing(repository: &Path) -> impl Iterator<Item = &'static Page> {
    PAGES.iter().filter(move |page| {
        std::fs::read_to_string(repository.join(page.path)).map_or(true, |written| written != whole(page))
    })
}

fn whole(page: &Page) -> String {
    format!("{NOTICE}{}", (page.text)())
}

/// A row of a Markdown table. Bars inside a cell are escaped.
fn table_row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The first two rows of a Markdown table.
fn table_head(names: &[&str]) -> String {
    format!("{}{}", table_row(names), table_row(&vec!["---"; names.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_and_checked() {
        let folder = std::env::temp_dir().join(format!("xtask-pages-{}", std::process::id()));
        assert!(check(&folder).unwrap_err().to_string().contains("docs/reference/errors.md"));
        write(&folder).unwrap();
        check(&folder).unwrap();
        for page in PAGES {
            let text = std::fs::read_to_string(folder.join(page.path)).unwrap();
            let columns = |line: &str| line.replace("\\|", "").matches('|').count();
            let tables: Vec<&str> = text.split("\n\n").filter(|part| part.starts_with('|')).collect();
            assert!(!tables.is_empty(), "{} has a table", page.path);
            for table in tables {
                let width = table.lines().next().map(columns);
                assert!(table.lines().all(|line| Some(columns(line)) == width), "{}: a ragged table", page.path);
            }
        }
        std::fs::write(folder.join(PAGES[0].path), "edited").unwrap();
        assert!(check(&folder).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
