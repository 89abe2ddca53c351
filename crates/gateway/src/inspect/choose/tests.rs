use proptest::prelude::*;

use super::*;

const WHOLE: usize = 128;

fn extents(of: &[(usize, usize)]) -> Vec<Extent> {
    of.iter().map(|&(windows, pieces)| Extent { windows, pieces }).collect()
}

/// Texts of one length.
fn pages(windows: &[usize]) -> Vec<Extent> {
    extents(&windows.iter().map(|windows| (*windows, WHOLE)).collect::<Vec<_>>())
}

/// Shares windows among texts of which nothing was read before.
fn share(windows_max: usize, extents: &[Extent]) -> Vec<usize> {
    let new: Vec<_> = extents.iter().map(|extent| (*extent, 0)).collect();
    super::share(windows_max, &new)
}

/// Shares windows among pages, given as windows and how many of them were read before.
fn share_again(windows_max: usize, of: &[(usize, usize)]) -> Vec<usize> {
    let known: Vec<_> = of.iter().map(|&(windows, before)| (Extent { windows, pieces: WHOLE }, before)).collect();
    super::share(windows_max, &known)
}

#[test]
fn what_was_read_in_part_is_read_to_its_end_one_after_the_other() {
    let (mut texts, mut tries) = (vec![(35, 0); 4], 0);
    while texts.iter().any(|(windows, before)| before < windows) {
        // What was read whole does not come again.
        let left: Vec<usize> = (0..texts.len()).filter(|at| texts[*at].1 < texts[*at].0).collect();
        let shares = share_again(64, &left.iter().map(|at| texts[*at]).collect::<Vec<_>>());
        assert!(shares.iter().sum::<usize>() <= 64 && shares.iter().any(|share| *share > 0), "{texts:?}");
        left.iter().zip(&shares).for_each(|(at, share)| texts[*at].1 = texts[*at].1.max(*share));
        tries += 1;
    }
    assert_eq!(tries, 5, "sixteen of each, then one a try");
    assert_eq!(share_again(64, &[(35, 32)]), [35], "not twice as far, but whole");
    assert_eq!(share_again(64, &[(65, 40)]), [0], "too long to be read to its end");
    assert_eq!(share_again(64, &[(65, 32)]), [64]);
    assert_eq!(share_again(64, &[(64, 20), (40, 0)]), [0, 40], "what is new comes first");
    assert_eq!(share_again(64, &[(64, 10), (40, 0)]), [24, 40]);
}

#[test]
fn a_long_text_does_not_take_the_others_windows() {
    assert_eq!(share(64, &pages(&[1, 10_000, 2])), [1, 61, 2]);
    assert_eq!(share(64, &pages(&[100, 1, 100])), [31, 1, 32]);
    assert_eq!(share(2, &pages(&[9, 9, 9])), [1, 1, 0], "the first ones get what there is");
    assert_eq!(share(64, &[]), [0; 0]);
}

#[test]
fn short_texts_share_what_a_window_costs() {
    let short = extents(&[(1, 16); 600]);
    assert_eq!(share(64, &short), [vec![1; 512], vec![0; 88]].concat());
    assert_eq!(share(1, &extents(&[(1, 17), (1, 64), (3, WHOLE), (1, 32)])), [1, 1, 0, 1], "what fits follows");
    assert_eq!(share(2, &extents(&[(2, 60), (1, 20)])), [2, 1], "two forms of a short text");
}

#[test]
fn whoever_writes_in_one_channel_crowds_nobody_out_of_another() {
    for hidden in [Channel::Untrusted, Channel::System, Channel::User] {
        for flooded in [Channel::Untrusted, Channel::User, Channel::System] {
            let mut candidates = Candidates::new(8);
            candidates.add("attack", hidden, -9.0, false);
            (0..10_000).for_each(|_| candidates.add("flood", flooded, 9.0, false));
            assert_eq!(candidates.into_order()[..6].contains(&"attack"), hidden != flooded, "{hidden:?}, {flooded:?}");
        }
    }
}

