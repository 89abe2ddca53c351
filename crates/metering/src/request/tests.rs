use proptest::prelude::*;
use serde_json::{Value, json};
use wire::endpoint::Meter;
use wire::json::scan;

use super::*;

fn read(meter: Meter, body: &Value) -> Asked {
    let text = body.to_string();
    let mut reader = JsonReader::new(meter);
    scan(text.as_bytes(), &mut reader).expect("valid JSON");
    reader.finish(text.len())
}

#[test]
fn a_chat_request_says_its_caps_and_counts_its_parts() {
    let asked = read(
        Meter::Chat,
        &json!({"model": "gpt-4o", "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "max_tokens": 5, "max_completion_tokens": 9, "n": 2, "stream": true,
            "stream_options": {"include_usage": true}, "service_tier": "flex", "user": "u", "safety_identifier": "s"}),
    );
    assert_eq!((asked.messages, asked.tools), (2, 1));
    assert_eq!((asked.output_cap, asked.choices), (Cap::Given(9), Cap::Given(2)));
    assert!(asked.streams && asked.includes_usage && !asked.has_hidden_input);
    assert_eq!(asked.tier, TierAsked::Named(Tier::Flex));
    assert_eq!(asked.end_user.as_deref(), Some("s"));
    assert_eq!(asked.unbounded, None);
}

#[test]
fn what_is_not_in_the_request_counts_as_hidden() {
    let hidden = |meter, body: Value| read(meter, &body).has_hidden_input;
    // The conversation that it goes on from may be known by its id; another kind of id is nobody's.
    let goes_on = read(Meter::Responses, &json!({"input": "x", "previous_response_id": "resp_1"}));
    assert_eq!((goes_on.previous_response.as_deref(), goes_on.has_hidden_input), (Some("resp_1"), false));
    assert!(hidden(Meter::Responses, json!({"input": "x", "previous_response_id": 7})));
    assert!(hidden(Meter::Responses, json!({"input": "x", "conversation": {"id": "conv_1"}})));
    assert!(hidden(Meter::Responses, json!({"prompt": {"id": "pmpt_1"}})));
    // Its tools are out of sight, too.
    let unbounded = |body: Value| read(Meter::Responses, &body).unbounded.is_some();
    assert!(unbounded(json!({"prompt": {"id": "pmpt_1"}})));
    assert!(!unbounded(json!({"prompt": {"id": "pmpt_1"}, "tools": []})));
    assert!(hidden(Meter::Responses, json!({"input": [{"type": "item_reference", "id": "msg_1"}]})));
    assert!(hidden(Meter::Responses, json!({"input": [{"id": "msg_1"}]})));
    assert!(hidden(
        Meter::Responses,
        json!({"input": [{"id": "msg_1", "type": null}, {"role": "user", "content": "x"}]})
    ));
    for part in [
        json!({"type": "input_file", "file_id": "file-1"}),
        json!({"type": "input_file", "file_url": "https://x/y.pdf"}),
        json!({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"}),
    ] {
        assert!(hidden(Meter::Responses, json!({"input": [{"role": "user", "content": [part]}]})));
    }
    let file = json!({"type": "file", "file": {"file_id": "file-1"}});
    assert!(hidden(Meter::Chat, json!({"messages": [{"role": "user", "content": [file]}]})));
    assert!(hidden(Meter::Chat, json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]})));
    assert!(!hidden(Meter::Responses, json!({"input": "x", "previous_response_id": null, "conversation": null})));
    assert!(!hidden(Meter::Responses, json!({"input": [{"role": "user", "content": "x"}]})));
}

#[test]
fn a_part_that_nobody_knows_is_input_that_nobody_sees() {
    let hidden = |part: Value| {
        let body = json!({"input": [{"role": "user", "content": [part]}]});
        read(Meter::Responses, &body).has_hidden_input
    };
    assert!(hidden(json!({"type": "input_video", "video_url": "https://x/y"})));
    assert!(hidden(json!({"type": "input_hologram"})));
    assert!(!hidden(json!({"type": "input_text", "text": "x"})));
    let annotated = json!({"type": "output_text", "text": "x", "annotations": [{"type": "anything"}]});
    assert!(!hidden(annotated), "an annotation is text");
    let shot = json!({"input": [{"type": "computer_call_output", "call_id": "c",
        "output": {"type": "computer_screenshot", "image_url": "https://x/y"}}]});
    let asked = read(Meter::Responses, &shot);
    assert!(!asked.has_hidden_input && asked.images.len() == 1);
}

