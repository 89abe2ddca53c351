use proptest::prelude::*;

use super::*;

/// Integer products at a level.
struct Product<'a> {
    bytes: bool,
    rows: &'a [Tile],
    steps: usize,
    panels: &'a [Line],
}

impl Work for Product<'_> {
    type Output = Vec<i32>;

    fn run<K: Kernel>(self, kernel: K) -> Vec<i32> {
        let mut sums = vec![7; self.rows.len() / self.steps * TILE * self.panels.len() / self.steps * LANES];
        match self.bytes {
            true => kernel.bytes(self.rows, self.steps, self.panels, &mut sums),
            false => kernel.halves(self.rows, self.steps, self.panels, &mut sums),
        }
        sums
    }
}

/// The same, one product after another.
fn products(work: &Product<'_>) -> Vec<i32> {
    let mut sums = Vec::new();
    for tile in work.rows.chunks(work.steps) {
        for row in 0..TILE {
            for panel in work.panels.chunks(work.steps) {
                for lane in 0..LANES {
                    let pairs = tile.iter().zip(panel).map(|(tile, line)| (tile[row], line.0[lane]));
                    sums.push(pairs.map(|(row, weights)| product(work.bytes, row, weights)).sum());
                }
            }
        }
    }
    sums
}

fn product(bytes: bool, row: Quad, weights: Quad) -> i32 {
    if bytes {
        return (0..4).map(|at| i32::from(row[at]) * i32::from(weights[at] as i8)).sum();
    }
    let half = |quad: Quad, at: usize| i32::from(i16::from_le_bytes([quad[2 * at], quad[2 * at + 1]]));
    (0..2).map(|at| half(row, at) * half(weights, at)).sum()
}

/// Four weights of which two pairs, whatever pairs, keep to [`FOUR_MAX`].
fn weights(random: &mut fastrand::Rng) -> Quad {
    let mut pair = || match random.u8(..4) {
        0 => (63, 1),
        1 => (-63, -1),
        2 => (63, -63),
        _ => (random.i8(-32..=32), random.i8(-32..=32)),
    };
    let ((a, b), (c, d)) = (pair(), pair());
    [a, b, c, d].map(|weight| weight as u8)
}

/// Four bytes, often as large as they get.
fn bytes(random: &mut fastrand::Rng) -> Quad {
    if random.bool() { [255; 4] } else { random.u32(..).to_le_bytes() }
}

/// Two numbers of attention's size, often as large as they get.
fn halves(random: &mut fastrand::Rng) -> Quad {
    let mut half = || [4095, -4095, random.i16(-4095..=4095)][random.usize(..3)].to_le_bytes();
    let ([a, b], [c, d]) = (half(), half());
    [a, b, c, d]
}

/// Holds every level's products of random numbers against the plain ones.
fn check(bytes: bool, (steps, tiles, panels, seed): (usize, usize, usize, u64), row: Draw, cell: Draw) {
    let mut random = fastrand::Rng::with_seed(seed);
    let rows: Vec<Tile> = (0..tiles * steps).map(|_| std::array::from_fn(|_| row(&mut random))).collect();
    let panels: Vec<Line> = (0..panels * steps).map(|_| Line(std::array::from_fn(|_| cell(&mut random)))).collect();
    let work = || Product { bytes, rows: &rows, steps, panels: &panels };
    for level in Level::available() {
        assert_eq!(level.run(work()), products(&work()), "{}", level.name());
    }
}

type Draw = fn(&mut fastrand::Rng) -> Quad;

/// Steps (even), tiles, panels, and a seed for what they hold: values drawn by proptest itself would take a hundred
/// times as long.
fn sizes() -> impl Strategy<Value = (usize, usize, usize, u64)> {
    ((1_usize..20).prop_map(|pairs| pairs * 2), 1_usize..6, 1_usize..4, any::<u64>())
}

proptest! {
    #[test]
    fn byte_products_are_exact_at_every_level(sizes in sizes()) {
        check(true, sizes, bytes, weights);
    }

    #[test]
    fn half_products_are_exact_at_every_level(sizes in sizes()) {
        check(false, sizes, halves, halves);
    }

    #[test]
    fn operations_on_reals_are_the_same_at_every_level(
        a in proptest::array::uniform16(-1e6_f32..1e6),
        b in proptest::array::uniform16(-1e6_f32..1e6),
        integers in proptest::array::uniform16(any::<i32>()),
    ) {
        let portable = Level::PORTABLE.run(Operations { a, b, integers });
        for level in Level::available() {
            prop_assert_eq!(&level.run(Operations { a, b, integers }), &portable, "{}", level.name());
        }
    }
}

/// Every operation on reals, as bits.
struct Operations {
    a: [f32; LANES],
    b: [f32; LANES],
    integers: [i32; LANES],
}

impl Work for Operations {
    type Output = (Vec<[u32; LANES]>, [u8; LANES], [i16; LANES]);

    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let (a, b) = (kernel.load(&self.a), kernel.load(&self.b));
        let reals = [
            kernel.add(a, b),
            kernel.subtract(a, b),
            kernel.multiply(a, b),
            kernel.smaller(a, b),
            kernel.larger(a, b),
            kernel.shifted(a, 127),
            kernel.spread(self.a[0]),
            kernel.of_integers(&self.integers),
        ];
        let bits = reals.map(|reals| {
            let mut lanes = [0.0; LANES];
            kernel.store(reals, &mut lanes);
            lanes.map(f32::to_bits)
        });
        (bits.to_vec(), kernel.low_bytes(a), kernel.low_halves(a))
    }
}

#[test]
fn the_best_level_is_one_of_the_available() {
    assert!(Level::available().contains(&Level::detect()));
    assert_eq!(Level::available()[0], Level::PORTABLE);
}
