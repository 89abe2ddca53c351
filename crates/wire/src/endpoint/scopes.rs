//! Scopes: what a restricted key must have for each operation.
//!
//! Promise: every row has its scopes, so that a restricted key opens nothing that nobody thought about. The words follow
//! those of the API as its errors and its SDKs show them (`model.request`, `api.files.read`, `api.all.read`); its
//! catalogue is not published, so families that it may name otherwise are named here as in the table.

use super::{Endpoint, Meter, Method, Opens, rows};

/// Opens everything that the key's kind opens.
pub const ALL: &str = "api.all.write";
/// Calls of models: whatever is metered and has a bound. Jobs, batches and containers have scopes of their own.
pub const MODEL_REQUEST: &str = "model.request";
/// Reading the list of models.
const MODEL_READ: &str = "model.read";
/// Reading what an admin key opens.
const MANAGEMENT_READ: &str = "api.management.read";
/// Changing what an admin key opens; reading, too.
const MANAGEMENT_WRITE: &str = "api.management.write";
/// Every `.read`.
const READ_ONLY: &str = "api.all.read";

impl Endpoint {
    /// Scopes of which any one opens the operation; the first is the one to ask for.
    pub fn scopes(&self) -> Vec<String> {
        let is_read = self.method == Method::Get;
        if self.opens == Opens::AdminKey {
            let words = if is_read { [MANAGEMENT_READ, MANAGEMENT_WRITE].as_slice() } else { &[MANAGEMENT_WRITE] };
            return words.iter().map(|word| (*word).to_owned()).chain([ALL.to_owned()]).collect();
        }
        if self.opens == Opens::AnyKey {
            // Whoever may call a model may know beforehand what the guards say.
            return [MODEL_REQUEST, MANAGEMENT_WRITE, ALL].map(str::to_owned).into();
        }
        let mut scopes = Vec::new();
        if !matches!(self.meter, Meter::Nothing | Meter::Unbounded) {
            scopes.push(MODEL_REQUEST.to_owned());
        }
        if self.family == "models" && is_read {
            // Who may call models may know which there are.
            scopes.extend([MODEL_READ, MODEL_REQUEST].map(str::to_owned));
        }
        let family = self.family.replace(':', ".");
        if is_read {
            scopes.push(format!("api.{family}.read"));
            scopes.push(READ_ONLY.to_owned());
        }
        scopes.push(format!("api.{family}.write"));
        scopes.push(ALL.to_owned());
        scopes
    }

    /// Whether a key with these scopes opens the operation.
    pub fn is_opened_by<'a>(&self, scopes: impl IntoIterator<Item = &'a str>) -> bool {
        let wanted = self.scopes();
        scopes.into_iter().any(|scope| wanted.iter().any(|wanted| wanted == scope))
    }
}

/// All scopes that mean something for keys of the data plane, or for admin keys, in order.
pub fn known_scopes(opens: Opens) -> Vec<String> {
    let mut all: Vec<String> = rows().filter(|row| row.opens == opens).flat_map(Endpoint::scopes).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::find;

    fn row(method: &str, path: &str) -> &'static Endpoint {
        find(method, path).unwrap_or_else(|error| panic!("{method} {path}: {error:?}")).endpoint
    }

    #[test]
    fn a_scope_opens_what_it_says_and_no_more() {
        let chat = row("POST", "/v1/chat/completions");
        let (list, upload) = (row("GET", "/v1/files"), row("POST", "/v1/files"));
        let models = row("GET", "/v1/models");
        for (scope, opened) in [
            ("model.request", [true, false, false, true]),
            ("model.read", [false, false, false, true]),
            ("api.files.read", [false, true, false, false]),
            ("api.files.write", [false, true, true, false]),
            ("api.all.read", [false, true, false, true]),
            ("api.all.write", [true, true, true, true]),
            ("api.management.write", [false, false, false, false]),
            ("", [false, false, false, false]),
        ] {
            assert_eq!([chat, list, upload, models].map(|row| row.is_opened_by([scope])), opened, "{scope}");
        }
        // What has no bound is no mere call of a model.
        for path in ["/v1/fine_tuning/jobs", "/v1/batches", "/v1/containers"] {
            assert!(!row("POST", path).is_opened_by(["model.request"]), "{path}");
        }
        assert!(!chat.is_opened_by([]) && chat.is_opened_by(["api.files.read", "model.request"]));
    }

    #[test]
    fn every_row_is_opened_by_a_known_scope_and_reading_never_changes_anything() {
        for row in rows() {
            assert_eq!(row.scopes().last().map(String::as_str), Some(ALL), "{}", row.path);
            let is_changed_by_reading =
                row.method != Method::Get && row.scopes().iter().any(|scope| scope.ends_with("read"));
            assert!(!is_changed_by_reading, "{}", row.path);
        }
        let data = known_scopes(Opens::ProjectKey);
        assert!(data.contains(&MODEL_REQUEST.to_owned()) && data.iter().all(|scope| !scope.contains("management")));
        assert_eq!(known_scopes(Opens::AdminKey), ["api.all.write", "api.management.read", "api.management.write"]);
    }
}