#[test]
fn pictures_are_counted_up_to_a_number_and_down_to_a_depth() {
    let part = json!({"type": "input_image", "image_url": "https://x/y"});
    let body = json!({"input": [{"role": "user", "content": vec![part; IMAGES_MAX + 5]}]});
    let asked = read(Meter::Responses, &body);
    assert!(asked.images.len() == IMAGES_MAX && asked.has_hidden_input);
    // In a schema deep down it is text.
    let url = format!("data:image/png;base64,{}", "A".repeat(4_000));
    let schema = json!({"a": {"b": {"c": {"image_url": url}}}});
    let body = json!({"input": [{"type": "mcp_list_tools", "tools": [{"name": "t", "input_schema": schema}]}]});
    let asked = read(Meter::Responses, &body);
    assert!(asked.text_bytes > 4_000 && asked.images.is_empty());
}

#[test]
fn the_cap_s_own_member_is_remembered() {
    let members = |body: Value| read(Meter::Chat, &body).cap_members;
    assert_eq!(members(json!({"messages": [], "max_tokens": 5})), CapMembers { own: false, old: true });
    assert_eq!(members(json!({"messages": [], "max_completion_tokens": 5})), CapMembers { own: true, old: false });
    assert_eq!(members(json!({"messages": [], "max_tokens": null})), CapMembers::default());
}

#[test]
fn tools_are_told_apart() {
    let tools = |types: &[&str]| {
        let tools: Vec<_> = types.iter().map(|word| json!({"type": word})).collect();
        read(Meter::Responses, &json!({"input": "x", "tools": tools, "max_tool_calls": 3}))
    };
    let asked = tools(&["function", "web_search_preview_2025_03_11", "code_interpreter"]);
    assert_eq!(asked.hosted, HostedTools { web_search: true, file_search: false, code_interpreter: true });
    assert_eq!((asked.max_tool_calls, asked.unbounded), (Cap::Given(3), None));
    for word in ["mcp", "image_generation", "shell", "something_new"] {
        let asked = tools(&[word]);
        assert!(asked.unbounded.is_some(), "{word}");
        assert_eq!(asked.may_use_other_models, matches!(word, "image_generation" | "something_new"), "{word}");
    }
    let escaped = read_text(Meter::Responses, r#"{"input":"x","tools":[{"type":"m\u0063p"}]}"#);
    assert!(escaped.unbounded.is_some());
    assert!(read(Meter::Responses, &json!({"input": [{"type": "new_kind"}]})).unbounded.is_some());
}

fn read_text(meter: Meter, text: &str) -> Asked {
    let mut reader = JsonReader::new(meter);
    scan(text.as_bytes(), &mut reader).expect("valid JSON");
    reader.finish(text.len())
}

#[test]
fn a_picture_is_no_text_but_only_where_a_picture_may_be() {
    let url = format!("data:image/png;base64,{}", "A".repeat(4_000));
    let in_part = read(
        Meter::Chat,
        &json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]}),
    );
    assert!(in_part.text_bytes < 400, "{}", in_part.text_bytes);
    assert_eq!(in_part.images, [ImageIn { detail: Detail::Low, size: None }]);
    // The same bytes where they would be read as text.
    for body in [
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": url}]}]}),
        json!({"messages": [{"role": "user", "content": url}]}),
        json!({"messages": [{"role": "user", "content": "x", "meta": {"url": url}}]}),
        json!({"messages": [], "tools": [{"type": "function", "function": {"image_url": {"url": url}}}]}),
        json!({"messages": [], "metadata": {"image_url": url}}),
    ] {
        assert!(read(Meter::Chat, &body).text_bytes > 4_000, "{body}");
    }
    let edit = read(Meter::Images, &json!({"prompt": "A cat.", "images": [{"image_url": url}]}));
    assert!(edit.text_bytes < 400 && edit.images.len() == 1 && edit.has_hidden_input);
    let remote = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]});
    assert_eq!(read(Meter::Chat, &remote).images, [ImageIn { detail: Detail::Auto, size: None }]);
}

