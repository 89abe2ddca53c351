//! What reports mean, held against sums over the rows themselves.

use std::collections::BTreeMap;

use async_trait::async_trait;
use pricing::{ImageCount, Nano, Quantities, Tier, Unit};

use crate::records::{KeyId, ProjectId};
use crate::reports::{CostSum, Grouping, ReportFilter, ReportQuery, Reports, UsageSum, Width};
use crate::usage::{Certainty, CostLine, UsageKind, UsageRow};

/// How the suite writes rows: a ledger's batch without leases.
#[async_trait]
pub trait Rows: Send + Sync {
    /// Writes rows in one transaction.
    async fn write(&self, rows: &[UsageRow]);
}

/// 2026-11-24T00:00:00Z.
const DAY: i64 = 1_795_478_400;

pub(super) fn row(id: &str, cost: u64, began_at: i64) -> UsageRow {
    let mut quantities = Quantities::default();
    quantities.set(Unit::TextInput, 100);
    quantities.set(Unit::TextOutput, cost);
    UsageRow {
        id: id.into(),
        began_at,
        settled_at: began_at + 3,
        project: ProjectId::new("proj_a"),
        key: KeyId::new("key_a"),
        end_user: None,
        run: None,
        tag: None,
        kind: UsageKind::Completions,
        endpoint: "/v1/chat/completions",
        model: "gpt-5.4".into(),
        tier: Tier::Standard,
        images: 0,
        quantities,
        cost: Nano(cost),
        lines: vec![CostLine { item: "gpt-5.4, text_output".into(), quantity: cost, amount: Nano(cost) }],
        certainty: Certainty::Settled,
    }
}

fn is_counted(query: &ReportQuery, row: &UsageRow) -> bool {
    let ReportFilter { projects, keys, models, tiers, kinds } = &query.filter;
    (query.starts_at..query.ends_at).contains(&bucket(query, row))
        && (projects.is_empty() || projects.contains(&row.project))
        && (keys.is_empty() || keys.contains(&row.key))
        && (models.is_empty() || models.contains(&row.model))
        && (tiers.is_empty() || tiers.contains(&row.tier))
        && (kinds.is_empty() || kinds.contains(&row.kind))
}

fn bucket(query: &ReportQuery, row: &UsageRow) -> i64 {
    row.began_at.div_euclid(query.width.seconds()) * query.width.seconds()
}

/// What [`Reports::usage`] must answer when these rows were written, in an order of its own.
pub fn usage_of_rows(rows: &[UsageRow], query: &ReportQuery) -> Vec<UsageSum> {
    let by = |grouping| query.group_by.contains(&grouping);
    let mut sums: BTreeMap<String, UsageSum> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_counted(query, row)) {
        let empty = UsageSum {
            starts_at: bucket(query, row),
            project: by(Grouping::Project).then(|| row.project.clone()),
            key: by(Grouping::Key).then(|| row.key.clone()),
            model: by(Grouping::Model).then(|| row.model.clone()),
            tier: by(Grouping::Tier).then_some(row.tier),
            endpoint: by(Grouping::Endpoint).then(|| row.endpoint.to_owned()),
            requests: 0,
            images: 0,
            cost: Nano::ZERO,
            quantities: Quantities::default(),
        };
        let sum = sums.entry(format!("{empty:?}")).or_insert(empty);
        sum.requests += 1;
        sum.images += row.images;
        sum.cost = sum.cost.plus(row.cost);
        row.quantities.some().for_each(|(unit, quantity)| sum.quantities.add(unit, quantity));
    }
    sums.into_values().collect()
}

