//! What is extracted from requests of each family, and what holds for any body.

mod endpoints;
mod families;
mod forms;
mod properties;

use wire::endpoint::{Endpoint, find};

use super::*;

/// The row of an operation.
fn row(path: &str) -> &'static Endpoint {
    find("POST", path).expect("a row").endpoint
}

/// What a body holds, a line each: texts first, in their order, then the rest.
fn lines(path: &str, body: &str) -> Vec<String> {
    let found = extract(row(path), body.as_bytes()).expect("JSON");
    let mut lines = Vec::new();
    for text in &found.texts {
        let (channel, place) = (text.channel.as_str(), text.place(body.as_bytes()));
        if text.form == Form::Plain {
            let literal: String = serde_json::from_str(&body[text.at.clone()]).expect("a string literal");
            assert_eq!(literal, text.text);
        }
        let form = if text.form == Form::Plain { String::new() } else { format!(" {:?}", text.form) };
        lines.push(format!("{channel} {:?}{form} {place}: {}", text.origin, text.text.replace('\n', "\\n")));
    }
    for unscanned in &found.unscanned {
        lines.push(format!("unscanned {} {}", unscanned.medium.as_str(), place(body.as_bytes(), unscanned.at.start)));
    }
    lines.extend(found.unseen.iter().map(|unseen| format!("unseen {}", unseen.as_str())));
    lines.extend(found.unknown_fields.iter().map(|field| format!("unknown {field}")));
    lines
}

/// Holds a body against the lines that are expected of it.
fn assert_lines(path: &str, body: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines(path, body), expected);
}
