//! How good the stage is on texts of sources that it was not trained on.

use std::collections::BTreeMap;

use injection::Channel;
use injection::linear::Weights;
use normalise::normalise;

use crate::rows::Row;

/// A text with what the stage said of it.
#[derive(Debug)]
pub(crate) struct Judged {
    attack: bool,
    channel: Channel,
    kind: String,
    source: String,
    score: f32,
    len: usize,
}

impl Judged {
    /// Judges a row in both forms.
    pub(crate) fn of(row: &Row, weights: &Weights<'_>) -> Judged {
        let plain = normalise(&row.text);
        let mut score = weights.score(&row.text, row.channel).log_odds;
        if plain.changes().is_material() {
            score = score.max(weights.score(&plain.text, row.channel).log_odds);
        }
        let (kind, source) = (row.kind.clone(), row.source.clone());
        Judged { attack: row.attack, channel: row.channel, kind, source, score, len: row.text.len() }
    }
}

/// Prints recall at false positives of 1, 5 and 20 per cent and the area under the curve: over all, by channel, by kind.
pub(crate) fn report(judged: &[Judged]) {
    let line = |name: &str, which: &dyn Fn(&Judged) -> bool| {
        let some: Vec<&Judged> = judged.iter().filter(|text| which(text)).collect();
        if let Some([one, five, twenty, area]) = figures(&some) {
            println!(
                "{name:28} {:6} recall at 1 % {one:.3}, 5 % {five:.3}, 20 % {twenty:.3}, area {area:.4}",
                some.len()
            );
        }
    };
    line("all", &|_| true);
    line("user", &|text| text.channel == Channel::User);
    line("untrusted", &|text| text.channel == Channel::Untrusted);
    line("hand-written", &|text| text.source.starts_with("authored") || text.source.starts_with("written"));
    line("hand-written, user", &|text| {
        (text.source.starts_with("authored") || text.source.starts_with("written")) && text.channel == Channel::User
    });
    line("up to 300 bytes", &|text| text.len <= 300);
    line("over 1,000 bytes", &|text| text.len > 1000);
    for kind in ["direct", "extraction", "jailbreak", "indirect"] {
        line(kind, &|text| text.kind == kind || !text.attack);
    }
    let mut sources: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for text in judged {
        let name = text.source.split('/').next().unwrap_or_default();
        sources.entry(name).or_default().push(text);
    }
    for (name, texts) in sources {
        if let Some([one, five, _, area]) = figures(&texts) {
            println!("  {name:26} {:6} recall at 1 % {one:.3}, 5 % {five:.3}, area {area:.4}", texts.len());
        }
    }
}

fn figures(texts: &[&Judged]) -> Option<[f64; 4]> {
    let mut harmless: Vec<f32> = texts.iter().filter(|text| !text.attack).map(|text| text.score).collect();
    let attacks: Vec<f32> = texts.iter().filter(|text| text.attack).map(|text| text.score).collect();
    if harmless.len() < 20 || attacks.len() < 20 {
        return None;
    }
    harmless.sort_by(|one, other| other.total_cmp(one));
    let recall = |share: f64| {
        let threshold = harmless[(harmless.len() as f64 * share) as usize];
        attacks.iter().filter(|score| **score > threshold).count() as f64 / attacks.len() as f64
    };
    let below = |score: f32| harmless.len() - harmless.partition_point(|other| *other >= score);
    let area = attacks.iter().map(|score| below(*score) as f64).sum::<f64>() / (attacks.len() * harmless.len()) as f64;
    Some([recall(0.01), recall(0.05), recall(0.2), area])
}

/// The log-odds below which this share of a channel's attacks lies; also says how many harmless texts that spares.
pub(crate) fn lost_below(judged: &[Judged], channel: Channel, share: f64) -> f32 {
    let mut attacks: Vec<f32> =
        judged.iter().filter(|text| text.attack && text.channel == channel).map(|text| text.score).collect();
    attacks.sort_by(f32::total_cmp);
    let low = attacks.get((attacks.len() as f64 * share) as usize).copied().unwrap_or(f32::MIN);
    let harmless: Vec<&Judged> = judged.iter().filter(|text| !text.attack && text.channel == channel).collect();
    let spared = harmless.iter().filter(|text| text.score < low).count() as f64 / harmless.len().max(1) as f64;
    println!("below {low:.3}: {share:.3} of the attacks and {spared:.3} of the harmless texts of the user");
    low
}

/// The log-odds above which at most this share of the harmless texts of each channel lies.
pub(crate) fn false_above(judged: &[Judged], share: f64) -> f32 {
    let mut high = f32::MIN;
    for channel in [Channel::User, Channel::Untrusted] {
        let mut harmless: Vec<f32> =
            judged.iter().filter(|text| !text.attack && text.channel == channel).map(|text| text.score).collect();
        harmless.sort_by(|one, other| other.total_cmp(one));
        high = high.max(harmless.get((harmless.len() as f64 * share) as usize).copied().unwrap_or(f32::MIN));
    }
    let attacks: Vec<&Judged> = judged.iter().filter(|text| text.attack).collect();
    let found = attacks.iter().filter(|text| text.score > high).count() as f64 / attacks.len().max(1) as f64;
    println!("above {high:.3}: {found:.3} of the attacks");
    high
}
