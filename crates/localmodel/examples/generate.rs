//! Answers a question with the embedded model and measures it: tokens a second and peak memory.
//!
//! ```text
//! cargo run --release -p localmodel --example generate -- MODEL_FILE [THREADS] [QUESTION]
//! ```
//!
//! The numbers of docs/decisions/0002-local-model-runtime.md come from here, under `taskset -c 0,1`.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures_core::Stream;
use localmodel::{Answer, Endpoint, LocalModel, Options};
use serde_json::{Value, json};

/// Tokens that are generated to measure decoding.
const DECODE_TOKENS: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: generate MODEL_FILE [THREADS] [QUESTION]")?;
    let mut options = Options::default();
    if let Some(threads) = arguments.next() {
        options.threads = threads.parse()?;
    }
    let question = arguments.next().unwrap_or_else(|| "Why is the sky blue?".into());

    let began = Instant::now();
    let model = LocalModel::load(Path::new(&path), options.clone())?;
    println!(
        "load     {:6.2} s, {} kernels, {} threads",
        began.elapsed().as_secs_f64(),
        model.kernels(),
        options.threads
    );
    show_answer(&model, &question).await?;

    for words in [200, 1500] {
        let prompt = "word and ".repeat(words / 2);
        let (answer, seconds) = timed(&model, &prompt, 1, false).await?;
        let tokens = answer["usage"]["prompt_tokens"].as_f64().context("usage")?;
        println!("prefill  {:6.0} tokens/s ({tokens} tokens)", tokens / seconds);
    }
    let (_, first) = timed(&model, &question, 1, true).await?;
    let (answer, all) = timed(&model, &question, DECODE_TOKENS, true).await?;
    let tokens = answer["usage"]["completion_tokens"].as_f64().context("usage")?;
    println!("decode   {:6.1} tokens/s ({tokens} tokens)", (tokens - 1.0) / (all - first));

    let began = Instant::now();
    let (a, b) = tokio::join!(
        timed(&model, &question, DECODE_TOKENS, true),
        timed(&model, "Count from one to a hundred.", DECODE_TOKENS, true)
    );
    let tokens = [a?.0, b?.0].iter().filter_map(|answer| answer["usage"]["completion_tokens"].as_f64()).sum::<f64>();
    println!("two      {:6.1} tokens/s together", tokens / began.elapsed().as_secs_f64());
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        println!("memory   {peak}");
    }
    Ok(())
}

/// One answer, and the seconds it took. Greedy; `endless` bans the tokens that would end it.
async fn timed(model: &LocalModel, prompt: &str, tokens: usize, endless: bool) -> anyhow::Result<(Value, f64)> {
    let mut body = json!({
        "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0,
    });
    if endless {
        body["logit_bias"] = json!({"0": -100, "2": -100});
    }
    let began = Instant::now();
    match model.answer(Endpoint::ChatCompletions, body.to_string().into()).await {
        Ok(Answer::Json(json)) => Ok((serde_json::from_slice(&json)?, began.elapsed().as_secs_f64())),
        Ok(Answer::Events(_)) => Err(anyhow!("a stream, which was not asked for")),
        Err(refusal) => Err(anyhow!(refusal.message)),
    }
}

/// Prints an answer as it comes.
async fn show_answer(model: &LocalModel, question: &str) -> anyhow::Result<()> {
    let body = json!({"messages": [{"role": "user", "content": question}], "stream": true, "temperature": 0, "max_tokens": 80});
    let answer = model.answer(Endpoint::ChatCompletions, body.to_string().into()).await;
    let Answer::Events(mut events) = answer.map_err(|refusal| anyhow!(refusal.message))? else {
        return Err(anyhow!("no stream, which was asked for"));
    };
    while let Some(event) = next(&mut events).await {
        for line in event.split(|byte| *byte == b'\n') {
            let chunk: Value =
                line.strip_prefix(b"data: ").and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
            print!("{}", chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    println!("\n");
    Ok(())
}

async fn next(events: &mut (impl Stream<Item = Bytes> + Unpin)) -> Option<Bytes> {
    poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await
}
