//! Real shapes of the smaller families.

use super::{assert_lines, row};
use crate::{Unseen, unseen_of};

#[test]
fn embeddings_and_completions_with_text_and_tokens() {
    let path = "/v1/embeddings";
    assert_lines(path, r#"{"input": "a text", "model": "text-embedding-3-small"}"#, "user Input input: a text");
    assert_lines(path, r#"{"input": ["one a", "two b"]}"#, "user Input input[0]: one a\nuser Input input[1]: two b");
    assert_lines(
        path,
        r#"{"input": [[15339, 1917], [ 15339 ,1917 ]], "model": "text-embedding-3-small"}"#,
        "user Input Tokens input[0]: hello world\nuser Input Tokens input[1]: hello world",
    );
    assert_lines(path, r#"{"input": [15339, 1917], "model": "else"}"#, "unscanned tokens input");
    assert_lines(path, r#"{"input": [1.5, -1], "model": "text-embedding-3-small"}"#, "unscanned tokens input");
    assert_lines(
        "/v1/completions",
        r#"{"model": "gpt-3.5-turbo-instruct", "prompt": ["Say it", [15339, 1917]], "suffix": "and so on", "stop": "END"}"#,
        "
        user Input prompt[0]: Say it
        user Input suffix: and so on
        user Input Tokens prompt[1]: hello world
        ",
    );
}

#[test]
fn moderations_images_speech_and_videos() {
    assert_lines(
        "/v1/moderations",
        r#"{"input": [{"type": "text", "text": "is it bad"}, {"type": "image_url", "image_url": {"url": "https://a.example/b"}}]}"#,
        "
        user Input input[0].text: is it bad
        untrusted Url input[1].image_url.url: https://a.example/b
        unscanned image input[1].image_url.url
        ",
    );
    assert_lines("/v1/images/generations", r#"{"prompt": "A cat", "size": "1024x1024"}"#, "user Input prompt: A cat");
    assert_lines(
        "/v1/images/edits",
        r#"{"prompt": "Bluer", "images": [{"image_url": "data:image/png;base64,iVBORw0KGgo="}, {"file_id": "file-1"}]}"#,
        "
        user Input prompt: Bluer
        unscanned image images[0].image_url
        unseen file
        ",
    );
    assert_lines(
        "/v1/audio/speech",
        r#"{"model": "gpt-4o-mini-tts", "input": "Read me", "voice": "alloy", "instructions": "Speak low"}"#,
        "user Input input: Read me\nsystem Instructions instructions: Speak low",
    );
    assert_lines("/v1/videos", r#"{"prompt": "A cat runs", "seconds": "4"}"#, "user Input prompt: A cat runs");
}

#[test]
fn decisions() {
    assert_lines(
        "/v1/decisions",
        r#"{"model": "gpt-6-luna", "input": [{"role": "user", "content": "My order is late"}],
            "questions": [{"name": "mood", "instructions": "How do they feel?", "choices":
              [{"value": "very cross", "description": "They shout."}]}]}"#,
        "
        user Input input[0].content: My order is late
        system Instructions questions[0].instructions: How do they feel?
        system Instructions questions[0].choices[0].value: very cross
        system Instructions questions[0].choices[0].description: They shout.
        ",
    );
}

#[test]
fn assistants_and_threads() {
    assert_lines(
        "/v1/assistants",
        r#"{"model": "gpt-4o", "name": "A helper", "instructions": "Help.", "tools": [{"type": "file_search"},
            {"type": "function", "function": {"name": "f", "description": "It does."}}],
            "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}"#,
        "
        user Aside name: A helper
        system Instructions instructions: Help.
        system ToolDefinition tools[1].function.description: It does.
        unseen file_search
        ",
    );
    assert_lines(
        "/v1/threads/runs",
        r#"{"assistant_id": "asst_1", "instructions": "Be kind.", "thread": {"messages": [{"role": "user", "content":
            [{"type": "text", "text": "Hi you"}, {"type": "image_file", "image_file": {"file_id": "file-1"}}]}]}}"#,
        "
        system Instructions instructions: Be kind.
        user Input thread.messages[0].content[0].text: Hi you
        unseen file
        unseen stored_prompt
        ",
    );
    assert_lines(
        "/v1/threads/t/runs/r/submit_tool_outputs",
        r#"{"tool_outputs": [{"tool_call_id": "call_1", "output": "so it is"}]}"#,
        "untrusted ToolResult tool_outputs[0].output: so it is\nunseen conversation",
    );
    assert_eq!(unseen_of(row("/v1/agents/automations/a/resume")), Some(Unseen::StoredPrompt));
    assert_eq!(unseen_of(row("/v1/threads")), None);
}

