//! Rows of training files, and the windows that are made of them.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use injection::Channel;
use injection::linear::blocks;
use normalise::normalise;
use serde_json::Value;

/// Rows of one source and label that count in full; more of them share that weight, since templates are alike.
const SOURCE_CAP: f32 = 1200.0;
/// How much more a hand-written row counts.
const AUTHORED: f32 = 3.0;
/// Share of all weight that attacks have.
const ATTACK_SHARE: f32 = 0.4;
/// Contexts into which each payload and each harmless insertion is put, beside standing alone.
const COMPOSED: usize = 2;

/// One text of the training data.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) attack: bool,
    pub(crate) channel: Channel,
    pub(crate) kind: String,
    pub(crate) source: String,
    /// Where the inserted sentence sits, in bytes.
    pub(crate) span: Option<Range<usize>>,
    role: bool,
}

impl Row {
    /// A number that deals sources to folds.
    pub(crate) fn source_hash(&self) -> u64 {
        let hash = self
            .source
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        hash >> 17
    }

    fn is_authored(&self) -> bool {
        self.source.starts_with("authored") || self.source.starts_with("written")
    }
}

/// The rows of a file; a source that no row names is the file's.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<Row>> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text)?;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let rows = text.lines().filter(|line| !line.trim().is_empty()).map(|line| row(line, &stem));
    rows.collect::<Option<Vec<Row>>>().ok_or_else(|| std::io::Error::other("a line that is no row"))
}

fn row(line: &str, file: &str) -> Option<Row> {
    let value: Value = serde_json::from_str(line).ok()?;
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = word("text");
    let kind = word("kind");
    let source = match word("source") {
        source if source.is_empty() => format!("written-{file}"),
        source => source,
    };
    let channel = Channel::from_name(&word("channel")).unwrap_or_else(|| guessed(&kind, &source));
    let span = value.get("span").and_then(Value::as_array).and_then(|ends| {
        let byte = |at: usize| text.char_indices().map(|(byte, _)| byte).nth(at).unwrap_or(text.len());
        Some(byte(ends.first()?.as_u64()? as usize)..byte(ends.get(1)?.as_u64()? as usize))
    });
    let attack = value.get("label").and_then(Value::as_u64)? == 1;
    Some(Row { attack, channel, kind, source, span, role: value.get("role").is_some(), text })
}

/// The channel of a row that names none.
fn guessed(kind: &str, source: &str) -> Channel {
    const DOCUMENTS: [&str; 7] =
        ["clean", "compose", "xquad-paragraph", "tau-bench-tool", "bfcl-tools", "own-email", "llmail"];
    if source.starts_with("system-prompts") || source.starts_with("tau-bench-policy") {
        Channel::System
    } else if kind == "indirect" || DOCUMENTS.iter().any(|start| source.starts_with(start)) {
        Channel::Untrusted
    } else {
        Channel::User
    }
}

/// The rows, and those that are made to stand inside documents also in clean ones.
pub(crate) fn composed(rows: Vec<Row>) -> Vec<Row> {
    let contexts: Vec<String> = rows
        .iter()
        .filter(|row| !row.attack && row.channel == Channel::Untrusted && row.span.is_none() && row.text.len() > 300)
        .map(|row| row.text.clone())
        .collect();
    let mut random = fastrand::Rng::with_seed(6);
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        for _ in 0..COMPOSED {
            if !row.role || contexts.is_empty() {
                break;
            }
            let context = &contexts[random.usize(..contexts.len())];
            let gaps: Vec<usize> = context.match_indices(['\n', '.']).map(|(at, _)| at + 1).collect();
            let at = if gaps.is_empty() { context.len() } else { gaps[random.usize(..gaps.len())] };
            let text = format!("{} {}\n{}", &context[..at], row.text, &context[at..]);
            all.push(Row { span: Some(at + 1..at + 1 + row.text.len()), text, role: false, ..row.clone() });
        }
        all.push(row);
    }
    all
}

/// A window with its label and weight.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) text: String,
    pub(crate) attack: bool,
    pub(crate) untrusted: bool,
    pub(crate) weight: f32,
}

/// The windows of the rows, raw and plain, weighted so that no source and no long text rules.
pub(crate) fn examples(rows: &[&Row]) -> Vec<Example> {
    let mut counts: HashMap<(&str, bool), f32> = HashMap::new();
    for row in rows {
        *counts.entry((&row.source, row.attack)).or_default() += 1.0;
    }
    let mut examples = Vec::new();
    for row in rows {
        let cap = (SOURCE_CAP / counts[&(row.source.as_str(), row.attack)]).min(1.0);
        let weight = cap * if row.is_authored() { AUTHORED } else { 1.0 };
        windows(row, &row.text, &|range| range, weight, &mut examples);
        let plain = normalise(&row.text);
        if plain.changes().is_material() {
            windows(row, &plain.text, &|range| plain.origin(range), weight, &mut examples);
        }
    }
    let sum = |attack: bool| {
        examples.iter().filter(|example| example.attack == attack).map(|example| example.weight).sum::<f32>()
    };
    let (attacks, harmless) = (sum(true), sum(false));
    let total = examples.len() as f32;
    for example in &mut examples {
        example.weight *= if example.attack { ATTACK_SHARE / attacks } else { (1.0 - ATTACK_SHARE) / harmless } * total;
    }
    examples
}

fn windows(
    row: &Row,
    text: &str,
    origin: &dyn Fn(Range<usize>) -> Range<usize>,
    weight: f32,
    examples: &mut Vec<Example>,
) {
    let blocks: Vec<Range<usize>> = blocks(text).collect();
    let windows: Vec<Range<usize>> = match blocks.as_slice() {
        [one] => vec![one.clone()],
        many => many.windows(2).map(|two| two[0].start..two[1].end).collect(),
    };
    let weight = weight / (windows.len() as f32).sqrt();
    for range in windows {
        let attack = match &row.span {
            Some(span) if row.attack => {
                let here = origin(range.clone());
                let overlap = span.end.min(here.end).saturating_sub(span.start.max(here.start));
                // A window that shows a part only teaches nothing.
                match overlap * 10 / span.len().min(here.len()).max(1) {
                    0 => false,
                    7.. => true,
                    _ => continue,
                }
            }
            _ => row.attack,
        };
        let untrusted = row.channel == Channel::Untrusted;
        examples.push(Example { text: text[range].to_owned(), attack, untrusted, weight });
    }
}
