use pricing::{Quantities, Table};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::json::scan;

use super::*;
use crate::request::JsonReader;
use crate::usage;

fn asked(meter: Meter, body: &Value) -> Asked {
    let text = body.to_string();
    let mut reader = JsonReader::new(meter);
    scan(text.as_bytes(), &mut reader).expect("valid JSON");
    reader.finish(text.len())
}

fn bounded(meter: Meter, model: &str, body: &Value) -> Result<Bounded, NoBound> {
    let table = Table::shipped();
    bound(meter, &asked(meter, body), model, table.find(model).expect("a listed model"), &Known::default())
}

fn of(meter: Meter, model: &str, body: &Value) -> Bounded {
    bounded(meter, model, body).unwrap_or_else(|error| panic!("{error}"))
}

const HI: &str = "hi";

fn chat(extra: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": HI}]});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn the_output_is_bounded_by_the_cap_for_each_choice() {
    let output = |extra| of(Meter::Chat, "gpt-4o", &chat(extra)).bound.text_output_tokens;
    let max = Table::shipped().find("gpt-4o").and_then(|model| model.max_output_tokens).expect("listed");
    assert_eq!(output(json!({})), max);
    assert_eq!(output(json!({"max_tokens": 7})), 7);
    assert_eq!(output(json!({"max_completion_tokens": 7, "n": 3})), 21);
    // What is no number cannot lower the bound.
    assert_eq!(output(json!({"max_completion_tokens": "7"})), max);
    assert!(output(json!({"max_tokens": 7, "prediction": {"type": "content", "content": "x".repeat(100)}})) >= 107);
    let legacy = |extra: Value| {
        let mut body = json!({"prompt": "x"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        of(Meter::Completions, "gpt-3.5-turbo-instruct", &body).bound.text_output_tokens
    };
    assert_eq!((legacy(json!({})), legacy(json!({"max_tokens": 5, "n": 2, "best_of": 4}))), (16, 20));
}

#[test]
fn input_that_is_not_in_the_request_counts_as_all_that_the_model_reads() {
    let max = Table::shipped().find("gpt-4o").and_then(|model| model.max_input_tokens).expect("listed");
    let body = json!({"input": "x", "previous_response_id": "resp_1"});
    assert_eq!(of(Meter::Responses, "gpt-4o", &body).bound.input_tokens, max);
    let known = Known { earlier_tokens: Some(1_000), ..Known::default() };
    let table = Table::shipped();
    let asked = asked(Meter::Responses, &body);
    let bounded = bound(Meter::Responses, &asked, "gpt-4o", table.find("gpt-4o").expect("listed"), &known);
    let tokens = bounded.expect("bounded").bound.input_tokens;
    assert!((1_000..1_300).contains(&tokens), "{tokens}");
    // A file beside it is hidden all the same.
    let part = json!({"type": "input_file", "file_id": "file-1"});
    let body = json!({"input": [{"role": "user", "content": [part]}], "previous_response_id": "resp_1"});
    let bounded = bound(
        Meter::Responses,
        &self::asked(Meter::Responses, &body),
        "gpt-4o",
        table.find("gpt-4o").expect("listed"),
        &known,
    );
    assert_eq!(bounded.expect("bounded").bound.input_tokens, max);
    // No text is longer than what the model reads.
    let long = chat(json!({"user": "x".repeat(2_000_000)}));
    assert_eq!(of(Meter::Chat, "gpt-4o", &long).bound.input_tokens, max);
}

#[test]
fn each_turn_of_hosted_tools_reads_the_context_again() {
    let max = Table::shipped().find("gpt-4o").and_then(|model| model.max_input_tokens).expect("listed");
    let tools = json!([{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]);
    let bounded = of(Meter::Responses, "gpt-4o", &json!({"input": "x", "tools": tools, "max_tool_calls": 3}));
    assert!(bounded.bound.input_tokens > 3 * max && bounded.bound.input_tokens < 3 * max + 1_000);
    assert_eq!((bounded.bound.web_searches, bounded.bound.container_sessions), (3, 3));
    assert_eq!((bounded.bound.file_searches, bounded.tool_calls), (0, Some(3)));
    let free = of(Meter::Responses, "gpt-4o", &json!({"input": "x", "tools": tools}));
    assert_eq!(free.tool_calls, Some(TOOL_CALLS_DEFAULT));
    let search = of(Meter::Chat, "gpt-4o-search-preview", &chat(json!({})));
    assert_eq!((search.bound.web_searches, search.tool_calls), (1, None));
}

#[test]
fn only_models_that_are_known_to_show_all_output_do() {
    for model in ["gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4.1-nano", "gpt-3.5-turbo", "ft:gpt-4o:acme::x"] {
        assert!(!hides_output(model), "{model}");
    }
    for model in
        ["o3", "gpt-5.4", "gpt-6-luna", "chat-latest", "prod-a", "gpt-4o-audio-preview", "gpt-4o-search-preview"]
    {
        assert!(hides_output(model), "{model}");
    }
}

#[test]
fn another_cap_goes_where_the_request_names_it() {
    let names = |body: Value| cap_names(Meter::Chat, &asked(Meter::Chat, &body)).collect::<Vec<_>>();
    assert_eq!(names(chat(json!({}))), ["max_completion_tokens"]);
    assert_eq!(names(chat(json!({"max_tokens": 5}))), ["max_tokens"]);
    assert_eq!(
        names(chat(json!({"max_tokens": 5, "max_completion_tokens": 6}))),
        ["max_completion_tokens", "max_tokens"]
    );
}

#[test]
fn what_has_no_bound_has_none() {
    let refused = |meter, body: Value| bounded(meter, "gpt-4o", &body).expect_err("no bound");
    assert!(matches!(refused(Meter::Responses, json!({"input": "x", "tools": [{"type": "mcp"}]})), NoBound::Part(_)));
    assert!(matches!(refused(Meter::Responses, json!({"input": "x", "background": true})), NoBound::Part(_)));
    assert_eq!(refused(Meter::Unbounded, json!({})), NoBound::Endpoint);
    assert_eq!(bounded(Meter::Speech, "gpt-4o-mini-tts", &json!({"input": "x"})), Err(NoBound::Speech));
}

#[test]
fn speech_recordings_and_images_have_their_own_units() {
    let spoken = of(Meter::Speech, "tts-1", &json!({"input": "héllo\u{1f600}"}));
    assert_eq!(spoken.bound.characters, 6);
    let made =
        of(Meter::Images, "gpt-image-1", &json!({"prompt": "x", "n": 2, "size": "1024x1024", "partial_images": 3}));
    assert_eq!(made.bound.images, [ImageCount { quality: "auto".into(), size: "1024x1024".into(), count: 2 }]);
    assert_eq!(made.bound.image_output_tokens, 600);
    let recording = Asked { audio_ms: 8_470, ..Asked::default() };
    let table = Table::shipped();
    let heard = |model: &str| {
        let prices = table.find(model).expect("listed");
        bound(Meter::Transcriptions, &recording, model, prices, &Known::default()).expect("bounded").bound
    };
    assert_eq!(heard("whisper-1").audio_ms, 9_000);
    let tokens = heard("gpt-4o-transcribe");
    assert!(tokens.audio_input_tokens >= 170 && tokens.text_output_tokens >= 2_000 && tokens.audio_ms == 0);
}

#[test]
fn a_tier_that_is_left_open_is_any_tier_and_a_named_one_is_it() {
    let tiers = |extra| of(Meter::Chat, "gpt-4o", &chat(extra)).bound.tiers;
    assert!(tiers(json!({})).contains(&Tier::Priority) && tiers(json!({"service_tier": "auto"})).len() > 1);
    assert_eq!(tiers(json!({"service_tier": "flex"})), [Tier::Flex]);
    assert!(tiers(json!({"service_tier": "unheard of"})).len() > 1);
}

/// Usage as an honest upstream would report it for a request.
fn usage(input: u64, output: u64, cached: u64) -> Value {
    json!({"service_tier": "default", "usage": {"prompt_tokens": input, "completion_tokens": output,
        "total_tokens": input + output, "prompt_tokens_details": {"cached_tokens": cached}}})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A token of text is at least a byte, and the upstream keeps to the cap: no bill is above the worst case.
    #[test]
    fn no_honest_bill_is_above_the_worst_case(
        texts in proptest::collection::vec(".{0,80}", 1..6),
        (cap, choices) in (1..5_000_u64, 1..4_u64),
        (input_part, output_part, cached_part) in (0..=1_000_u64, 0..=1_000_u64, 0..=1_000_u64),
        model in prop_oneof![Just("gpt-4o"), Just("gpt-5.4"), Just("gpt-4.1-nano"), Just("o3")],
    ) {
        let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let body = json!({"messages": messages, "max_completion_tokens": cap, "n": choices});
        let bounded = of(Meter::Chat, model, &body);
        let table = Table::shipped();
        let prices = table.find(model).expect("listed");
        // As many tokens as bytes, and what the published count adds for messages and the reply.
        let most: u64 = texts.iter().map(|text| text.len() as u64 + 4).sum::<u64>() + 3;
        let (input, output) = (most * input_part / 1_000, cap * choices * output_part / 1_000);
        let answer = usage(input, output, input * cached_part / 1_000);
        let used = usage::of_answer(Meter::Chat, answer.to_string().as_bytes(), Unit::WebSearchMedium);
        let bill = prices.bill(Tier::Standard, None, &used.quantities);
        prop_assert!(bill.unpriced.is_empty());
        prop_assert!(bill.total <= prices.worst(&bounded.bound).expect("priced"));
        prop_assert_eq!(used.quantities.input_tokens(), input);
        prop_assert_ne!(used.quantities == Quantities::default(), input + output > 0);
    }
}
