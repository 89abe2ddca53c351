//! Promise 9, first cut: projects that share an upstream account cannot reach each other's objects.

use serde_json::{Value, json};

use crate::client::request;
use crate::world::World;

fn upload(world: &World, key: &str) -> String {
    let bearer = format!("Bearer {key}");
    let form = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--B--\r\n";
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "multipart/form-data; boundary=B")];
    let answer = world.raw(&request("POST", "/v1/files", &headers, form));
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

#[test]
fn another_project_s_object_is_a_404_and_stays_so_after_a_kill() {
    let mut world = World::new();
    let first_file = upload(&world, &world.project_key);
    let (_, other) = world.project("Other");
    let response =
        world.call(&other, "POST", "/v1/responses", &json!({"model": "gpt-4o", "input": "x"})).json()["id"].clone();
    let response = response.as_str().expect("an id").to_owned();
    let streamed =
        world.call(&other, "POST", "/v1/responses", &json!({"model": "gpt-4o", "input": "x", "stream": true})).text();
    let streamed =
        streamed.split("\"id\":\"resp_").nth(1).and_then(|rest| rest.split('"').next()).expect("an id").to_owned();
    let streamed = format!("resp_{streamed}");
    let stored = world
        .call(&other, "POST", "/v1/chat/completions", &json!({"model": "gpt-4o", "messages": [], "store": true}))
        .json();
    let chat = stored["id"].as_str().expect("an id").to_owned();
    let check = |world: &World, when: &str| {
        let status = |key: &str, path: &str| world.call(key, "GET", path, &Value::Null).status;
        for (path, mine, theirs) in [
            (format!("/v1/files/{first_file}"), &world.project_key, &other),
            (format!("/v1/files/{first_file}/content"), &world.project_key, &other),
            (format!("/v1/responses/{response}"), &other, &world.project_key),
            (format!("/v1/responses/{streamed}"), &other, &world.project_key),
        ] {
            assert_eq!((status(mine, &path), status(theirs, &path)), (200, 404), "{path} {when}");
        }
        let chat_path = format!("/v1/chat/completions/{chat}");
        assert_eq!(world.call(&world.project_key, "GET", &chat_path, &Value::Null).error_code(), "null");
        assert_eq!(
            world.call(&world.project_key, "DELETE", &format!("/v1/responses/{response}"), &Value::Null).status,
            404
        );
        assert_eq!(status(&other, "/v1/files/file-nobody0000000000000000001"), 404);
        assert_eq!(status(&other, "/v1/models/gpt-4o"), 200);
        assert_eq!(status(&other, "/v1/models/ft:gpt-4o:org::1"), 404);
        assert_eq!(world.call(&other, "DELETE", "/v1/models/gpt-4o", &Value::Null).status, 404);
    };
    check(&world, "at once");
    std::thread::sleep(std::time::Duration::from_millis(300));
    world.restart("-KILL");
    check(&world, "after a kill");
}

#[test]
fn a_stop_writes_down_the_owner_of_the_last_moment() {
    let mut world = World::new();
    let (_, other) = world.project("Other");
    let file = upload(&world, &other);
    world.restart("-TERM");
    let status = |key: &str| world.call(key, "GET", &format!("/v1/files/{file}"), &Value::Null).status;
    assert_eq!((status(&other), status(&world.project_key)), (200, 404));
}

#[test]
fn lists_and_references_are_refused_while_projects_share() {
    let world = World::new();
    let file = upload(&world, &world.project_key);
    assert_eq!(
        world.call(&world.project_key, "GET", "/v1/files", &Value::Null).status,
        200,
        "one project sees its account"
    );
    assert_eq!(
        world.post("/v1/responses", &json!({"model": "gpt-4o", "input": "x", "previous_response_id": "resp_1"})).status,
        200
    );
    let (_, other) = world.project("Other");
    for key in [&world.project_key, &other] {
        for path in [
            "/v1/files",
            "/v1/batches",
            "/v1/vector_stores",
            "/v1/chat/completions",
            "/v1/fine_tuning/jobs",
            "/v1/assistants",
        ] {
            let answer = world.call(key, "GET", path, &Value::Null);
            assert_eq!((answer.status, answer.error_code().as_str()), (403, "shared_upstream_account"), "{path}");
        }
        for (path, body) in [
            ("/v1/responses", json!({"model": "m", "input": "x", "previous_response_id": "resp_1"})),
            (
                "/v1/responses",
                json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": file}]}]}),
            ),
            ("/v1/responses", json!({"model": "m", "input": "x", "conversation": {"id": "conv_1"}})),
            (
                "/v1/batches",
                json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
            ),
            ("/v1/vector_stores", json!({"file_ids": [file]})),
            ("/v1/fine_tuning/jobs", json!({"model": "m", "training_file": file})),
        ] {
            let answer = world.call(key, "POST", path, &body);
            assert_eq!(
                (answer.status, answer.error_code().as_str()),
                (403, "shared_upstream_account"),
                "{path} {body}"
            );
        }
        let tuned = json!({"model": "ft:gpt-4o:org::1", "messages": []});
        assert_eq!(world.call(key, "POST", "/v1/chat/completions", &tuned).status, 404);
        let own = json!({"model": "m", "messages": [], "metadata": {"file_id": "mine"}, "tools": []});
        assert_eq!(world.call(key, "POST", "/v1/chat/completions", &own).status, 200);
    }
}
