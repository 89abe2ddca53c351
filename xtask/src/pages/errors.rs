//! The page of refusals.

use wire::refusal::{Reason, Row};

use super::{table_head, table_row};

const INTRODUCTION: &str = r#"# Errors

What the gate answers when it says no, in the shape of the OpenAI API, so that the official SDKs raise the exception
that fits:

```json
{"error": {"message": "…", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}}
```

All four members are always there; `message` says what to mend, `param` names the field or header at fault. In a stream
that has begun the same words come as its last event: `data: {"error": {…}}`, for responses `event: error`. Errors of
the upstream are passed on as they are.

**Retried**: whether the official SDKs try again by themselves. *No, said so*: the answer has `x-should-retry: false`,
because the status alone would make them. Where waiting helps, `retry-after` and `retry-after-ms` say how long.

"#;

/// The page's text.
pub(super) fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    text += &table_head(&["Status", "Type", "Code", "Retried", "Meaning"]);
    for reason in Reason::ALL {
        let row = reason.row();
        let code = row.code.map_or_else(|| "`null`".to_owned(), |code| format!("`{code}`"));
        text +=
            &table_row(&[&row.status.to_string(), &format!("`{}`", row.kind), &code, retried(row), reason.meaning()]);
    }
    text + "\nThe embedded model has finer codes for `invalid_value`, which its messages explain.\n"
}

fn retried(row: Row) -> &'static str {
    match (row.should_retry, row.status) {
        (Some(true), _) | (None, 408 | 409 | 429 | 500..) => "yes",
        (Some(false), _) => "no, said so",
        (None, _) => "no",
    }
}
