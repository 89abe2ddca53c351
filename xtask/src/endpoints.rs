//! The endpoint table against the API's operation list.
//!
//! Promise: every operation without a row, every row without an operation, and every fact that both have and tell
//! differently is named, unless it is in [`JUDGED`] or of our own making; a judgement that no longer differs is named,
//! too, so that the list only holds what is true.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use wire::endpoint::{Endpoint, Opens, rows};

/// Where the table is right and the list is not: (method, path, column).
const JUDGED: &[(&str, &str, &str)] = &[
    // `stream` is a parameter of each of these in the API document or the official SDKs.
    ("POST", "/v1/completions", "streaming"),
    ("GET", "/v1/responses/{response_id}", "streaming"),
    ("POST", "/v1/threads/runs", "streaming"),
    ("POST", "/v1/threads/{thread_id}/runs", "streaming"),
    ("POST", "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", "streaming"),
];

/// Operations of ours among the API's, which it does not have. WebSocket surfaces need no entry.
const OURS: &[(&str, &str)] = &[("POST", "/v1/organization/projects/{project_id}/api_keys")];

/// Whether an operation is ours: one of [`OURS`], or under our own path.
fn is_ours(operation: (&str, &str)) -> bool {
    OURS.contains(&operation) || operation.1.starts_with("/v1/sallyport/")
}

/// Billing units in the list that mean that nothing is billed.
const UNBILLED: &[&str] = &["none", "free", "free count"];

/// The columns that are compared, besides method and path.
const COLUMNS: &[&str] = &["family", "auth", "streaming", "multipart", "billing_unit", "deprecated"];

/// Compares the table with a list of operations: tab-separated, columns named in the first line.
///
/// # Errors
/// When a column is missing or a line is too short.
pub(crate) fn differences(operations: &str) -> Result<Vec<String>> {
    let mut lines = operations.lines();
    let header: Vec<&str> = lines.next().context("the operation list is empty")?.split('\t').collect();
    let column = |name: &str| {
        header.iter().position(|known| *known == name).with_context(|| format!("the list has no column `{name}`"))
    };
    let (method, path) = (column("method")?, column("path")?);
    let columns: Vec<usize> = COLUMNS.iter().map(|name| column(name)).collect::<Result<_>>()?;

    let mut unlisted: HashMap<(&str, &str), &Endpoint> =
        rows().filter(|row| !row.websocket).map(|row| ((row.method.as_str(), row.path), row)).collect();
    let mut differences = Vec::new();
    let mut judged = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != header.len() {
            bail!("a line of the list has {} columns instead of {}: `{line}`", cells.len(), header.len());
        }
        let operation = (cells[method], cells[path]);
        let Some(row) = unlisted.remove(&operation) else {
            differences.push(format!("{} {}: no row in the table", operation.0, operation.1));
            continue;
        };
        for (name, at) in COLUMNS.iter().zip(&columns) {
            let (listed, ours) = (plain(name, cells[*at]), fact(row, name));
            let place = (operation.0, operation.1, *name);
            if listed == ours {
                continue;
            } else if JUDGED.contains(&place) {
                judged.push(place);
            } else {
                differences.push(format!("{} {}: {name} is `{ours}`, listed `{listed}`", operation.0, operation.1));
            }
        }
    }
    for (method, path) in unlisted.keys().filter(|row| !is_ours(**row)) {
        differences.push(format!("{method} {path}: a row that the list does not have"));
    }
    for (method, path, name) in JUDGED.iter().filter(|place| !judged.contains(place)) {
        differences.push(format!("{method} {path}: {name} was judged to differ and does not"));
    }
    differences.sort();
    Ok(differences)
}

/// A cell of the list in the words of [`fact`].
fn plain<'c>(column: &str, cell: &'c str) -> &'c str {
    if column == "billing_unit" && UNBILLED.contains(&cell) { "" } else { cell }
}

/// What a row says for a column of the list.
fn fact(row: &Endpoint, column: &str) -> &'static str {
    let word = |holds: bool, word: &'static str| if holds { word } else { "" };
    match column {
        "family" => row.family,
        "auth" => match row.opens {
            Opens::ProjectKey => "api",
            Opens::AdminKey => "admin",
            Opens::AnyKey => "any",
            Opens::Signature => "signature",
        },
        "streaming" => word(row.can_stream(), "sse"),
        "multipart" => word(row.takes_multipart(), "multipart"),
        "billing_unit" => row.billed_by.unwrap_or_default(),
        _ => word(row.deprecated, "deprecated"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operation list that would agree with the table, line by line.
    fn agreeing_list() -> Vec<String> {
        let mut lines = vec!["method\tpath\torigin\t".to_owned() + &COLUMNS.join("\t")];
        for row in rows().filter(|row| !row.websocket && !is_ours((row.method.as_str(), row.path))) {
            let (method, path) = (row.method.as_str(), row.path);
            let is_judged = |name: &&&str| JUDGED.contains(&(method, path, **name));
            let facts: Vec<&str> =
                COLUMNS.iter().map(|name| if is_judged(&name) { "" } else { fact(row, name) }).collect();
            lines.push(format!("{method}\t{path}\tspec\t{}", facts.join("\t")));
        }
        lines
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let mut list = agreeing_list();
        assert_eq!(differences(&list.join("\n")).unwrap(), Vec::<String>::new());

        let at = list.iter().position(|line| line.starts_with("POST\t/v1/files\t")).unwrap();
        list[at] = list[at].replace("multipart", "");
        list.push("GET\t/v1/new\tspec\tnew\tapi\t\t\tnone\t".to_owned());
        list.retain(|line| !line.starts_with("DELETE\t/v1/files/"));
        let at = list.iter().position(|line| line.starts_with("POST\t/v1/completions\t")).unwrap();
        list[at] = list[at].replace("\tapi\t\t", "\tapi\tsse\t");
        assert_eq!(
            differences(&list.join("\n")).unwrap(),
            [
                "DELETE /v1/files/{file_id}: a row that the list does not have",
                "GET /v1/new: no row in the table",
                "POST /v1/completions: streaming was judged to differ and does not",
                "POST /v1/files: multipart is `multipart`, listed ``",
            ]
        );
    }

    #[test]
    fn a_list_of_another_shape_is_refused() {
        assert!(differences("").is_err());
        assert!(differences("method\tpath").is_err());
        let list = agreeing_list();
        assert!(differences(&format!("{}\nGET\t/v1/files", list[0])).is_err());
    }
}
