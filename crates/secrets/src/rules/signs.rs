//! Signs that a key is, or will be, in what every visitor downloads.

use super::DOCUMENTED;
use crate::checks;
use crate::rule::{Class, Rule, Severity};

const SERVER_SIDE: &str =
    "keep the key on the server: let the page ask your own server, or hand it a client secret of the gate";

pub(super) static RULES: &[Rule] = &[
    Rule::new(
        "inlined_secret_variable",
        "secret in a variable that the build writes into the bundle",
        &["NEXT_PUBLIC_", "VITE_", "REACT_APP_", "EXPO_PUBLIC_", "NUXT_PUBLIC_", "PUBLIC_", "GATSBY_", "VUE_APP_"],
        concat!(
            r"(?:NEXT_PUBLIC|VITE|REACT_APP|EXPO_PUBLIC|NUXT_PUBLIC|PUBLIC|GATSBY|VUE_APP)_[A-Z0-9_]{3,64}",
            r#"(?:["'`]?\]?[ \t]{0,8}(?::|=)[ \t]{0,8}["'`]?[A-Za-z0-9_./+-]{1,200})?"#,
        ),
    )
    .class(Class::Sign)
    .severity(Severity::Medium)
    .bytes_max(400)
    .check(checks::inlined)
    .mend(SERVER_SIDE)
    .source("the frameworks' documentation of variables that are public"),
    Rule::new(
        "browser_client",
        "OpenAI client that may run in a browser",
        &["dangerouslyAllowBrowser"],
        r#"dangerouslyAllowBrowser["']?[ \t\r\n]{0,8}[:=][ \t\r\n]{0,8}(?:true|!0)(?:[ \t\r\n]{0,8}\}\)?;?(?:\\n|[ \r\n]){0,8}https://help\.openai)?"#,
    )
    .class(Class::Sign)
    .severity(Severity::Medium)
    .glued_behind()
    .check(checks::browser_switch)
    .mend(SERVER_SIDE)
    .source(DOCUMENTED),
    Rule::new(
        "direct_browser_call",
        "call of the OpenAI API from client code",
        &["api.openai.com"],
        r"api\.openai\.com[^\x00]{1,400}",
    )
    .class(Class::DirectCall)
    .severity(Severity::Medium)
    .glued_on_either_side()
    .bytes_max(420)
    .check(checks::direct_call)
    .mend(SERVER_SIDE)
    .source(DOCUMENTED),
];
