//! How good scores are: the measures of `--eval`, without I/O.
//!
//! Promises: the same numbers for the same scores, on every machine (the random draws of the intervals are seeded);
//! ties count half in the area under the curve, and never in favour of the detector elsewhere.

use std::ops::Range;

/// Rates of false positives at which recall is told.
pub(super) const RATES: [f64; 3] = [0.001, 0.01, 0.05];
/// Draws of the bootstrap; the 25th of each end bound a 95 % interval.
const DRAWS: usize = 1_000;
/// Seed of the draws.
const SEED: u64 = 6;

/// A judged row: its score, and whether it is an attack.
pub(super) type Scored = (f32, bool);

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What scores come to, where there are rows of both labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Curve {
    /// Area under the receiver operating characteristic.
    pub(super) auc: Estimate,
    /// Recall at each of [`RATES`].
    pub(super) recalls: [Estimate; RATES.len()],
    /// The scores above which rows are blocked at these rates.
    pub(super) above: [f32; RATES.len()],
}

/// Rows by label and verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Confusion {
    pub(super) blocked_attacks: usize,
    pub(super) passed_attacks: usize,
    pub(super) blocked_benign: usize,
    pub(super) passed_benign: usize,
}

impl Confusion {
    /// Of rows that are blocked or not, and are attacks or not.
    pub(super) fn of(rows: impl IntoIterator<Item = (bool, bool)>) -> Confusion {
        let mut confusion = Confusion::default();
        for (is_blocked, is_attack) in rows {
            *match (is_attack, is_blocked) {
                (true, true) => &mut confusion.blocked_attacks,
                (true, false) => &mut confusion.passed_attacks,
                (false, true) => &mut confusion.blocked_benign,
                (false, false) => &mut confusion.passed_benign,
            } += 1;
        }
        confusion
    }

    pub(super) fn attacks(&self) -> usize {
        self.blocked_attacks + self.passed_attacks
    }

    pub(super) fn benign(&self) -> usize {
        self.blocked_benign + self.passed_benign
    }

    /// Blocked attacks of all attacks.
    pub(super) fn recall(&self) -> Option<f64> {
        share(self.blocked_attacks, self.attacks())
    }

    /// Blocked benign rows of all benign rows.
    pub(super) fn false_positives(&self) -> Option<f64> {
        share(self.blocked_benign, self.benign())
    }

    /// Attacks of all blocked rows.
    pub(super) fn precision(&self) -> Option<f64> {
        share(self.blocked_attacks, self.blocked_attacks + self.blocked_benign)
    }
}

/// How well a finding shows where a payload is, both in characters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// Of the payload, the share that the finding covers.
    pub(super) covered: f64,
    /// Of the finding, the share that is payload.
    pub(super) right: f64,
}

impl Place {
    pub(super) fn of(found: &Range<usize>, payload: &Range<usize>) -> Place {
        let both = found.end.min(payload.end).saturating_sub(found.start.max(payload.start));
        let of = |whole: &Range<usize>| share(both, whole.len()).unwrap_or(0.0);
        Place { covered: of(payload), right: of(found) }
    }
}

/// Places of many rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Places {
    pub(super) rows: usize,
    /// Rows whose finding touches the payload.
    pub(super) touched: usize,
    /// Means over all rows.
    pub(super) covered: f64,
    pub(super) right: f64,
}

impl Places {
    pub(super) fn of(places: impl IntoIterator<Item = Place>) -> Places {
        let mut sum = Places::default();
        for place in places {
            sum.rows += 1;
            sum.touched += usize::from(place.covered > 0.0);
            sum.covered += place.covered;
            sum.right += place.right;
        }
        let rows = sum.rows.max(1) as f64;
        Places { covered: sum.covered / rows, right: sum.right / rows, ..sum }
    }

