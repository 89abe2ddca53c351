//! The tokenizer as training uses it: rows in, pieces out.
//!
//! `tokenise VOCAB [--normalise] < rows.jsonl > rows.bin`. Each row `{"text", …}` becomes, little-endian: u32 count, then
//! `count` times u32 id, u32 start, u32 end (bytes of the text that was read).
//! With `--normalise`, each text is put into its plain form first, and a row whose plain form is the text itself becomes
//! a count of 0xffff_ffff and nothing else.

use std::io::{BufRead, BufWriter, Write};

use injection::tokenise::Vocabulary;

/// Pieces of one text that training looks at.
const LIMIT: usize = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let vocabulary =
        Vocabulary::parse(&std::fs::read_to_string(arguments.next().ok_or("tokenise VOCAB [--normalise]")?)?);
    let normalise = arguments.next().as_deref() == Some("--normalise");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut pieces = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let row: serde_json::Value = serde_json::from_str(&line?)?;
        let text = row["text"].as_str().ok_or("a row without text")?;
        pieces.clear();
        if normalise {
            let plain = normalise::normalise(text);
            if plain.text == text {
                out.write_all(&u32::MAX.to_le_bytes())?;
                continue;
            }
            vocabulary.tokenise(&plain.text, LIMIT, &mut pieces);
        } else {
            vocabulary.tokenise(text, LIMIT, &mut pieces);
        }
        out.write_all(&u32::try_from(pieces.len())?.to_le_bytes())?;
        for piece in &pieces {
            for number in [piece.id, piece.start, piece.end] {
                out.write_all(&number.to_le_bytes())?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
