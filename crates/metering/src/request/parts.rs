//! The words and values that readers of requests share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::endpoint::Meter;

/// What an item of a conversation brings into the model's context.
pub(super) enum Item {
    /// What stands in the request.
    Here,
    /// Something that does not.
    Hidden,
    /// Nobody here knows.
    Unknown,
}

/// The API document's item types.
pub(super) fn item(word: &str) -> Item {
    match word {
        "message"
        | "function_call"
        | "function_call_output"
        | "custom_tool_call"
        | "custom_tool_call_output"
        | "reasoning"
        | "computer_call"
        | "computer_call_output"
        | "local_shell_call"
        | "local_shell_call_output"
        | "shell_call"
        | "shell_call_output"
        | "apply_patch_call"
        | "apply_patch_call_output"
        | "mcp_list_tools"
        | "mcp_approval_request"
        | "mcp_approval_response"
        | "mcp_call" => Item::Here,
        // Results that the model sees again stand upstream, or are sealed.
        "item_reference"
        | "compaction"
        | "web_search_call"
        | "file_search_call"
        | "code_interpreter_call"
        | "image_generation_call" => Item::Hidden,
        _ => Item::Unknown,
    }
}

/// Whether a member caps the output of an endpoint.
pub(super) fn is_cap(meter: Meter, member: &str) -> bool {
    match meter {
        Meter::Chat => matches!(member, "max_completion_tokens" | "max_tokens"),
        Meter::Responses => member == "max_output_tokens",
        Meter::Completions => member == "max_tokens",
        _ => false,
    }
}

/// The API document's parts of messages and of tools' outputs. What is in them is seen elsewhere: pictures, sound and
/// files by their members, text as bytes.
pub(super) fn is_part(word: &str) -> bool {
    matches!(
        word,
        "text"
            | "refusal"
            | "image_url"
            | "input_audio"
            | "file"
            | "input_text"
            | "output_text"
            | "input_image"
            | "input_file"
            | "summary_text"
            | "reasoning_text"
            | "computer_screenshot"
            | "logs"
            | "image"
            | "url_citation"
            | "file_citation"
            | "container_file_citation"
            | "file_path"
            | "exit"
            | "timeout"
    )
}

/// What a tool can cost beside the tokens of its description.
pub(super) enum Tool {
    /// It runs at the caller's.
    Local,
    WebSearch,
    FileSearch,
    CodeInterpreter,
    /// It runs upstream, and nobody can say how often or at what price.
    Unbounded,
}

/// The API document's tool types. MCP servers are called as often as the model likes (`max_tool_calls` counts built-in
/// tools), images are made at another model's price.
pub(super) fn tool(word: &str) -> Tool {
    match word {
        "function"
        | "custom"
        | "local_shell"
        | "computer"
        | "computer_use"
        | "computer_use_preview"
        | "apply_patch"
        | "namespace" => Tool::Local,
        "web_search" | "web_search_preview" => Tool::WebSearch,
        "file_search" => Tool::FileSearch,
        "code_interpreter" => Tool::CodeInterpreter,
        // Dated names: `web_search_2025_08_26`, `web_search_preview_2025_03_11`.
        _ if word.starts_with("web_search_") => Tool::WebSearch,
        _ => Tool::Unbounded,
    }
}

/// A client's word, short enough for an error.
pub(super) fn shown(word: &str) -> String {
    word.chars().take(64).filter(|char| !char.is_control()).collect()
}

/// What stands between the quotes of the string that a text begins with.
pub(super) fn raw_string(ahead: &str) -> Option<&str> {
    let inside = ahead.strip_prefix('"')?;
    let bytes = inside.as_bytes();
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes[at] == b'"' {
            return Some(&inside[..at]);
        }
        // An escape: whatever it escapes is no end.
        from = at + 2;
    }
}

/// The string that a text begins with, its escapes resolved.
pub(super) fn string(ahead: &str) -> Option<String> {
    let raw = raw_string(ahead)?;
    if !raw.contains('\\') {
        return Some(raw.to_owned());
    }
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}

/// A number.
pub(super) enum Number {
    /// A whole one that is not negative.
    Whole(u64),
    /// Any other.
    Other,
}

/// The number that a text begins with.
pub(super) fn number(ahead: &str) -> Number {
    let end = ahead.find(|char: char| !matches!(char, '0'..='9' | '.' | 'e' | 'E' | '+' | '-')).unwrap_or(ahead.len());
    ahead[..end].parse().map_or(Number::Other, Number::Whole)
}

/// How many inputs a JSON value holds: a list of numbers is one, in tokens; any other list holds one for each element.
pub(super) fn inputs(value: &str) -> u64 {
    let Some(inside) = value.trim_start().strip_prefix('[') else { return 1 };
    if inside.trim_start().starts_with(|char: char| char == '-' || char.is_ascii_digit()) {
        return 1;
    }
    // Whatever cannot be read has no more elements than bytes.
    serde_json::from_str(value).map_or(value.len(), |elements: Vec<serde::de::IgnoredAny>| elements.len()) as u64
}

/// The bytes of base64 in a JSON string (a slash may be escaped); none at all where it is not base64.
pub(super) fn base64(raw: &str) -> Vec<u8> {
    if raw.contains('\\') {
        return STANDARD.decode(raw.replace("\\/", "/")).unwrap_or_default();
    }
    STANDARD.decode(raw).unwrap_or_default()
}
