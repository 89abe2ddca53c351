//! A corpus that is made anew in each run, from a seed: secrets in every place that is known, and as many look-alikes.
//! Scored by row; every secret must be found, and nothing else.
//!
//! The second generation of each list was written after the first version of the engine, without looking at it.

mod hidden;
mod look_alikes;
mod others;
mod plain;

use std::fs;
use std::path::Path;

use crate::make::{openai, own};
use crate::tree;

/// Files of each row.
const EACH: usize = 12;

type Rng = fastrand::Rng;
/// A file's name and its bytes.
type File = (&'static str, Vec<u8>);

fn file(name: &'static str, text: impl Into<String>) -> File {
    (name, text.into().into_bytes())
}

fn each(key: &str, spell: impl Fn(u8) -> String, separator: &str) -> String {
    key.bytes().map(spell).collect::<Vec<_>>().join(separator)
}

fn cut(key: &str, size: usize, separator: &str) -> String {
    key.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect::<Vec<_>>().join(separator)
}

fn halves(key: &str) -> (&str, &str) {
    key.split_at(key.len() / 2)
}

type Row<I> = (&'static str, fn(I, &mut Rng) -> File);

struct Score {
    name: &'static str,
    right: usize,
    wrong: Vec<String>,
}

/// Writes files of a row, each in a folder of its own, and counts those with a finding.
fn score(name: &'static str, is_secret: bool, make: &mut dyn FnMut(&mut Rng) -> File) -> Score {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Rng::with_seed(name.bytes().map(u64::from).sum());
    for at in 0..EACH {
        let (file, bytes) = make(&mut rng);
        let place = folder.path().join(format!("{at}"));
        fs::create_dir(&place).unwrap();
        fs::write(place.join(file), bytes).unwrap();
    }
    let hits = tree(folder.path()).hits;
    let has_hit = |at: usize| {
        let place = format!("{}/", folder.path().join(format!("{at}")).display());
        hits.iter().find(|hit| hit.file.starts_with(&place))
    };
    let mut score = Score { name, right: 0, wrong: Vec::new() };
    for at in 0..EACH {
        match has_hit(at) {
            hit if hit.is_some() == is_secret => score.right += 1,
            Some(hit) => score.wrong.push(format!("{} {}", hit.rule.kind, hit.redacted)),
            None => score.wrong.push(read_back(folder.path(), at)),
        }
    }
    score
}

fn read_back(folder: &Path, at: usize) -> String {
    let entry = fs::read_dir(folder.join(format!("{at}"))).unwrap().next().unwrap().unwrap();
    let bytes = fs::read(entry.path()).unwrap();
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

fn keyed(rows: Vec<Row<&'static str>>, key: fn(&mut Rng) -> String) -> Vec<Score> {
    rows.into_iter()
        .map(|(name, place)| {
            score(name, true, &mut |rng| {
                let key = key(rng);
                // The rows borrow the key for as long as the test runs: a few kilobytes.
                place(Box::leak(key.into_boxed_str()), rng)
            })
        })
        .collect()
}

fn table(title: &str, scores: &[Score]) -> usize {
    let wrong: usize = scores.iter().map(|score| score.wrong.len()).sum();
    println!("{title}: {} of {} right", scores.len() * EACH - wrong, scores.len() * EACH);
    for score in scores {
        println!("  {:<36} {:>2} of {EACH}", score.name, score.right);
        score.wrong.iter().take(2).for_each(|wrong| println!("      wrong: {wrong}"));
    }
    wrong
}

#[test]
fn every_secret_and_nothing_else() {
    let missed = table("keys of the OpenAI API", &keyed(plain::plain(), openai))
        + table("keys of the gate", &keyed(plain::plain(), own))
        + table("hidden keys", &keyed(hidden::hidden(), openai))
        + table(
            "other credentials and signs",
            &others::others().into_iter().map(|(name, mut make)| score(name, true, &mut make)).collect::<Vec<_>>(),
        );
    let alarms = table(
        "look-alikes",
        &look_alikes::look_alikes()
            .into_iter()
            .map(|(name, mut make)| score(name, false, &mut make))
            .collect::<Vec<_>>(),
    );
    println!("missed: {missed}, false alarms: {alarms}");
    assert_eq!((missed, alarms), (0, 0));
}
