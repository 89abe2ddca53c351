use super::*;
use crate::local::read;
use crate::tiny::{FEED_FORWARD, HEADS, HIDDEN, KV_HEADS, LAYERS, Tiny, VOCABULARY};

fn engine(level: Level, threads: usize) -> Engine {
    let tiny = Tiny::new();
    let (_folder, path) = tiny.write();
    Engine::new(read(&path, tiny.checksum(), 128).unwrap().0, level, 128, threads)
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| 3 + at * 37 % 250).collect()
}

/// Logits behind every token, computed `size` rows at a time in slot `slot`.
fn run(engine: &Engine, caches: &[Cache], slot: usize, tokens: &[u32], size: usize) -> Vec<Vec<f32>> {
    let rows: Vec<Row> =
        (0..).zip(tokens).map(|(position, &token)| Row { slot, position, token, wants_logits: true }).collect();
    rows.chunks(size).flat_map(|rows| engine.forward(caches, rows)).collect()
}

/// A Llama as the papers write it: floats, one token after the other, no cache but lists.
fn reference(tokens: &[u32]) -> Vec<Vec<f32>> {
    let tensors = Tiny::new().tensors;
    let weights = |name: &str| &tensors[&format!("{name}.weight")];
    let head = HIDDEN / HEADS;
    let product = |name: &str, x: &[f32]| -> Vec<f32> {
        weights(name).chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let norm = |name: &str, x: &[f32]| -> Vec<f32> {
        let scale = (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32 + 1e-5).sqrt();
        x.iter().zip(weights(name)).map(|(x, w)| x / scale * w).collect()
    };
    let rotate = |x: &mut [f32], position: usize| {
        for (at, pair) in x.chunks_mut(2).enumerate() {
            let angle = position as f32 * 10_000_f32.powf(-2.0 * (at % (head / 2)) as f32 / head as f32);
            (pair[0], pair[1]) =
                (pair[0] * angle.cos() - pair[1] * angle.sin(), pair[0] * angle.sin() + pair[1] * angle.cos());
        }
    };
    let mut caches = vec![(Vec::new(), Vec::new()); LAYERS];
    let mut all = Vec::new();
    for (position, token) in tokens.iter().enumerate() {
        let mut x = weights("token_embd")[*token as usize * HIDDEN..][..HIDDEN].to_vec();
        for (layer, (keys, values)) in caches.iter_mut().enumerate() {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let h = norm(&name("attn_norm"), &x);
            let (mut q, mut k) = (product(&name("attn_q"), &h), product(&name("attn_k"), &h));
            rotate(&mut q, position);
            rotate(&mut k, position);
            keys.push(k);
            values.push(product(&name("attn_v"), &h));
            let mut mixed = vec![0.0; HIDDEN];
            for (index, out) in mixed.chunks_mut(head).enumerate() {
                let from = index / (HEADS / KV_HEADS) * head;
                let dot = |k: &Vec<f32>| (0..head).map(|at| q[index * head + at] * k[from + at]).sum::<f32>();
                let scores: Vec<f32> = keys.iter().map(|k| (dot(k) / (head as f32).sqrt()).exp()).collect();
                let total: f32 = scores.iter().sum();
                for (score, value) in scores.iter().zip(values.iter()) {
                    out.iter_mut().enumerate().for_each(|(at, out)| *out += score / total * value[from + at]);
                }
            }
            let add = |x: &mut Vec<f32>, y: Vec<f32>| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
            add(&mut x, product(&name("attn_output"), &mixed));
            let h = norm(&name("ffn_norm"), &x);
            let (gate, up) = (product(&name("ffn_gate"), &h), product(&name("ffn_up"), &h));
            let gated: Vec<f32> = gate.iter().zip(&up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
            assert_eq!(gated.len(), FEED_FORWARD);
            add(&mut x, product(&name("ffn_down"), &gated));
        }
        all.push(product("token_embd", &norm("output_norm", &x)));
    }
    all
}

#[test]
fn logits_are_those_of_a_plain_transformer() {
    let tokens = tokens(40);
    let wanted = reference(&tokens);
    let size = spread(&wanted);
    for level in Level::all() {
        let engine = engine(level, 2);
        let own = run(&engine, &[engine.cache()], 0, &tokens, 7);
        assert_eq!((own.len(), own[0].len()), (40, VOCABULARY));
        for (own, wanted) in own.iter().zip(&wanted) {
            let error = own.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / VOCABULARY as f32;
            // 8-bit activations cost about three percent at these sizes; a wrong rotation or mask costs fifty.
            assert!(error.sqrt() < 0.06 * size, "{}: {} of {size}", level.name(), error.sqrt());
        }
    }
}

/// Root mean square of all logits.
fn spread(logits: &[Vec<f32>]) -> f32 {
    let all: Vec<f32> = logits.iter().flatten().copied().collect();
    (all.iter().map(|x| x * x).sum::<f32>() / all.len() as f32).sqrt()
}

#[test]
fn cuts_threads_and_company_change_no_bit() {
    let tokens = tokens(50);
    for level in Level::all() {
        let one = engine(level, 1);
        let wanted = run(&one, &[one.cache()], 0, &tokens, 1);
        let three = engine(level, 3);
        let caches = [three.cache(), three.cache()];
        assert_eq!(run(&three, &caches, 0, &tokens, BATCH_ROWS_MAX), wanted);
        // The other slot runs something else in the same passes.
        let other: Vec<u32> = tokens.iter().rev().copied().collect();
        let mut own = Vec::new();
        for position in 0..tokens.len() {
            let row = |slot, token| Row { slot, position, token, wants_logits: slot == 1 };
            own.extend(three.forward(&caches, &[row(0, other[position]), row(1, tokens[position])]));
        }
        assert_eq!(own, wanted);
    }
}

#[test]
fn a_slot_is_reused_without_a_trace() {
    let engine = engine(Level::detect(), 2);
    let caches = [engine.cache()];
    let first = run(&engine, &caches, 0, &tokens(30), 8);
    let other: Vec<u32> = tokens(60).split_off(30);
    run(&engine, &caches, 0, &other, 8);
    assert_eq!(run(&engine, &caches, 0, &tokens(30), 8), first);
}

#[test]
fn the_exponential_is_exact_to_a_few_units_in_the_last_place() {
    for step in -8700..8700 {
        let x = step as f32 / 100.0;
        let wanted = f64::from(x).exp();
        assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 4e-7, "e^{x}: {} instead of {wanted}", exp(x));
    }
    assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(1000.0).is_finite());
}