/// What [`Reports::costs`] must answer when these rows were written, in an order of its own.
pub fn costs_of_rows(rows: &[UsageRow], query: &ReportQuery) -> Vec<CostSum> {
    let by = |grouping| query.group_by.contains(&grouping);
    let mut sums: BTreeMap<String, CostSum> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_counted(query, row)) {
        let mut add = |item: Option<&str>, quantity: Option<u64>, amount: Nano| {
            let empty = CostSum {
                starts_at: bucket(query, row),
                project: by(Grouping::Project).then(|| row.project.clone()),
                key: by(Grouping::Key).then(|| row.key.clone()),
                item: item.map(str::to_owned),
                quantity: quantity.map(|_| 0),
                amount: Nano::ZERO,
            };
            let sum = sums.entry(format!("{empty:?}")).or_insert(empty);
            sum.amount = sum.amount.plus(amount);
            sum.quantity = sum.quantity.zip(quantity).map(|(one, more)| one + more);
        };
        if by(Grouping::Item) {
            row.lines.iter().for_each(|line| add(Some(&line.item), Some(line.quantity), line.amount));
        } else {
            add(None, None, row.cost);
        }
    }
    sums.into_values().collect()
}

/// Asks the store and the rows, and holds the answers against each other.
pub async fn reports_agree(store: &dyn Reports, rows: &[UsageRow], query: &ReportQuery) {
    let usage = store.usage(query).await.expect("readable");
    let costs = store.costs(query).await;
    let costs = match query.width == Width::Minute && query.group_by.contains(&Grouping::Item) {
        true => {
            assert!(costs.is_err(), "lines by the minute are in no sum: {query:?}");
            costs_of_rows(rows, query)
        }
        false => costs.expect("readable"),
    };
    assert!(usage.is_sorted_by_key(|sum| sum.starts_at), "in the order of buckets: {query:?}");
    assert!(costs.is_sorted_by_key(|sum| sum.starts_at), "in the order of buckets: {query:?}");
    assert_eq!(ordered(usage), ordered(usage_of_rows(rows, query)), "{query:?}");
    assert_eq!(ordered(costs), ordered(costs_of_rows(rows, query)), "{query:?}");
}

fn ordered<T: std::fmt::Debug>(mut sums: Vec<T>) -> Vec<T> {
    sums.sort_by_cached_key(|sum| format!("{sum:?}"));
    sums
}

fn days(group_by: &[Grouping]) -> ReportQuery {
    ReportQuery {
        starts_at: DAY - 86_400,
        ends_at: DAY + 2 * 86_400,
        width: Width::Day,
        filter: ReportFilter::default(),
        group_by: group_by.to_vec(),
    }
}

fn rows() -> Vec<UsageRow> {
    let mut images = Quantities::default();
    images.images = vec![ImageCount { quality: "hd".into(), size: "1024x1024".into(), count: 2 }];
    vec![
        row("req_1", 10, DAY - 1),
        row("req_2", 20, DAY),
        UsageRow { end_user: Some("u".into()), tier: Tier::Priority, ..row("req_3", 30, DAY + 59) },
        UsageRow { key: KeyId::new("key_a2"), model: "gpt-5.4-nano".into(), ..row("req_4", 40, DAY + 60) },
        UsageRow {
            project: ProjectId::new("proj_b"),
            key: KeyId::new("key_b"),
            kind: UsageKind::Images,
            endpoint: "/v1/images/generations",
            model: "dall-e-3".into(),
            images: 2,
            quantities: images,
            lines: vec![
                CostLine { item: "dall-e-3, image 1024x1024 hd".into(), quantity: 2, amount: Nano(40) },
                CostLine { item: "dall-e-3, text_input".into(), quantity: 5, amount: Nano(10) },
            ],
            run: Some("r".into()),
            tag: Some("t".into()),
            certainty: Certainty::Unpriced,
            ..row("req_5", 50, DAY + 3_600)
        },
        UsageRow { cost: Nano::ZERO, lines: Vec::new(), ..row("req_6", 0, DAY + 86_400) },
    ]
}

