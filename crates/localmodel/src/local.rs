//! The public face: load the model once, then ask it from any task.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, Receiver};

use crate::answer::{Answer, EventStream, Identity, Render, whole};
use crate::chat::ChatRequest;
use crate::forward::Engine;
use crate::gguf::{GgufError, Reader};
use crate::kernels::Level;
use crate::refusal::LocalRefusal;
use crate::responses::ResponsesRequest;
use crate::scheduler::{Queue, start};
use crate::sequence::{Generation, Job, Language, Progress};
use crate::template::Template;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;
use crate::{MODEL_ID, MODEL_SHA256};

/// Messages on the way to a consumer before its sequence is passed over.
const PROGRESS_MAX: usize = 32;
/// Bytes that are read from the file at once.
const READ_BYTES: usize = 1 << 20;

/// How the model runs.
#[derive(Clone)]
pub struct Options {
    /// Threads that compute; 1 or more. More than the machine has cores makes it slower.
    pub threads: usize,
    /// Requests that may wait while two run.
    pub queue_max: usize,
    /// Tokens of prompt and answer together; at most the model's 8,192. Memory for two caches grows with it, by
    /// 46 kB a token.
    pub context_tokens_max: usize,
    /// The clock, in Unix seconds, for `created`.
    pub unix_time_s: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Random bits, for ids and for the seeds of requests that name none.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("threads", &self.threads)
            .field("queue_max", &self.queue_max)
            .field("context_tokens_max", &self.context_tokens_max)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    /// Two threads where there are two cores, sixteen waiting, 2,048 tokens, the system's clock.
    fn default() -> Options {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            threads: cores.min(2),
            queue_max: 16,
            context_tokens_max: crate::CONTEXT_TOKENS,
            unix_time_s: Arc::new(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since_epoch| since_epoch.as_secs())
            }),
            random: Arc::new(|| fastrand::u64(..)),
        }
    }
}

/// Why the model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or cannot be read.
    #[error("cannot read the model file `{}`; `python3 scripts/fetch_model.py DIR` fetches it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no model that can be used.
    #[error("the model file `{}` cannot be used ({reason}); `python3 scripts/fetch_model.py DIR` fetches the right one", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is another one than this build was made for, or was damaged.
    #[error("the model file `{}` has SHA-256 {found} instead of {expected}; `python3 scripts/fetch_model.py DIR` fetches the right one", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Its checksum.
        found: String,
        /// The one that it should have.
        expected: &'static str,
    },
    /// The system has no thread to give.
    #[error("cannot start the model's thread")]
    Thread(#[source] std::io::Error),
}

/// Which API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
}

/// The loaded model. Clones share it; its threads end with the last of them.
#[derive(Clone)]
pub struct LocalModel(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    language: Arc<Language>,
    options: Options,
    kernels: &'static str,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

impl std::fmt::Debug for LocalModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalModel").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl LocalModel {
    /// Reads the model file, checks it, and starts the engine. Blocks for some 0.3 seconds.
    ///
    /// # Errors
    /// [`LoadError`], with what to do about it.
    pub fn load(path: &Path, options: Options) -> Result<LocalModel, LoadError> {
        let (weights, language) = read(path, MODEL_SHA256, options.context_tokens_max)?;
        LocalModel::start(weights, language, options)
    }

    /// Starts the engine for weights that were read.
    pub(crate) fn start(weights: Weights, language: Language, options: Options) -> Result<LocalModel, LoadError> {
        let level = Level::detect();
        let engine = Engine::new(weights, level, language.context_tokens, options.threads);
        let (language, queue) = (Arc::new(language), Arc::new(Queue::new(options.queue_max)));
        start(engine, Arc::clone(&language), &queue).map_err(LoadError::Thread)?;
        Ok(LocalModel(Arc::new(Inner { queue, language, options, kernels: level.name() })))
    }

    /// The name under which the model serves.
    pub fn model_id(&self) -> &str {
        MODEL_ID
    }

    /// Which of its kernels this processor runs: `portable`, `avx2` or `avx512-vnni`.
    pub fn kernels(&self) -> &'static str {
        self.0.kernels
    }

    /// Answers a request. `body` is its JSON; `model` in it is not looked at, since the gate resolves names.
    ///
    /// Returns when the answer is there or, for a stream, when its generation begins. Dropping the future or the
    /// stream gives up the request, waiting or running.
    ///
    /// # Errors
    /// 400 for what the model does not take or what does not fit, 429 when the queue is full, 503 when the engine has
    /// stopped.
    pub async fn answer(&self, endpoint: Endpoint, body: Bytes) -> Result<Answer, LocalRefusal> {
        let (generation, stream, render) = self.understand(endpoint, &body)?;
        drop(body);
        let progress = self.submit(generation)?;
        if stream {
            return Ok(Answer::Events(EventStream::begin(progress, render).await?));
        }
        Ok(Answer::Json(whole(progress, render).await?))
    }

    /// What a body asks for, whether as a stream, and the shape of its answer.
    fn understand(&self, endpoint: Endpoint, body: &[u8]) -> Result<(Generation, bool, Box<dyn Render>), LocalRefusal> {
        let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| LocalRefusal {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: "The body of your request is not a JSON object.".into(),
            retry_after_ms: None,
        })?;
        let Options { random, unix_time_s, .. } = &self.0.options;
        let identity = Identity { id: format!("{:016x}{:016x}", random(), random()), created: unix_time_s() };
        let seed = random();
        Ok(match endpoint {
            Endpoint::ChatCompletions => {
                let request = ChatRequest::read(&body, seed, self.0.language.tokenizer.size())?;
                let stream = request.stream;
                let (generation, render) = request.split(identity);
                (generation, stream, Box::new(render))
            }
            Endpoint::Responses => {
                let request = ResponsesRequest::read(&body, seed)?;
                let stream = request.stream;
                let (generation, render) = request.split(identity);
                (generation, stream, Box::new(render))
            }
        })
    }

    fn submit(&self, generation: Generation) -> Result<Receiver<Progress>, LocalRefusal> {
        self.0.language.check_size(&generation)?;
        let (progress, receiver) = mpsc::channel(PROGRESS_MAX);
        self.0.queue.submit(Job { generation, progress })?;
        Ok(receiver)
    }
}

/// Reads and checks a model file whose SHA-256 is `expected`.
pub(crate) fn read(path: &Path, expected: &'static str, context_max: usize) -> Result<(Weights, Language), LoadError> {
    let explain = |error| match error {
        GgufError::Read(source) => LoadError::Read { path: path.into(), source },
        GgufError::Malformed(reason) => LoadError::Malformed { path: path.into(), reason },
    };
    let file = File::open(path).map_err(|source| explain(GgufError::Read(source)))?;
    let mut reader = Reader::open(BufReader::with_capacity(READ_BYTES, file)).map_err(explain)?;
    let tokenizer = Tokenizer::from_metadata(&reader.metadata).map_err(explain)?;
    let template = Template::from_metadata(&reader.metadata, &tokenizer).map_err(explain)?;
    let weights = Weights::read(&mut reader).map_err(explain)?;
    if tokenizer.size() != weights.shape.vocabulary {
        return Err(explain(GgufError::Malformed("its vocabulary and its weights differ in size".into())));
    }
    let found: String = reader.finish().map_err(explain)?.iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        return Err(LoadError::Checksum { path: path.into(), found, expected });
    }
    let context_tokens = context_max.min(weights.shape.context_tokens);
    Ok((weights, Language { tokenizer, template, context_tokens }))
}
