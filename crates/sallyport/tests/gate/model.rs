//! The embedded model behind the gate; the cases without its file come first.

use serde_json::{Value, json};

use crate::world::World;

/// A gate with the model, where the tests' environment has its file. Without it the tests of the model itself say so;
/// `make test` fetches it first and sets `SALLYPORT_MODEL_REQUIRED`.
fn with_model() -> Option<World> {
    let path = std::env::var_os("SALLYPORT_MODEL").map(std::path::PathBuf::from);
    let Some(path) = path.filter(|path| path.exists()) else {
        assert!(std::env::var_os("SALLYPORT_MODEL_REQUIRED").is_none(), "the model's file is not there");
        eprintln!("skipped: set SALLYPORT_MODEL to the file that scripts/fetch_model.py leaves");
        return None;
    };
    Some(World::local(&format!("[local_model]\npath = {:?}", path.display().to_string())))
}

#[test]
fn without_its_file_the_gate_starts_and_says_so() {
    let world = World::local("");
    assert!(world.diagnostics().contains("embedded model is not available"), "{}", world.diagnostics());
    for model in ["gpt-4o-mini", "smollm2-135m-instruct"] {
        let answer = world.post("/v1/chat/completions", &json!({"model": model, "messages": []}));
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "local_model_unavailable"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(answer.text().contains("make model"));
    }
    let answer = world.post("/v1/chat/completions", &json!({"model": "no-such-model", "messages": []}));
    assert_eq!((answer.status, answer.error_code().as_str()), (404, "model_not_found"));
    let answer = world.post("/v1/chat/completions", &json!({"messages": []}));
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some("model")));
    let answer = world.post("/v1/embeddings", &json!({"model": "gpt-4o", "input": "x"}));
    assert_eq!((answer.status, answer.error_code().as_str()), (501, "not_served"));
}

#[test]
fn a_wrong_file_is_a_503_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, b"GGUF but not really").expect("written");
    let world = World::local(&format!("[local_model]\npath = {:?}", path.display().to_string()));
    let answer = world.post("/v1/chat/completions", &json!({"model": "gpt-4o", "messages": []}));
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "local_model_unavailable"));
}

#[test]
fn the_model_answers_under_its_alias_and_tells_the_truth() {
    let Some(world) = with_model() else { return };
    let ask = json!({"model": "gpt-4o-mini", "temperature": 0, "max_tokens": 12, "messages": [{"role": "user", "content": "Name a color."}]});
    let answer = world.post("/v1/chat/completions", &ask);
    let json = answer.json();
    assert_eq!((answer.status, json["model"].as_str()), (200, Some("smollm2-135m-instruct")), "{json}");
    assert!(json["choices"][0]["message"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    let (prompt, completion) = (json["usage"]["prompt_tokens"].as_u64(), json["usage"]["completion_tokens"].as_u64());
    assert_eq!(json["usage"]["total_tokens"].as_u64(), prompt.zip(completion).map(|(one, two)| one + two));
    let mut streamed = ask;
    streamed["stream"] = json!(true);
    let text = world.post("/v1/chat/completions", &streamed).text();
    let deltas = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let joined: String =
        deltas.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect();
    assert_eq!(Some(joined.as_str()), json["choices"][0]["message"]["content"].as_str(), "streamed and whole agree");
    assert!(text.ends_with("data: [DONE]\n\n"));
    let response =
        world.post("/v1/responses", &json!({"model": "gpt-5", "input": "Say hi.", "max_output_tokens": 8})).json();
    assert_eq!(
        (response["object"].as_str(), response["model"].as_str()),
        (Some("response"), Some("smollm2-135m-instruct"))
    );
    let models = world.call(&world.project_key, "GET", "/v1/models", &Value::Null).json();
    assert_eq!(models["data"][0]["id"], "smollm2-135m-instruct");
    assert_eq!(
        world.call(&world.project_key, "GET", "/v1/models/gpt-4o", &Value::Null).json()["id"],
        "smollm2-135m-instruct"
    );
}
