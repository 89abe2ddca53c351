//! What the embedded transformer says of each row, before calibration: `logits < rows.jsonl > logits.jsonl`.
//!
//! Rows `{"text", "channel"}`; for each a line `{"forms": [[logit, windows], …], "linear": log-odds}`, one pair for the raw
//! text and one for its plain form where that says something else.

use std::io::{BufRead, BufWriter, Write};

use injection::{Budget, Channel, Detector};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let detector = Detector::embedded();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let row: serde_json::Value = serde_json::from_str(&line?)?;
        let channel = row["channel"].as_str().and_then(Channel::from_name).ok_or("a row without a known channel")?;
        let said =
            detector.uncalibrated(row["text"].as_str().ok_or("a row without text")?, channel, Budget { windows: 256 });
        writeln!(out, "{}", serde_json::json!({"forms": said.forms, "linear": said.linear}))?;
    }
    out.flush()?;
    Ok(())
}
