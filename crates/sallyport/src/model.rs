//! The embedded model behind the gateway's port, or the words why it is not there.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use gateway::{EmbeddedModel, Local, ModelAnswer, ModelEndpoint};
use localmodel::{LocalModel, LocalRefusal};
use wire::refusal::{Reason, Refusal};

/// Loads the model; what is wrong becomes the words of a 503.
pub(crate) fn load(path: &Path, threads: Option<usize>) -> Local {
    let mut options = localmodel::Options::default();
    if let Some(threads) = threads {
        options.threads = threads;
    }
    match LocalModel::load(path, options) {
        Ok(model) => Local::Ready(Box::new(Embedded(model))),
        Err(error) => Local::Missing(format!(
            "The embedded model is not available: {error}. Run `make model` (or `python3 scripts/fetch_model.py {}`), then \
             restart the gate.",
            path.parent().unwrap_or(Path::new(".")).display()
        )),
    }
}

struct Embedded(LocalModel);

impl EmbeddedModel for Embedded {
    fn answer(
        &self,
        endpoint: ModelEndpoint,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<ModelAnswer, Refusal>> + Send + '_>> {
        let endpoint = match endpoint {
            ModelEndpoint::ChatCompletions => localmodel::Endpoint::ChatCompletions,
            ModelEndpoint::Responses => localmodel::Endpoint::Responses,
        };
        Box::pin(async move {
            match self.0.answer(endpoint, body).await.map_err(refusal)? {
                localmodel::Answer::Json(json) => Ok(ModelAnswer::Json(json)),
                localmodel::Answer::Events(events) => Ok(ModelAnswer::Events(Box::pin(events))),
            }
        })
    }
}

/// Puts the model's refusal into the gate's table.
fn refusal(local: LocalRefusal) -> Refusal {
    let reason = match (local.status, local.code) {
        (429, _) => Reason::LocalModelBusy,
        (503, _) => Reason::LocalModelUnavailable,
        (500.., _) => Reason::Internal,
        (_, Some("context_length_exceeded")) => Reason::ContextLengthExceeded,
        (_, Some("unsupported_parameter")) => Reason::UnsupportedParameter,
        _ => Reason::InvalidValue,
    };
    let mut refusal = Refusal::new(reason, local.message);
    refusal.code = local.code;
    refusal.param = local.param.map(Into::into);
    refusal.retry_after_ms = local.retry_after_ms;
    refusal
}
