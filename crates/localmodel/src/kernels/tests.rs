use super::*;

/// Numbers that look random and are the same every time.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.u8(..)).collect()
}

fn lines(count: usize, seed: u64) -> Vec<Line> {
    bytes(count * 64, seed).as_chunks::<64>().0.iter().map(|line| Line(*line)).collect()
}

/// Half floats between -2 and 2.
fn halves(count: usize, seed: u64) -> Vec<u16> {
    bytes(count, seed).iter().map(|byte| half::f16::from_f32(f32::from(*byte as i8) / 64.0).to_bits()).collect()
}

fn activations(tokens: usize, columns: usize) -> Vec<f32> {
    bytes(tokens * columns, 3).iter().map(|byte| f32::from(*byte as i8) / 50.0).collect()
}

const COLUMNS: usize = 96;
const BLOCKS: usize = COLUMNS / BLOCK_COLUMNS;
const GROUPS: usize = 3;

fn rows4() -> Rows {
    let scales = halves(GROUPS * BLOCKS * 32, 2).as_chunks::<32>().0.to_vec();
    Rows::Four(Rows4 { lines: lines(GROUPS * BLOCKS * 4, 1), scales })
}

fn rows8() -> Rows {
    let scales = halves(GROUPS * BLOCKS * 16, 4).as_chunks::<16>().0.to_vec();
    let mut lines = lines(GROUPS * BLOCKS * 8, 5);
    // The extreme that saturates a careless kernel.
    lines[0] = Line([0x80; 64]);
    Rows::Eight(Rows8 { lines, scales })
}

/// One weight, straight from the documented layout.
fn weight(rows: &Rows, row: usize, column: usize) -> f64 {
    let (group, lane) = (row / GROUP_ROWS, row % GROUP_ROWS);
    let (block, inside) = (group * BLOCKS + column / BLOCK_COLUMNS, column % BLOCK_COLUMNS);
    let half = |bits| f64::from(half::f16::from_bits(bits));
    match rows {
        Rows::Four(rows) => {
            let byte = rows.lines[block * 4 + inside % 16 / 4].0[lane * 4 + inside % 4];
            let nibble = if inside < 16 { byte & 15 } else { byte >> 4 };
            half(rows.scales[block][lane]) * f64::from(nibble) + half(rows.scales[block][GROUP_ROWS + lane])
        }
        Rows::Eight(rows) => {
            let byte = rows.lines[block * 8 + inside / 4].0[lane * 4 + inside % 4];
            half(rows.scales[block][lane]) * f64::from(byte as i8)
        }
    }
}

/// The activations as the blocks hold them.
fn dequantised(blocks: &[Block]) -> Vec<f64> {
    let quads = blocks.iter().flat_map(|block| block.quads.map(|quad| (quad, block.scale)));
    quads.flat_map(|(quad, scale)| quad.to_le_bytes().map(|byte| f64::from(byte as i8) * f64::from(scale))).collect()
}

#[test]
fn every_level_multiplies_as_the_definition_says() {
    for rows in [rows4(), rows8()] {
        for tokens in [1, 3, 4, 9] {
            let mut blocks = Vec::new();
            quantise(&activations(tokens, COLUMNS), &mut blocks);
            let values = dequantised(&blocks);
            for level in Level::all() {
                let mut out = vec![f32::NAN; tokens * 2 * GROUP_ROWS];
                rows.multiply(level, 1..3, &blocks, COLUMNS, &mut out);
                for (at, own) in out.iter().enumerate() {
                    let (token, row) = (at / (2 * GROUP_ROWS), at % (2 * GROUP_ROWS) + GROUP_ROWS);
                    let column = |column: usize| weight(&rows, row, column) * values[token * COLUMNS + column];
                    let wanted: f64 = (0..COLUMNS).map(column).sum();
                    let error = (f64::from(*own) - wanted).abs();
                    assert!(error < 1e-4 * wanted.abs().max(10.0), "{}: {own} instead of {wanted}", level.name());
                }
            }
        }
    }
}