    /// Rows whose finding touches the payload, of all rows.
    pub(super) fn touched_share(&self) -> Option<f64> {
        share(self.touched, self.rows)
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Rows with one score: how many attacks, how many benign ones.
struct Step {
    score: f32,
    attacks: u32,
    benign: u32,
}

/// AUC, and recall at each rate with the score that it takes.
fn walk(steps: &[Step]) -> Option<(f64, [(f64, f32); RATES.len()])> {
    let sum = |count: fn(&Step) -> u32| steps.iter().map(|step| u64::from(count(step))).sum::<u64>();
    let (attacks, benign) = (sum(|step| step.attacks), sum(|step| step.benign));
    if attacks == 0 || benign == 0 {
        return None;
    }
    let most = RATES.map(|rate| (rate * benign as f64) as u64);
    let mut recalls = [None; RATES.len()];
    let (mut above, mut false_above, mut area) = (0_u64, 0_u64, 0.0);
    for step in steps {
        for (recall, most) in recalls.iter_mut().zip(most) {
            // Blocking this score too would be too much: the line is drawn above it.
            if recall.is_none() && false_above + u64::from(step.benign) > most {
                *recall = Some((above as f64 / attacks as f64, step.score));
            }
        }
        area += f64::from(step.benign) * (above as f64 + f64::from(step.attacks) / 2.0);
        above += u64::from(step.attacks);
        false_above += u64::from(step.benign);
    }
    Some((area / (attacks as f64 * benign as f64), recalls.map(|recall| recall.unwrap_or((1.0, f32::NEG_INFINITY)))))
}

/// The measures of all rows together; none if one of the labels is missing.
pub(super) fn curve(rows: &[Scored]) -> Option<Curve> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut steps: Vec<Step> = Vec::new();
    let mut places: [Vec<usize>; 2] = Default::default();
    for (score, is_attack) in rows {
        if steps.last().is_none_or(|step| step.score != score) {
            steps.push(Step { score, attacks: 0, benign: 0 });
        }
        let at = steps.len() - 1;
        *if is_attack { &mut steps[at].attacks } else { &mut steps[at].benign } += 1;
        places[usize::from(is_attack)].push(at);
    }
    let (auc, recalls) = walk(&steps)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut draws: [Vec<f64>; 1 + RATES.len()] = Default::default();
    for _ in 0..DRAWS {
        steps.iter_mut().for_each(|step| (step.attacks, step.benign) = (0, 0));
        for _ in &places[1] {
            steps[places[1][random.usize(..places[1].len())]].attacks += 1;
        }
        for _ in &places[0] {
            steps[places[0][random.usize(..places[0].len())]].benign += 1;
        }
        let (auc, recalls) = walk(&steps)?;
        draws[0].push(auc);
        draws[1..].iter_mut().zip(recalls).for_each(|(draws, (recall, _))| draws.push(recall));
    }
    let mut draws = draws.into_iter();
    let mut estimate = |value| {
        let mut draws = draws.next().unwrap_or_default();
        draws.sort_by(f64::total_cmp);
        Estimate { value, low: draws[DRAWS / 40], high: draws[DRAWS - 1 - DRAWS / 40] }
    };
    Some(Curve {
        auc: estimate(auc),
        recalls: recalls.map(|(recall, _)| estimate(recall)),
        above: recalls.map(|(_, score)| score),
    })
}

/// The value that this share of the sorted values does not exceed.
pub(super) fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((share * sorted.len() as f64) as usize).min(last)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_perfect_detector_a_useless_one_and_one_that_is_always_wrong() {
        let rows = |attack: fn(usize) -> f32, benign: fn(usize) -> f32| -> Vec<Scored> {
            (0..200).flat_map(|at| [(attack(at), true), (benign(at), false)]).collect()
        };
        let perfect = curve(&rows(|at| 0.9 + at as f32 / 1e4, |at| at as f32 / 1e4)).expect("both labels");
        assert_eq!(perfect.auc, Estimate { value: 1.0, low: 1.0, high: 1.0 });
        assert!(perfect.recalls.iter().all(|recall| recall.value == 1.0));
        let useless = curve(&rows(|_| 0.5, |_| 0.5)).expect("both labels");
        assert_eq!((useless.auc.value, useless.recalls[2].value), (0.5, 0.0));
        let wrong = curve(&rows(|_| 0.1, |_| 0.9)).expect("both labels");
        assert_eq!((wrong.auc.value, wrong.recalls[2].value), (0.0, 0.0));
        assert_eq!(curve(&[(0.5, true)]), None);
    }

    #[test]
    fn recall_at_a_rate_is_counted_strictly() {
        // 100 benign rows with scores 0.00 to 0.99: at 5 % the five highest may be blocked, so scores above 0.94.
        let benign = (0..100).map(|at| (at as f32 / 100.0, false));
        let attacks = [0.94, 0.9401, 0.96, 0.2].map(|score| (score, true));
        let curve = curve(&benign.chain(attacks).collect::<Vec<_>>()).expect("both labels");
        assert_eq!((curve.recalls[2].value, curve.above[2]), (0.5, 0.94));
        assert_eq!((curve.recalls[0].value, curve.above[0]), (0.0, 0.99));
    }

    #[test]
    fn confusion_and_percentiles() {
        let confusion = Confusion::of([(true, true), (false, true), (true, false), (false, false), (false, false)]);
        let Confusion { blocked_attacks, passed_attacks, blocked_benign, passed_benign } = confusion;
        assert_eq!([blocked_attacks, passed_attacks, blocked_benign, passed_benign], [1, 1, 1, 2]);
        assert_eq!((confusion.recall(), confusion.precision()), (Some(0.5), Some(0.5)));
        assert_eq!(Confusion::default().false_positives(), None);
        let micros: Vec<u64> = (1..=100).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| percentile(&micros, share)), [51, 100, 100]);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn a_finding_shows_a_payload_as_far_as_they_share_characters() {
        let of = |found: Range<usize>, payload: Range<usize>| {
            let place = Place::of(&found, &payload);
            (place.covered, place.right)
        };
        assert_eq!(of(10..30, 20..60), (0.25, 0.5));
        assert_eq!(of(0..100, 20..70), (1.0, 0.5));
        assert_eq!((of(0..20, 20..60), of(0..0, 20..60)), ((0.0, 0.0), (0.0, 0.0)));
        let places = Places::of([Place::of(&(10..30), &(20..60)), Place::of(&(0..20), &(20..60))]);
        assert_eq!(places, Places { rows: 2, touched: 1, covered: 0.125, right: 0.25 });
        assert_eq!((places.touched_share(), Places::of([]).touched_share()), (Some(0.5), None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_area_is_the_share_of_pairs_in_order(
            rows in prop::collection::vec(((0_u8..20).prop_map(|score| f32::from(score) / 20.0), any::<bool>()), 2..60),
        ) {
            let (attacks, benign): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.1);
            let pairs = attacks.iter().flat_map(|a: &&Scored| benign.iter().map(move |b: &&Scored| (a.0, b.0)));
            let won: f64 = pairs.map(|(a, b)| if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 }).sum();
            match curve(&rows) {
                None => prop_assert!(attacks.is_empty() || benign.is_empty()),
                Some(curve) => {
                    let share = won / (attacks.len() * benign.len()) as f64;
                    prop_assert!((curve.auc.value - share).abs() < 1e-9);
                    prop_assert!(curve.auc.low <= curve.auc.high);
                    for (recall, above) in curve.recalls.iter().zip(curve.above) {
                        let found = attacks.iter().filter(|row| row.0 > above).count() as f64 / attacks.len() as f64;
                        prop_assert!((recall.value - found).abs() < 1e-9);
                    }
                }
            }
        }
    }
}
