use pricing::Tier;
use proptest::prelude::*;
use store::{CostLine, KeyId, ProjectId, UsageKind};

use super::*;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        // Names under a keyed hash and request ids, whole and broken.
        "[0-9a-f]{32}",
        "req_[0-9a-f]{32}",
        "(req_)?[0-9a-fA-F]{0,5}",
        "\\PC{0,12}",
        Just(String::new()),
        Just("req_".to_owned()),
    ]
}

/// Mostly small, sometimes anything.
fn figure() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..10_000_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn quantities() -> impl Strategy<Value = Quantities> {
    let image = (word(), word(), figure()).prop_map(|(quality, size, count)| ImageCount { quality, size, count });
    let units = prop::collection::vec((0..Unit::COUNT, figure()), 0..5);
    (units, prop::collection::vec(image, 0..3)).prop_map(|(units, images)| {
        let mut quantities = Quantities::default();
        quantities.images = images;
        units.into_iter().for_each(|(unit, quantity)| quantities.set(Unit::ALL[unit], quantity));
        quantities
    })
}

fn row() -> impl Strategy<Value = (UsageRow, i64, Vec<i64>)> {
    let name = || prop::option::of(word());
    let at = || prop_oneof![4 => 1_795_000_000..1_796_000_000_i64, 1 => any::<i64>()];
    let lines = prop::collection::vec((any::<i64>(), figure(), figure()), 0..4);
    let certainty = prop::sample::select(vec![Certainty::Settled, Certainty::Estimated, Certainty::Unpriced]);
    let words = (word(), name(), name(), name());
    let all = (words, any::<i64>(), at(), at(), figure(), quantities(), lines, prop::option::of(figure()), certainty);
    all.prop_map(
        |((id, end_user, run, tag), series, began_at, settled_at, images, quantities, lines, cost, certainty)| {
            let items = lines.iter().map(|(item, ..)| *item).collect();
            let line = |(item, quantity, amount): &(i64, u64, u64)| CostLine {
                item: item.to_string(),
                quantity: *quantity,
                amount: Nano(*amount),
            };
            let lines: Vec<_> = lines.iter().map(line).collect();
            let cost = cost.map_or_else(|| lines.iter().map(|line| line.amount).sum(), Nano);
            let row = UsageRow {
                id,
                began_at,
                settled_at,
                project: ProjectId::new("proj_a"),
                key: KeyId::new("key_a"),
                end_user,
                run,
                tag,
                kind: UsageKind::Completions,
                endpoint: "/v1/responses",
                model: "m".into(),
                tier: Tier::Standard,
                images,
                quantities,
                cost,
                lines,
                certainty,
            };
            (row, series, items)
        },
    )
}

fn blob(rows: &[(UsageRow, i64, Vec<i64>)]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(rows.len());
    rows.iter().for_each(|(row, series, items)| writer.push(row, *series, items));
    assert_eq!(writer.count(), rows.len() as u64);
    writer.finish()
}

fn expected((row, series, items): &(UsageRow, i64, Vec<i64>)) -> Journaled {
    let line = |(line, item): (&CostLine, &i64)| Line { item: *item, quantity: line.quantity, amount: line.amount };
    let lines = row.lines.iter().zip(items).map(line).collect();
    Journaled::of(row.clone(), *series, lines)
}

proptest! {
    /// Whatever is written is read back.
    #[test]
    fn rows_are_read_back(rows in prop::collection::vec(row(), 0..12)) {
        let found = read(&blob(&rows)).expect("readable");
        prop_assert_eq!(found, rows.iter().map(expected).collect::<Vec<_>>());
    }

    /// A blob that was cut or is followed by anything is an error; one with other bytes in it is an error or other rows.
    #[test]
    fn damage_is_an_error(
        rows in prop::collection::vec(row(), 1..4),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut blob = blob(&rows);
        let place = place.index(blob.len());
        prop_assert!(read(&blob[..place]).is_err());
        blob.push(byte);
        prop_assert!(read(&blob).is_err());
        blob.pop();
        blob[place] = byte;
        if let Ok(other) = read(&blob) {
            prop_assert!(other.len() <= blob.len());
        }
    }

    /// Any bytes at all are rows or an error.
    #[test]
    fn nonsense_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        bytes.insert(0, VERSION);
        let _ = read(&bytes);
    }

    /// Two words are packed to the same bytes only if they are the same.
    #[test]
    fn packed_words_are_unique(word in word()) {
        let mut bytes = Vec::new();
        push_word(&mut bytes, &word);
        prop_assert_eq!(Reader { blob: &bytes, at: 0 }.word().expect("readable"), word);
    }
}

/// What is stored stays readable: bytes of version 1, as they are today.
#[test]
fn version_one_stays_as_it_is() {
    let mut quantities = Quantities::default();
    quantities.set(Unit::TextInput, 300);
    quantities.set(Unit::TextOutput, 2);
    let row = UsageRow {
        id: "req_00ff".into(),
        began_at: 100,
        settled_at: 103,
        project: ProjectId::new("proj_a"),
        key: KeyId::new("key_a"),
        end_user: Some("beef".into()),
        run: None,
        tag: Some("a tag".into()),
        kind: UsageKind::Completions,
        endpoint: "/v1/responses",
        model: "m".into(),
        tier: Tier::Standard,
        images: 0,
        quantities,
        cost: Nano(602),
        lines: vec![
            CostLine { item: "m, text_input".into(), quantity: 300, amount: Nano(600) },
            CostLine { item: "m, text_output".into(), quantity: 2, amount: Nano(2) },
        ],
        certainty: Certainty::Settled,
    };
    let given = (row, 5, vec![7, 8]);
    let bytes = blob(std::slice::from_ref(&given));
    let known = "01c80101050a00ff0a000609beef146120746167\
                 11ac0202020eac02d8041002 02"
        .replace(' ', "");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, known);
    assert_eq!(read(&bytes), Ok(vec![expected(&given)]));
}

/// A count that promises more than there is takes no memory and is an error.
#[test]
fn a_count_is_not_believed() {
    for huge in [u64::MAX, 1 << 40] {
        let mut bytes = vec![VERSION, 0];
        push_integer(&mut bytes, huge);
        assert!(read(&bytes).is_err());
        let mut word = Vec::new();
        push_integer(&mut word, huge << 2);
        assert!(Reader { blob: &word, at: 0 }.word().is_err());
    }
    assert!(read(&[]).is_err());
    assert!(read(&[VERSION + 1, 0, 0]).is_err(), "a version that is not known yet");
}
