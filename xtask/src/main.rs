//! Chores of this repository, run as `cargo xtask`.
//!
//! Promises: what is generated is generated from the code that runs, and `--check` fails where a file differs from
//! that; what the API publishes (operation list, API document) is compared with the endpoint table, and every
//! difference is printed. None of the API's documents, nor the price list that the shipped prices are made from, is
//! part of the repository: their paths are arguments.

mod api_document;
mod endpoints;
mod fields;
mod pages;
mod prices;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask <chore>

  reference                                    write the pages of docs/reference
  reference --check                            fail where a page differs from what would be written
  endpoints --check OPERATIONS.tsv [API.yaml]  compare the endpoint table with the API's operation list, and the
                                               judged names of request bodies with its OpenAPI document
  fields API.yaml NEWER.json                   write the list of text-bearing fields from the OpenAPI document and the
                                               schemas of operations that are newer than it
  fields --check API.yaml NEWER.json           fail where it differs from what would be written
  prices PRICES.json                           write the shipped price list from the public one
  prices --check PRICES.json                   fail where it differs from what would be written";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["reference"] => pages::write(repository()?),
        ["reference", "--check"] => pages::check(repository()?),
        ["endpoints", "--check"] => {
            bail!("name the operation list to compare with: cargo xtask endpoints --check OPERATIONS.tsv [API.yaml]")
        }
        ["endpoints", "--check", operations] => compare(operations, None),
        ["endpoints", "--check", operations, document] => compare(operations, Some(document)),
        ["fields", "--check", document, newer] => fields::check(repository()?, &read(document)?, &read(newer)?),
        ["fields", document, newer] => fields::write(repository()?, &read(document)?, &read(newer)?),
        ["prices", "--check", list] => prices::check(repository()?, &read(list)?),
        ["prices", list] if !list.starts_with('-') => prices::write(repository()?, &read(list)?),
        _ => bail!("{USAGE}"),
    }
}

/// The root of the repository: the folder above this crate.
fn repository() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no folder above it")
}

/// Prints every difference between the table and the API's documents.
///
/// # Errors
/// When there are any, or a document cannot be read.
fn compare(operations: &str, document: Option<&str>) -> Result<()> {
    let mut differences = endpoints::differences(&read(operations)?)?;
    if let Some(document) = document {
        differences.extend(api_document::unjudged_names(&read(document)?)?);
    }
    for difference in &differences {
        println!("{difference}");
    }
    match differences.len() {
        0 => Ok(()),
        count => bail!("{count} differences"),
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))
}
