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
        // Client secrets are made by project keys.
        let is_ours = row.path == "/v1/sallyport/client_secrets";
        assert_eq!(
            ["/v1/organization/", "/v1/projects/", "/v1/sallyport/"].iter().any(|under| row.path.starts_with(under))
                && !is_ours,
            row.opens != Opens::ProjectKey,
            "{}",
            row.path
        );
    }
    assert_eq!(seen.len(), count());
    assert_eq!(
        count(),
        382 + 3 + 1 + 28 + 13 + 1 + 8 + 15 + 4 + 1,
        "the API's operations, three sockets, one of ours among them, ours beside"
    );
}

#[test]
fn what_a_signature_opens_is_found_without_a_key() {
    let signed: Vec<_> = rows().enumerate().filter(|(_, row)| row.opens == Opens::Signature).collect();
    assert!(!signed.is_empty());
    for (number, row) in signed {
        assert!(!row.path.contains('{') && row.path.starts_with("/v1/sallyport/"), "{}", row.path);
        let found = find_signed(row.method.as_str(), row.path).expect("a row");
        assert!(found.number == number && std::ptr::eq(found.endpoint, row));
        assert!(find_signed("PUT", row.path).is_none() && find_signed("POST", &row.path[1..]).is_none());
    }
    for row in rows().filter(|row| row.opens != Opens::Signature) {
        assert!(find_signed(row.method.as_str(), row.path).is_none(), "{}", row.path);
    }
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

#[test]
fn what_the_table_says_is_consistent() {
    for row in rows() {
        let name = format!("{} {}", row.method.as_str(), row.path);
        let is_data = row.opens == Opens::ProjectKey;
        assert!(is_data || !row.lists_account && row.keeps == Keeps::Nothing && row.billed_by.is_none(), "{name}");
        assert!(!row.websocket || row.method == Method::Get && !row.path.contains('{'), "{name}");
        assert!(row.error_event == ErrorEvent::Data || row.can_stream(), "{name}");
        // An object that this process made is looked up by the id that its creation answered with.
        let is_creation = row.method == Method::Post && row.owned_by.is_none() && is_data;
        let by_id = format!("{}/{{", row.path);
        let is_addressed = rows().any(|other| other.path.starts_with(&by_id));
        if is_creation && is_addressed && row.path != "/v1/realtime/calls" {
            assert!(row.makes.contains(&"id"), "{name} makes what other rows take by its id");
        }
        // A list of what other rows take by id shows every project's.
        let is_list = row.method == Method::Get && row.owned_by.is_none() && is_data && !row.websocket;
        if is_list && is_addressed && row.path != "/v1/models" {
            assert!(row.lists_account, "{name} lists stored objects");
        }
        for place in row.makes {
            assert!(place.split('.').all(|step| !step.trim_end_matches("[]").is_empty()), "{name}: `{place}`");
        }
    }
}

#[test]
fn as_many_parameters_as_a_path_may_have() {
    let deepest = rows().map(|row| row.path.matches('{').count()).max();
    assert_eq!(deepest, Some(3), "find keeps a fixed number of parameters, at least this");
    let long = format!("/v1/files{}", "/x".repeat(10_000));
    assert_eq!(find("GET", &long).map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("GET", "/v1/files/").map(|_| ()), Err(NotFound::Path));
    assert_eq!(find("GET", "/v1/files//content").map(|_| ()), Err(NotFound::Path));
    let encoded = find("GET", "/v1/files/a%2Fcontent").expect("a row");
    assert_eq!(encoded.params.iter().collect::<Vec<_>>(), [("file_id", "a%2Fcontent")]);
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
        (r#"{"prompt":{"version":"2","variables":{"a":"b"},"id":"pmpt_1"}}"#, "prompt"),
        (r#"{"voice":{"id":"voice_1"}}"#, "voice"),
        (r#"{"video":{"id":"video_1"},"prompt":"on"}"#, "video"),
        (r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#, "audio"),
        (r#"{"data_source":{"source":{"type":"file_id","id":"file-1"}}}"#, "source"),
        (r#"{"consent":"cons_1"}"#, "consent"),
    ] {
        assert_eq!(reference(body).as_deref(), Some(key), "{body}");
    }
}

#[test]
fn items_without_their_content_are_references() {
    let replay = r#"{"type":"message","id":"msg_0","role":"assistant","content":[{"type":"output_text","text":"x"}]}"#;
    for item in [
        r#"{"type":"item_reference","id":"msg_1"}"#,
        r#"{"type":"item\u005freference","id":"msg_1"}"#,
        r#"{"id":"msg_1"}"#,
        r#"{"id":"msg_1","type":null}"#,
        r#"{"id":"msg_1","content":[]}"#,
        r#"{"id":"msg_1","content":"not what counts","type":"item_reference"}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[]}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"content":[{"text":"x"}],"encrypted_content":null}"#,
        r#"{"type":"image_generation_call","id":"ig_1"}"#,
        r#"{"type":"image_generation_call","id":"ig_1","result":null,"action":"edit"}"#,
    ] {
        for list in [item.to_owned(), format!("{replay},{item}"), format!("{item},{replay}")] {
            assert_eq!(reference(&format!(r#"{{"input":[{list}]}}"#)).as_deref(), Some("input"), "{list}");
            assert_eq!(reference(&format!(r#"{{"items":[{list}],"a":1}}"#)).as_deref(), Some("items"), "{list}");
        }
    }
}

#[test]
fn items_with_their_content_are_replays() {
    for item in [
        r#"{"type":"message","id":"msg_0","role":"assistant","content":[{"type":"output_text","text":"x"}]}"#,
        r#"{"role":"user","content":"hello"}"#,
        r#"{"type":"compaction_trigger"}"#,
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO"}}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}"#,
        r#"{"type":"image_generation_call","id":"ig_1","status":"completed","result":"iVBO"}"#,
        r#"{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{}"}"#,
        r#"{"type":"function_call_output","id":"fco_1","call_id":"call_1","output":"1"}"#,
        r#"{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search"}}"#,
        r#"{"type":"mcp_approval_response","id":"mcpr_1","approval_request_id":"mcpa_1","approve":false}"#,
    ] {
        assert_eq!(reference(&format!(r#"{{"input":[{item},{item}]}}"#)), None, "{item}");
    }
}

#[test]
fn a_caller_s_own_data_and_empty_references_are_none() {
    for body in [
        r#"{"previous_response_id":null,"conversation":null,"file_ids":[]}"#,
        r#"{"prompt":"tell me about file_id","voice":"alloy","audio":{"voice":"alloy","format":"wav"}}"#,
        r#"{"prompt":{"id":null}}"#,
        r#"{"metadata":{"file_id":"mine"}}"#,
        r#"{"tools":[{"function":{"parameters":{"properties":{"file_id":{"type":"string"}}}}}]}"#,
        r#"{"tools":[{"container":{"type":"auto"}}]}"#,
        r#"{"messages":[{"role":"tool","tool_call_id":"call_1","content":"{\"file_id\":\"x\"}"}]}"#,
        r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"call_1","function":{"name":"f"}}]}]}"#,
        r#"{"data_source":{"source":{"type":"file_content","content":[{"item":{"id":"1"}}]}}}"#,
    ] {
        assert_eq!(reference(body), None, "{body}");
    }
}

#[test]
fn form_fields_are_read_as_paths() {
    for name in
        ["file_id", "file_ids[]", "input_reference[file_id]", "video[id]", "consent", "session", "a[0][file_id]"]
    {
        assert!(Reference::is_form_field(name), "{name}");
    }
    for name in ["file", "prompt", "video", "image[]", "metadata[file_id]", "expires_after[anchor]", "id", ""] {
        assert!(!Reference::is_form_field(name), "{name}");
    }
}

#[test]
fn names_are_judged_once_and_in_order() {
    assert!(REFERENCES.is_sorted_by(|a, b| a.0 < b.0), "they are found by binary search");
    for (name, form) in REFERENCES {
        let value = match form {
            Form::Any | Form::Text => r#""x""#,
            Form::ObjectWithId => r#"{"id":"x"}"#,
            Form::ItemsById => r#"[{"id":"x"}]"#,
        };
        assert_eq!(reference(&format!(r#"{{"a":[{{"{name}":{value}}}]}}"#)).as_deref(), Some(*name));
    }
    for name in OWN_DATA {
        assert_eq!(reference(&format!(r#"{{"{name}":{{"file_id":"x"}}}}"#)), None, "{name}");
    }
    let mut names: Vec<&str> = REFERENCES.iter().map(|(name, _)| *name).collect();
    names.extend(NOT_REFERENCES);
    names.extend(OWN_DATA);
    let judged: HashSet<&str> = names.iter().copied().collect();
    assert_eq!(judged.len(), names.len(), "a name is judged twice");
}