/// Reports by every width, grouping and filter are the sums of the rows, each row counted once.
pub async fn reports_are_the_sums_of_the_rows(store: &dyn Reports, behind: &dyn Rows) {
    let rows = rows();
    assert_eq!(store.usage(&days(&[])).await.expect("readable"), []);
    behind.write(&rows[..4]).await;
    behind.write(&rows[2..]).await;
    behind.write(&[UsageRow { cost: Nano(1), ..rows[0].clone() }, rows[0].clone()]).await;
    let all = [Grouping::Project, Grouping::Key, Grouping::Model, Grouping::Tier, Grouping::Endpoint, Grouping::Item];
    let groupings: Vec<&[Grouping]> = all.iter().map(std::slice::from_ref).chain([&[][..], &all[..]]).collect();
    let filters = [
        ReportFilter::default(),
        ReportFilter { projects: vec![ProjectId::new("proj_b"), ProjectId::new("proj_none")], ..Default::default() },
        ReportFilter { keys: vec![KeyId::new("key_a2"), KeyId::new("key_b")], ..Default::default() },
        ReportFilter {
            keys: vec![KeyId::new("key_b")],
            projects: vec![ProjectId::new("proj_a")],
            ..Default::default()
        },
        ReportFilter { models: vec!["gpt-5.4".into()], ..Default::default() },
        ReportFilter { tiers: vec![Tier::Priority], ..Default::default() },
        ReportFilter { kinds: vec![UsageKind::Images], ..Default::default() },
    ];
    for width in Width::ALL {
        for filter in &filters {
            for group_by in &groupings {
                let query = ReportQuery { width, filter: filter.clone(), ..days(group_by) };
                reports_agree(store, &rows, &query).await;
                reports_agree(store, &rows, &ReportQuery { starts_at: DAY, ends_at: DAY + 86_400, ..query }).await;
            }
        }
    }
}

/// A row that was written just now is read back as it was written.
pub async fn rows_read_back(store: &dyn Reports, behind: &dyn Rows) {
    let rows = rows();
    behind.write(&rows).await;
    for row in rows {
        assert_eq!(store.row(&row.id).await.expect("readable").as_ref(), Some(&row));
    }
    assert_eq!(store.row("req_none").await.expect("readable"), None);
}

/// An estimated row is lowered to what is known, once, and every sum with it; it is never raised.
pub async fn an_estimated_row_is_lowered_once(store: &dyn Reports, behind: &dyn Rows) {
    let estimated = |id: &str, began_at| UsageRow {
        certainty: Certainty::Estimated,
        lines: vec![
            CostLine { item: "gpt-5.4, text_input".into(), quantity: 0, amount: Nano(30) },
            CostLine { item: "gpt-5.4, text_output".into(), quantity: 0, amount: Nano(70) },
        ],
        ..row(id, 100, began_at)
    };
    let (one, other) = (estimated("req_1", DAY), estimated("req_2", DAY + 60));
    behind.write(&[one.clone(), row("req_0", 5, DAY), other.clone()]).await;
    let ids = async |before: Option<&str>, at_most| {
        let rows = store.estimated_rows(before, at_most).await.expect("readable");
        rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 10).await, ["req_2", "req_1"], "the newest first");
    assert_eq!(ids(None, 1).await, ["req_2"]);
    assert_eq!(ids(Some("req_2"), 10).await, ["req_1"]);
    for (id, to) in [("req_1", 101), ("req_0", 1), ("req_none", 0)] {
        assert!(!store.lower_row(id, Nano(to)).await.expect("written"), "{id} to {to}");
    }
    assert!(store.lower_row("req_1", Nano(20)).await.expect("written"));
    assert!(!store.lower_row("req_1", Nano(10)).await.expect("written"), "it is settled now");
    assert_eq!(ids(None, 10).await, ["req_2"]);
    let lowered = store.row("req_1").await.expect("readable").expect("there");
    assert_eq!((lowered.cost, lowered.certainty), (Nano(20), Certainty::Settled));
    assert_eq!(lowered.lines.iter().map(|line| line.amount).sum::<Nano>(), Nano(20));
    assert_eq!(lowered.quantities, one.quantities);
    // An amount that was right from the beginning is a fact, too.
    assert!(store.lower_row("req_2", Nano(100)).await.expect("written"));
    let rows = [lowered, row("req_0", 5, DAY), UsageRow { certainty: Certainty::Settled, ..other }];
    for width in Width::ALL {
        for group_by in [&[][..], &[Grouping::Item], &[Grouping::Project]] {
            reports_agree(store, &rows, &ReportQuery { width, ..days(group_by) }).await;
        }
    }
}