#[test]
fn what_is_newest_or_suspected_most_is_read_whatever_else_there_is() {
    let mut candidates = Candidates::new(8);
    candidates.add("suspected", Channel::User, 2.0, false);
    (0..10_000).for_each(|_| candidates.add("flood", Channel::User, 1.0, false));
    candidates.add("newest", Channel::User, -9.0, false);
    assert_eq!(candidates.into_order()[..3], ["newest", "suspected", "flood"]);
}

#[test]
fn what_is_left_comes_when_the_others_are_remembered() {
    let mut candidates = Candidates::new(8);
    candidates.add(0, Channel::User, -9.0, false);
    (1..=100).for_each(|number| candidates.add(number, Channel::User, 9.0, false));
    let first = candidates.into_order();
    assert!(first.len() == 64 && !first.contains(&0));
    let mut candidates = Candidates::new(8);
    (0..=100).filter(|number| !first.contains(number)).for_each(|number| {
        candidates.add(number, Channel::User, if number == 0 { -9.0 } else { 9.0 }, false);
    });
    assert!(candidates.into_order().contains(&0));
}

#[test]
fn what_was_read_in_part_comes_behind_what_was_not_read_at_all() {
    let mut candidates = Candidates::new(8);
    candidates.add("again", Channel::Untrusted, 9.0, true);
    candidates.add("new", Channel::Untrusted, -9.0, false);
    candidates.add("again", Channel::User, 9.0, true);
    assert_eq!(candidates.into_order()[0], "new");
}

#[test]
fn of_a_hundred_thousand_texts_few_are_held() {
    let mut candidates = Candidates::new(64);
    for number in 0..100_000_usize {
        candidates.add(number, Channel::ALL[number % 4], (number * 7_919 % 1_009) as f32, number % 11 == 0);
        assert!(candidates.kept.len() < 2 * 64 * WINDOW_COST);
    }
    assert_eq!(Channel::ALL.map(|channel| candidates.came(channel)).iter().sum::<usize>(), 100_000);
    assert_eq!(candidates.into_order().len(), 64 * WINDOW_COST);
}

proptest! {
    #[test]
    fn letting_go_early_changes_nothing(
        most in 1..4_usize,
        texts in prop::collection::vec((prop::sample::select(&Channel::ALL[..3]), 0..6_u8, any::<bool>()), 0..200),
    ) {
        let (mut few, mut all) = (Candidates::new(most), Candidates::new(1_000));
        for (number, (channel, rank, was_read)) in texts.into_iter().enumerate() {
            few.add(number, channel, rank.into(), was_read);
            all.add(number, channel, rank.into(), was_read);
        }
        let (few, mut all) = (few.into_order(), all.into_order());
        all.truncate(most * WINDOW_COST);
        prop_assert_eq!(few, all);
    }

    #[test]
    fn windows_are_shared_to_the_last(
        windows in 1..200_usize,
        needs in prop::collection::vec(prop_oneof![(Just(1), 3..=WHOLE), (2..300_usize, Just(WHOLE))], 0..300),
    ) {
        let needs = extents(&needs);
        let shares = share(windows, &needs);
        let costs = |of: &[usize]| needs.iter().zip(of).map(|(need, windows)| cost_of(*need, *windows)).sum::<usize>();
        let (given, needed) = (costs(&shares), costs(&needs.iter().map(|need| need.windows).collect::<Vec<_>>()));
        let room = windows * WINDOW_COST;
        prop_assert!(shares.iter().zip(&needs).all(|(share, need)| *share <= need.windows));
        prop_assert!(given <= room);
        let has_all_begun = !shares.contains(&0);
        prop_assert!(!has_all_begun || given + WINDOW_COST > room.min(needed), "{} of {}", given, room.min(needed));
        prop_assert!(has_all_begun || given + WINDOW_COST > room, "{} of {}", given, room);
    }
}
