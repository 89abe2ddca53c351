//! The price table: models by name.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::model::UnitPrices;
use crate::{ModelPrices, Override, OverrideError, Pico, Unit, overrides, shipped};

/// Endings of a name that stand for whichever snapshot is current.
const MOVING_ENDINGS: [&str; 2] = ["-latest", "-preview"];

/// Days after which the shipped list is called old: the provider changes its list about every second month.
pub const OLD_DAYS: u64 = 60;

/// Prices of all models, under one version.
#[derive(Debug, Clone)]
pub struct Table {
    version: String,
    as_of: i64,
    missing: Vec<String>,
    /// Calls of hosted tools, where a model has no price of its own for them.
    tools: UnitPrices,
    /// By name.
    rows: Vec<Row>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Row {
    prices: ModelPrices,
    /// Prices a dated snapshot that is not listed: no snapshot that is listed is dearer.
    stands_for_dated: bool,
    /// Prices the name with `-latest` or `-preview` too: no other model's name begins with this one.
    stands_for_moving: bool,
}

impl Table {
    /// The table that is part of the program: third-party copies of the public price list, as of a day. A default, not
    /// the truth; overrides go before it.
    pub fn shipped() -> Arc<Table> {
        static SHIPPED: LazyLock<Arc<Table>> =
            LazyLock::new(|| Arc::new(shipped::table().expect("the shipped price list is whole: a test reads it")));
        SHIPPED.clone()
    }

    /// A table of these models, sorted and prepared.
    pub(crate) fn new(
        version: String,
        as_of: i64,
        missing: Vec<String>,
        tools: UnitPrices,
        mut models: Vec<ModelPrices>,
    ) -> Table {
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models.iter_mut().for_each(|model| model.prepare(&tools));
        let standing: Vec<_> = (0..models.len()).map(|at| stands_for(&models, at)).collect();
        let by_name = models.iter().enumerate().map(|(at, model)| (model.name.clone(), at)).collect();
        let rows = models
            .into_iter()
            .zip(standing)
            .map(|(prices, (stands_for_dated, stands_for_moving))| Row { prices, stands_for_dated, stands_for_moving })
            .collect();
        Table { version, as_of, missing, tools, rows, by_name }
    }

    /// What this table is called: the day of the list and a checksum, and a checksum of the overrides where there are
    /// any: `2026-11-23-5f0c7a11+0b2d91e4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// When the shipped list was taken, in seconds since 1970.
    pub fn as_of(&self) -> i64 {
        self.as_of
    }

    /// Whole days since then; 0 for a clock that is behind it.
    pub fn age_days(&self, now: i64) -> u64 {
        u64::try_from(now.saturating_sub(self.as_of) / 86_400).unwrap_or(0)
    }

    /// What the shipped list is known to leave out, in words.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The prices of a model: its own row, or the one of its family where that is beyond doubt. Allocates nothing.
    ///
    /// A dated snapshot (`-YYYY-MM-DD`, `-MMDD`) takes its family's prices, unless a listed snapshot of the family is
    /// dearer; `-latest` and `-preview` likewise, unless other models' names begin with the family's. A fine-tuned
    /// model `ft:BASE:org:suffix:id` takes the row `ft:BASE` or that one's family, never the base model's.
    pub fn find(&self, model: &str) -> Option<&ModelPrices> {
        if let Some(row) = self.row(model) {
            return Some(&row.prices);
        }
        let listed = without_owner(model)?;
        if listed.len() < model.len()
            && let Some(row) = self.row(listed)
        {
            return Some(&row.prices);
        }
        let row = match without_date(listed) {
            Some(family) => self.row(family).filter(|row| row.stands_for_dated),
            None => self.row(without_moving_ending(listed)?).filter(|row| row.stands_for_moving),
        };
        row.map(|row| &row.prices)
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.by_name.get(name).map(|at| &self.rows[*at])
    }

    /// All models, by name.
    pub fn models(&self) -> impl ExactSizeIterator<Item = &ModelPrices> {
        self.rows.iter().map(|row| &row.prices)
    }

    /// What a call of a hosted tool costs where the model has no price of its own for it.
    pub fn tool_price(&self, unit: Unit) -> Option<Pico> {
        self.tools[unit as usize].filter(|_| unit.is_call())
    }

    /// This table with the operator's prices before its own, in their order.
    ///
    /// # Errors
    /// When an override makes no sense; the error names model, field and mend.
    pub fn with(&self, given: &[Override]) -> Result<Table, OverrideError> {
        if given.is_empty() {
            return Ok(self.clone());
        }
        let mut tools = self.tools;
        let models = overrides::applied(self, &mut tools, given)?;
        let checksum = crc32fast::hash(format!("{given:?}").as_bytes());
        let version = format!("{}+{checksum:08x}", self.version);
        Ok(Table::new(version, self.as_of, self.missing.clone(), tools, models))
    }
}

/// The family of a dated snapshot, by its name alone: `gpt-4o` of `gpt-4o-2024-08-06`. `None` for other names.
pub fn family(model: &str) -> Option<&str> {
    without_date(without_owner(model)?)
}

/// The name under which a fine-tuned model is listed, `ft:BASE`; another model's name as it is. `None` for `ft:` alone.
fn without_owner(model: &str) -> Option<&str> {
    let Some(tuned) = model.strip_prefix("ft:") else { return Some(model) };
    let base = tuned.split(':').next().filter(|base| !base.is_empty())?;
    Some(&model[.."ft:".len() + base.len()])
}

/// The name without the date of a snapshot.
fn without_date(name: &str) -> Option<&str> {
    let part = |text: &str, digits: usize, range: std::ops::RangeInclusive<u16>| {
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number| range.contains(&number))
    };
    let (rest, last) = name.rsplit_once('-')?;
    if last.len() == 4 && last.is_ascii() {
        return (part(&last[..2], 2, 1..=12) && part(&last[2..], 2, 1..=31)).then_some(rest);
    }
    let (rest, month) = rest.rsplit_once('-')?;
    let (family, year) = rest.rsplit_once('-')?;
    (part(year, 4, 2020..=2099) && part(month, 2, 1..=12) && part(last, 2, 1..=31)).then_some(family)
}

fn without_moving_ending(name: &str) -> Option<&str> {
    MOVING_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))
}

/// Whether the model stands for unlisted dated snapshots, and for its moving names.
fn stands_for(sorted: &[ModelPrices], at: usize) -> (bool, bool) {
    let family = &sorted[at];
    let (mut dated, mut moving) = (true, true);
    // In order of names all that begin with `family` follow it without a gap.
    for other in sorted[at + 1..].iter().take_while(|other| other.name.starts_with(&family.name)) {
        if !other.name[family.name.len()..].starts_with('-') {
            continue;
        }
        if without_date(&other.name) == Some(&family.name) {
            dated &= !is_dearer(other, family);
        } else {
            moving = false;
        }
    }
    (dated, dated && moving)
}

/// Whether anything that both have a price for costs more with `one` than with `other`.
fn is_dearer(one: &ModelPrices, other: &ModelPrices) -> bool {
    let dearer =
        |a: &UnitPrices, b: &UnitPrices| a.iter().zip(b).any(|pair| matches!(pair, (Some(a), Some(b)) if a > b));
    one.prepared.iter().any(|prices| {
        other
            .prepared
            .iter()
            .filter(|theirs| theirs.tier == prices.tier)
            .any(|theirs| dearer(&prices.short, &theirs.short) || dearer(&prices.long, &theirs.long))
    })
}