#[test]
fn stores_of_text() {
    assert_lines(
        "/v1/vector_stores/vs_1/search",
        r#"{"query": ["what is", "who is"], "filters": {"type": "eq", "key": "k", "value": "a b"}}"#,
        "
        user Input query[0]: what is
        user Input query[1]: who is
        user Aside filters.value: a b
        ",
    );
    assert_lines(
        "/v1/conversations/conv_1/items",
        r#"{"items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi you"}]},
            {"type": "function_call_output", "output": "it says"}, {"id": "msg_1"}]}"#,
        "
        user Input items[0].content[0].text: Hi you
        untrusted ToolResult items[1].output: it says
        unseen previous_response
        ",
    );
    assert_lines(
        "/v1/containers",
        r#"{"name": "my box", "file_ids": ["file-1"]}"#,
        "user Aside name: my box\nunseen file",
    );
    assert_lines(
        "/v1/uploads",
        r#"{"filename": "a b.txt", "purpose": "assistants", "bytes": 3, "mime_type": "text/plain"}"#,
        "untrusted File filename: a b.txt",
    );
    assert_lines(
        "/v1/batches",
        r#"{"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h", "metadata": {"why so": "x"}}"#,
        "user Aside Key metadata.*: why so\nunseen file",
    );
}

#[test]
fn realtime_sessions() {
    assert_lines(
        "/v1/realtime/client_secrets",
        r#"{"session": {"type": "realtime", "model": "gpt-realtime", "instructions": "Be brief.", "prompt": {"id": "p",
            "variables": {"city": "New York"}}, "audio": {"input": {"transcription": {"prompt": "expect names"}}},
            "tools": [{"type": "function", "name": "f", "description": "It acts."}, {"type": "mcp", "server_label": "s"}]}}"#,
        "
        system Instructions session.instructions: Be brief.
        user Input session.prompt.variables.city: New York
        system Instructions session.audio.input.transcription.prompt: expect names
        system ToolDefinition session.tools[0].description: It acts.
        unseen mcp
        unseen stored_prompt
        ",
    );
}

#[test]
fn evaluations_and_training() {
    assert_lines(
        "/v1/evals/e/runs",
        r#"{"name": "run one", "data_source": {"type": "responses", "model": "gpt-4o", "source": {"type": "stored_completions",
            "metadata": {"a": "b c"}}, "input_messages": {"type": "template", "template":
            [{"role": "developer", "content": "Sort it."}, {"role": "user", "content": {"type": "input_text", "text": "{{item.x}} it"}}]}}}"#,
        "
        user Aside name: run one
        user Aside data_source.source.metadata.a: b c
        system Instructions data_source.input_messages.template[0].content: Sort it.
        user Input data_source.input_messages.template[1].content.text: {{item.x}} it
        unseen stored_prompt
        unseen stored_answers
        ",
    );
    assert_lines(
        "/v1/fine_tuning/alpha/graders/run",
        r#"{"grader": {"type": "score_model", "name": "g", "model": "gpt-4o", "input": [{"role": "user", "content": "Rate it"}]},
            "item": {"question": "is it so"}, "model_sample": "it is"}"#,
        "
        user Input grader.input[0].content: Rate it
        untrusted File item.question: is it so
        untrusted Replay model_sample: it is
        ",
    );
    assert_lines(
        "/v1/fine_tuning/jobs",
        r#"{"model": "gpt-4o-mini", "training_file": "file-1", "suffix": "our own"}"#,
        "user Aside suffix: our own\nunseen file",
    );
}

#[test]
fn what_no_document_describes_is_unknown() {
    assert_lines(
        "/v1/agents/sessions",
        r#"{"input": "Do it", "tools": [{"description": "x y"}]}"#,
        "
        untrusted Unknown input: Do it
        untrusted Unknown tools[0].description: x y
        unknown input
        unknown tools
        ",
    );
    assert_lines("/v1/responses", r#"["a b"]"#, "untrusted Unknown [0]: a b\nunknown []");
    assert_lines("/v1/responses", r#""a b""#, "untrusted Unknown $: a b\nunknown $");
}