#[test]
fn a_detail_belongs_to_the_image_of_its_own_object() {
    let text = r#"{"messages":[{"role":"user","content":[
        {"type":"image_url","image_url":{"url":"https://x/1","detail":"low"}},
        {"type":"image_url","image_url":{"detail":"high","url":"https://x/2"}},
        {"type":"image_url","image_url":{"url":"https://x/3"}},
        {"type":"text","detail":"low"},{"image_url":{"detail":"low"}},{"detail":"low"}]}]}"#;
    let details: Vec<_> = read_text(Meter::Chat, text).images.iter().map(|image| image.detail).collect();
    assert_eq!(details, [Detail::Low, Detail::High, Detail::Auto]);
    let item =
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/1","detail":"low"}]}]}"#;
    assert_eq!(read_text(Meter::Responses, item).images[0].detail, Detail::Low);
}

#[test]
fn inputs_are_counted_where_each_is_read_apart() {
    let prompts = |value: Value| read(Meter::Completions, &json!({"prompt": value})).inputs;
    assert_eq!([json!("x"), json!([1, 2, 3]), json!(null), json!({"id": "p"})].map(prompts), [1; 4]);
    assert_eq!([json!(["x", "y"]), json!([[1, 2], [3]]), json!(["[1,2]", "x"])].map(prompts), [2; 3]);
    assert_eq!(read_text(Meter::Embeddings, "{\"input\": [ \"a\" , \"b\", \"c\" ]}").inputs, 3);
    // Elsewhere a list is one conversation.
    assert_eq!(read(Meter::Responses, &json!({"input": [{"role": "user", "content": "x"}]})).inputs, 0);
}

#[test]
fn caps_that_are_no_numbers_are_no_caps() {
    let cap = |value: Value| read(Meter::Chat, &json!({"messages": [], "max_completion_tokens": value})).output_cap;
    assert_eq!(cap(json!(null)), Cap::Absent);
    assert_eq!(cap(json!(7)), Cap::Given(7));
    for odd in [json!(-1), json!(1.5), json!("7"), json!([7])] {
        assert_eq!(cap(odd), Cap::Odd);
    }
    assert_eq!(read_text(Meter::Chat, r#"{"max_tokens":1e3}"#).output_cap, Cap::Odd);
}

#[test]
fn a_form_gives_its_sound_and_pictures() {
    let mut form = FormReader::new(Meter::Transcriptions);
    form.begin("file", Some("a.bin"), None);
    form.data(&[0; 1_000]);
    form.end();
    form.begin("stream", None, None);
    form.data(b"true");
    form.end();
    let asked = form.finish();
    // Unknown bytes last as long as they can.
    assert!(asked.audio_ms >= 1_000 * 8 / 6 && !asked.is_audio_exact && asked.streams);

    let mut form = FormReader::new(Meter::Images);
    for (name, value) in [("image[]", &b"not a picture"[..]), ("prompt", b"a cat"), ("n", b"3"), ("size", b"1024x1024")]
    {
        form.begin(name, None, None);
        form.data(value);
        form.end();
    }
    let asked = form.finish();
    assert_eq!(asked.images, [ImageIn { detail: Detail::Auto, size: None }]);
    assert_eq!((asked.choices, asked.images_out.size.as_deref()), (Cap::Given(3), Some("1024x1024")));
}

proptest! {
    /// However a conversation is put together, its text is never more than the bytes counted for it.
    #[test]
    fn no_text_is_left_out(texts in proptest::collection::vec(".{0,40}", 1..8), as_parts: bool) {
        let content = |text: &String| if as_parts { json!([{"type": "text", "text": text}]) } else { json!(text) };
        let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": content(text)})).collect();
        let asked = read(Meter::Chat, &json!({"messages": messages}));
        let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
        prop_assert!(asked.text_bytes >= bytes);
        prop_assert_eq!(asked.messages, texts.len() as u64);
    }
}
