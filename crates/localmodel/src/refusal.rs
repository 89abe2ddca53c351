//! How the model says no, in the API's terms; the gate turns it into its own refusal.

/// A request that the model does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRefusal {
    /// HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: Option<&'static str>,
    /// `error.param`: the field of the body that is meant.
    pub param: Option<String>,
    /// `error.message`: public words.
    pub message: String,
    /// When to try again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl LocalRefusal {
    /// A 400 about one field.
    pub(crate) fn request(code: &'static str, param: impl Into<String>, message: impl Into<String>) -> LocalRefusal {
        LocalRefusal {
            status: 400,
            kind: "invalid_request_error",
            code: Some(code),
            param: Some(param.into()),
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// A value of the wrong JSON type.
    pub(crate) fn wrong_type(param: &str, wanted: &str) -> LocalRefusal {
        let message = format!("Invalid type for '{param}': expected {wanted}.");
        LocalRefusal::request("invalid_type", param, message)
    }

    /// A value of the right type that is out of range or unknown.
    pub(crate) fn wrong_value(param: &str, wanted: &str) -> LocalRefusal {
        let message = format!("Invalid value for '{param}': expected {wanted}.");
        LocalRefusal::request("invalid_value", param, message)
    }

    /// A parameter that this model does not take.
    pub(crate) fn unsupported(param: &str, why: &str) -> LocalRefusal {
        let message = format!("Unsupported parameter: '{param}' is not supported by the embedded demo model: {why}.");
        LocalRefusal::request("unsupported_parameter", param, message)
    }

    /// A prompt that leaves no room for an answer. Counting stops once that is certain, hence "at least".
    pub(crate) fn context(param: &str, context_tokens: usize, tokens: usize) -> LocalRefusal {
        let message = format!(
            "This model's maximum context length is {context_tokens} tokens. However, your input resulted in at \
             least {tokens} tokens. Please reduce its length."
        );
        LocalRefusal::request("context_length_exceeded", param, message)
    }

    /// The queue is full.
    pub(crate) fn busy(retry_after_ms: u64) -> LocalRefusal {
        LocalRefusal {
            status: 429,
            kind: "rate_limit_error",
            code: Some("local_model_queue_full"),
            param: None,
            message: format!("The embedded demo model is busy and its queue is full. Try again in {retry_after_ms}ms."),
            retry_after_ms: Some(retry_after_ms),
        }
    }

    /// The engine is gone: its thread ended. A defect, or the gate is stopping.
    pub(crate) fn unavailable() -> LocalRefusal {
        LocalRefusal {
            status: 503,
            kind: "service_unavailable_error",
            code: Some("local_model_unavailable"),
            param: None,
            message: "The embedded demo model has stopped.".into(),
            retry_after_ms: None,
        }
    }
}