#[test]
fn a_token_gets_the_same_bits_alone_and_in_a_batch() {
    for rows in [rows4(), rows8()] {
        for level in Level::all() {
            let (mut all, mut alone) = (Vec::new(), Vec::new());
            let values = activations(7, COLUMNS);
            quantise(&values, &mut all);
            quantise(&values[5 * COLUMNS..6 * COLUMNS], &mut alone);
            let (mut batch, mut single) = (vec![0.0; 7 * 48], vec![0.0; 48]);
            rows.multiply(level, 0..3, &all, COLUMNS, &mut batch);
            rows.multiply(level, 0..3, &alone, COLUMNS, &mut single);
            assert_eq!(batch[5 * 48..6 * 48], single);
        }
    }
}

#[test]
fn the_largest_products_do_not_overflow() {
    let blocks = |value: f32| {
        let mut blocks = Vec::new();
        quantise(&[value; BLOCK_COLUMNS], &mut blocks);
        blocks
    };
    let one = half::f16::ONE.to_bits();
    let eight = |byte| Rows::Eight(Rows8 { lines: vec![Line([byte; 64]); 8], scales: vec![[one; 16]] });
    let four = Rows::Four(Rows4 { lines: vec![Line([0xff; 64]); 4], scales: vec![[one; 32]] });
    for level in Level::all() {
        for sign in [1.0, -1.0] {
            for (rows, weight) in [(&eight(0x80), -128.0), (&eight(0x7f), 127.0), (&four, 16.0)] {
                let mut out = [0.0; GROUP_ROWS];
                rows.multiply(level, 0..1, &blocks(127.0 * sign), BLOCK_COLUMNS, &mut out);
                assert_eq!(out, [weight * 127.0 * 32.0 * sign; GROUP_ROWS], "{}", level.name());
            }
        }
    }
}

#[test]
fn quantising_keeps_each_value_within_half_a_step() {
    let values: Vec<f32> = (0..64).map(|at| (at as f32 - 20.0) * 0.37).collect();
    let mut blocks = Vec::new();
    quantise(&values, &mut blocks);
    for (at, (value, kept)) in values.iter().zip(dequantised(&blocks)).enumerate() {
        assert!((f64::from(*value) - kept).abs() <= f64::from(blocks[at / 32].scale) * 0.5001);
    }
    quantise(&[0.0; 32], &mut blocks);
    assert_eq!((blocks[2].quads, blocks[2].scale, blocks[2].sum), ([0; 8], 0.0, 0));
}

#[test]
fn attention_agrees_with_its_definition_at_every_level() {
    for head in [64, 32] {
        let (positions, stride, offset) = (21, 3 * head, head);
        let cells = halves(positions * stride, 9);
        let view = CacheRows { cells: &cells, offset, stride };
        let cell = |position: usize, column: usize| widen(cells[offset + position * stride + column]);
        let query = activations(1, head);
        for level in Level::all() {
            let mut own = vec![0.0; positions];
            scores(level, &query, view, &mut own);
            let mut mixed = vec![f32::NAN; head];
            weighted_sum(level, &own, view, &mut mixed);
            for (position, own) in own.iter().enumerate() {
                let wanted: f32 = (0..head).map(|column| query[column] * cell(position, column)).sum();
                assert!((own - wanted).abs() < 1e-3, "{}: {own} instead of {wanted}", level.name());
            }
            for (column, mixed) in mixed.iter().enumerate() {
                let wanted: f32 = (0..positions).map(|position| own[position] * cell(position, column)).sum();
                assert!((mixed - wanted).abs() < 1e-2, "{}: {mixed} instead of {wanted}", level.name());
            }
        }
    }
}

#[test]
fn every_finite_half_float_widens_exactly() {
    for bits in 0..=u16::MAX {
        let wanted = half::f16::from_bits(bits);
        if wanted.is_finite() {
            assert_eq!(widen(bits).to_bits(), wanted.to_f32().to_bits(), "{bits:#06x}");
        }
    }
}
