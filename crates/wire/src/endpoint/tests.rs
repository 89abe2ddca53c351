use std::collections::HashSet;

use super::*;
use crate::json::scan;

fn sample(path: &str) -> String {
    let segment =
        |segment: &str| if segment.starts_with('{') { format!("id-{}", segment.len()) } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[test]
fn every_row_finds_itself_and_its_parameters() {
    for (number, row) in rows().enumerate() {
        let path = sample(row.path);
        let found = find(row.method.as_str(), &path)
            .unwrap_or_else(|error| panic!("{} {path}: {error:?}", row.method.as_str()));
        assert_eq!((found.number, found.endpoint.path), (number, row.path));
        let names: Vec<String> = found.params.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        let expected: Vec<&str> = row.path.split('/').filter(|segment| segment.starts_with('{')).collect();
        assert_eq!(names, expected, "{path}");
        assert!(found.params.iter().all(|(_, value)| value.starts_with("id-")));
    }
}

#[test]
fn the_table_holds_together() {
    let mut seen = HashSet::new();
    for row in rows() {
        let path = sample(row.path);
        assert!(seen.insert((row.method, path)), "{} twice", row.path);
        assert_eq!(row.keeps == Keeps::Nothing, row.makes.is_empty(), "{}", row.path);
        assert!(row.owned_by.is_none_or(|param| row.path.contains(&format!("{{{param}}}"))), "{}", row.path);
        assert_eq!(row.request == RequestBody::Empty, row.method != Method::Post, "{}", row.path);
        assert!(row.path.starts_with("/v1/"), "{}", row.path);
        let is_data = row.opens == Opens::ProjectKey;
        // A data-plane path with an id that nobody checks would reach another project's object.
        assert!(!is_data || row.owned_by.is_some() == row.path.contains('{'), "{}", row.path);
        assert_eq!(
            row.path.starts_with("/v1/organization/") || row.path.starts_with("/v1/projects/"),
            row.opens == Opens::AdminKey,
            "{}",
            row.path
        );
    }
    assert_eq!(seen.len(), count());
    assert_eq!(count(), 382 + 3 + 1, "the API's operations, three sockets, one of ours");
}

#[test]
fn what_has_no_row_is_told_apart() {
    assert_eq!(find("GET", "/v1/nothing").map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("POST", "/v1/chat/completions/").map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("POST", "/v1/chat/%63ompletions").map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("GET", "v1/models").map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("POST", "/v1/models").map(|_| ()), Err(NotFound::Method { allowed: vec![Method::Get] }));
    assert_eq!(find("HEAD", "/v1/models").map(|_| ()), Err(NotFound::Method { allowed: vec![Method::Get] }));
}

#[test]
fn fixed_segments_win_over_parameters() {
    let found = find("POST", "/v1/responses/compact").expect("a row");
    assert_eq!(found.endpoint.path, "/v1/responses/compact");
    assert_eq!(find("GET", "/v1/videos/characters").map(|_| ()), Err(NotFound::Method { allowed: vec![Method::Post] }));
    let found = find("GET", "/v1/videos/other").expect("a row");
    assert_eq!(found.endpoint.path, "/v1/videos/{video_id}");
}

fn reference(body: &str) -> Option<String> {
    let mut reference = Reference::default();
    scan(body.as_bytes(), &mut reference).expect("valid JSON");
    reference.found().map(str::to_owned)
}

#[test]
fn references_are_found_at_any_depth() {
    for (body, key) in [
        (r#"{"previous_response_id":"resp_1"}"#, "previous_response_id"),
        (r#"{"conversation":{"id":"conv_1"}}"#, "conversation"),
        (r#"{"input":[{"content":[{"type":"input_file","f\u0069le_id":"file-1"}]}]}"#, "file_id"),
        (r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#, "vector_store_ids"),
        (r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, "container"),
        (r#"{"tools":[{"container":{"type":"auto","file_ids":["file-1"]}}]}"#, "file_ids"),
        (r#"{"prompt":{"id":"pmpt_1"}}"#, "prompt"),
        (r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#, "type"),
    ] {
        assert_eq!(reference(body).as_deref(), Some(key), "{body}");
    }
}

#[test]
fn a_caller_s_own_data_and_empty_references_are_none() {
    for body in [
        r#"{"previous_response_id":null,"conversation":null,"file_ids":[]}"#,
        r#"{"prompt":"tell me about file_id","voice":"alloy"}"#,
        r#"{"metadata":{"file_id":"mine"}}"#,
        r#"{"tools":[{"function":{"parameters":{"properties":{"file_id":{"type":"string"}}}}}]}"#,
        r#"{"tools":[{"container":{"type":"auto"}}]}"#,
        r#"{"messages":[{"role":"tool","tool_call_id":"call_1","content":"{\"file_id\":\"x\"}"}]}"#,
    ] {
        assert_eq!(reference(body), None, "{body}");
    }
}
