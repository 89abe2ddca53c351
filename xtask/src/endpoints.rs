//! Holds the endpoint table against an operation list.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wire::endpoint::{Endpoint, Opens, rows};

/// Rows of our own, which no operation list has.
const OURS: &[&str] =
    &["GET /v1/realtime", "GET /v1/responses", "GET /v1/live", "POST /v1/organization/projects/{}/api_keys"];

/// Prints every difference; an error when there is one.
pub(crate) fn compare(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut table: BTreeMap<String, &Endpoint> = rows().map(|row| (key(row.method.as_str(), row.path), row)).collect();
    let mut differences = Vec::new();
    for line in text.lines().skip(1) {
        let [_, method, path, auth, streaming, multipart, billing, ..] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("not an operation: {line}");
        };
        let key = key(method, path);
        let Some(row) = table.remove(&key) else {
            differences.push(format!("{key}: no row"));
            continue;
        };
        let opens = if auth == "admin" { Opens::AdminKey } else { Opens::ProjectKey };
        // More rows stream, and take forms, than the list knows: see the table.
        let streams = streaming.is_empty() || row.can_stream();
        let takes = multipart.is_empty() || row.takes_multipart();
        let billed =
            row.billed_by == Some(billing).filter(|unit| !matches!(*unit, "" | "none" | "free" | "free count"));
        for (is_same, what) in
            [(row.opens == opens, "key"), (streams, "streaming"), (takes, "multipart"), (billed, "billing unit")]
        {
            if !is_same {
                differences.push(format!("{key}: {what} differs"));
            }
        }
    }
    differences
        .extend(table.keys().filter(|key| !OURS.contains(&key.as_str())).map(|key| format!("{key}: not an operation")));
    if differences.is_empty() {
        return Ok(());
    }
    bail!("{} differences:\n{}", differences.len(), differences.join("\n"))
}

/// Method and path, without the names of parameters.
fn key(method: &str, path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    format!("{method} {}", path.split('/').map(segment).collect::<Vec<_>>().join("/"))
}
