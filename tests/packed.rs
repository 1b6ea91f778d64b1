//! Models whose matrices are packed for decoding against the same models without: what whole
//! sequences and cached steps give, with adapters, in f32 and bf16; and that what such a model
//! draws for a row depends on nothing else. The kernels themselves are tested where they are
//! (`crates/backends/flex/src/packed`, `crates/backends/flex/src/attention`).

use crate::{CASES, Plain, assert_close, checkout, load, with_kernels};
use burn::module::Module;
use burn::tensor::FloatDType;
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{
    Event, GenerationSettings, Generators, Recorded, Row, RowKey, SamplingConfig,
};
use paretopo_models::{
    AdapterConfig, AutoModel, CausalLm, ForwardInput, LayerState, PackedWeights, Visible,
    attach_adapter, in_precision, initialize, merge_adapter, to_host,
};
use std::collections::BTreeMap;

/// Logits of two sequences read whole, and behind two further tokens of each.
fn logits(model: &AutoModel<Plain>) -> Vec<f32> {
    let device = Default::default();
    let rows: [&[u32]; 2] = [&[3, 1, 4, 1, 5], &[9, 2]];
    let whole = ForwardInput::right_padded(&rows, &device);
    let mut found = to_host(model.unembed(model.hidden(&whole, None)));
    let mut state = model.empty_state(2);
    for rows in [rows, [&[6], &[5]], [&[3], &[5]]] {
        let input = ForwardInput::cached(&rows, &mut state, &device);
        let hidden = model.hidden(&input, Some(&mut state));
        let last = hidden.dims()[1] - 1;
        found.extend(to_host(model.unembed(hidden.narrow(1, last, 1))));
    }
    found
}

fn largest_difference(first: &[f32], second: &[f32]) -> f32 {
    first.iter().zip(second).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_packed_model_computes_the_same() {
    for case in CASES {
        let (_, plain) =
            load::<Plain>(&checkout("tests/fixtures/models").join(case), &with_kernels());
        let adapter = AdapterConfig { rank: 4, ..AdapterConfig::default() };
        let adapted = attach_adapter(plain.clone(), &adapter, 3, &Default::default()).unwrap();
        // the matrices of an adapter that are zero at first, too
        let adapted = initialize(adapted, 0.3, 5);
        for (what, plain) in [("as it is", plain), ("with an adapter", adapted)] {
            let mut packed = plain.clone();
            packed.pack(PackedWeights::F32);
            assert!(packed.packed_bytes() >= 4 * case_matrices(&plain), "{case} {what}");
            assert_close(&logits(&packed), &logits(&plain), 2e-5, &format!("{case} {what}"));
            let mut half = plain.clone();
            half.pack(PackedWeights::Bf16);
            // an adapter is packed in f32 in both
            let [mut single, mut halved] = [packed, half.clone()];
            for model in [&mut single, &mut halved] {
                model.projections_mut().into_iter().for_each(|(_, map)| map.lora = None);
            }
            assert_eq!(halved.packed_bytes() * 2, single.packed_bytes());
            // weights keep 8 bits: rounded, and not by more
            let difference = largest_difference(&logits(&half), &logits(&plain));
            let size = logits(&plain).iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(difference > 0.0 && difference < 0.05 * size, "{case} {what}: {difference}");
        }
    }
}

/// Numbers in the matrices of a model, without the embedding.
fn case_matrices(model: &AutoModel<Plain>) -> usize {
    let mut model = model.clone();
    let maps = model.projections_mut();
    maps.iter().map(|(_, map)| map.weight.val().dims().iter().product::<usize>()).sum()
}

#[test]
fn what_changes_a_model_drops_what_was_packed() {
    let (_, plain) =
        load::<Plain>(&checkout("tests/fixtures/models/llama_tied_rope3_bias"), &with_kernels());
    let mut packed = plain.clone();
    packed.pack(PackedWeights::F32);
    // a copy has the same weights, and may keep it
    assert!(packed.clone().packed_bytes() > 0);
    let mut changed = initialize(packed.clone(), 0.02, 1);
    assert_eq!(changed.packed_bytes(), 0);
    let wanted = logits(&changed);
    changed.pack(PackedWeights::F32);
    assert_close(&logits(&changed), &wanted, 2e-5, "packed anew");
    assert_eq!(in_precision(packed.clone(), FloatDType::BF16).packed_bytes(), 0);
    let adapter = AdapterConfig { rank: 2, ..AdapterConfig::default() };
    let adapted = attach_adapter(packed.clone(), &adapter, 3, &Default::default()).unwrap();
    let mut merged = merge_adapter(adapted);
    assert!(merged.packed_bytes() < packed.packed_bytes());
    assert!(merged.projections_mut().iter().any(|(_, map)| map.packed_bytes() == 0));
    let record = plain.into_record();
    assert_eq!(packed.load_record(record).packed_bytes(), 0);
}

#[test]
fn without_kernels_nothing_is_packed() {
    let folder = checkout("tests/fixtures/models/qwen3");
    let mut model = load::<Plain>(&folder, &crate::plain()).1;
    model.pack(PackedWeights::Bf16);
    assert_eq!(model.packed_bytes(), 0);
}

#[test]
fn flex_keeps_rows_apart_and_others_keep_columns() {
    let folder = checkout("tests/fixtures/models/qwen2");
    let device = Default::default();
    // with kernels there is a cache, without them columns, and with a mask of one's own, too
    for (place, given, has_columns) in [
        (with_kernels(), false, false),
        (crate::plain(), false, true),
        (with_kernels(), true, true),
    ] {
        let model = load::<Plain>(&folder, &place).1;
        let mut state = model.empty_state(2);
        let rows: [&[u32]; 2] = [&[3, 1, 4], &[9, 2]];
        let mut input = ForwardInput::cached(&rows, &mut state, &device);
        if given {
            input.visible = Visible::Given(input.visible.mask(&device).unwrap());
        }
        let hidden = to_host(model.hidden(&input, Some(&mut state)));
        assert_eq!(state.layer_mut(0).has_columns(), has_columns);
        let columns = load::<Plain>(&folder, &crate::plain()).1;
        let mut state = columns.empty_state(2);
        let input = ForwardInput::cached(&rows, &mut state, &device);
        let wanted = to_host(columns.hidden(&input, Some(&mut state)));
        // the second row begins with padding, of which nothing is said
        let width = hidden.len() / 6;
        assert_close(&hidden[..3 * width], &wanted[..3 * width], 2e-5, "the first row");
        assert_close(&hidden[4 * width..], &wanted[4 * width..], 2e-5, "the second");
    }
}

#[test]
fn flex_keeps_windows_apart_too() {
    // layers with a window and without, with positions and without, and a scale of their own
    for case in ["mistral", "smollm3", "gemma3"] {
        let folder = checkout("tests/fixtures/models").join(case);
        let device = Default::default();
        for (place, has_columns) in [(with_kernels(), false), (crate::plain(), true)] {
            let model = load::<Plain>(&folder, &place).1;
            let mut state = model.empty_state(1);
            let input = ForwardInput::cached(&[&[3, 1, 4]], &mut state, &device);
            model.hidden(&input, Some(&mut state));
            for layer in 0..model.depth() {
                assert_eq!(state.layer_mut(layer).has_columns(), has_columns, "{case}, {layer}");
            }
        }
    }
}

/// Rows that draw until their budgets are used up.
pub(crate) fn five_at_a_time(memory: Option<u64>) -> GenerationSettings {
    GenerationSettings {
        sampling: SamplingConfig::default(),
        recorded: Recorded::default(),
        end_ids: Vec::new(),
        batch_size: 5,
        memory,
    }
}

/// What each of `keys` draws: ids and the bits of their log-probabilities. Some rows get a long
/// insertion behind their fifth token, others a short one.
fn drawn(
    model: &AutoModel<Plain>,
    keys: &[RowKey],
    memory: Option<u64>,
) -> BTreeMap<RowKey, Vec<(u32, u32)>> {
    const TOKENS: usize = 14;
    let state_size = StateSize { per_token: 1, per_row: 0 };
    let place = SamplingPlace::Host;
    let generators = LocalGenerators { model, device: &Default::default(), place, state_size };
    let settings = five_at_a_time(memory);
    let mut generator = generators.open(&settings).unwrap();
    let ids = |key: usize, count: usize| (0..count).map(|id| (id * 7 + key) as u32 % 40).collect();
    let row = |key: &RowKey| {
        let prompt: Vec<u32> = ids(*key, 3 + key * 5 % 37);
        Row {
            key: *key,
            ids: prompt.into(),
            seed: *key as u64,
            drawn: 0,
            budget: TOKENS,
            forbidden: None,
        }
    };
    let mut waiting: Vec<Row> = keys.iter().map(row).collect();
    let mut found: BTreeMap<RowKey, Vec<(u32, u32)>> =
        keys.iter().map(|key| (*key, Vec::new())).collect();
    while found.values().any(|row| row.len() < TOKENS) {
        let taken = generator.admit(&waiting).unwrap();
        waiting.drain(..taken);
        for event in generator.step().unwrap() {
            let Event::Drawn(token) = event else { panic!("a row failed") };
            let own = found.get_mut(&token.row).unwrap();
            own.push((token.id, token.logprob.to_bits()));
            match own.len() {
                5 if token.row % 3 > 0 => {
                    let length = if token.row % 3 == 1 { 30 } else { 4 };
                    let inserted: Vec<u32> = ids(token.row, length);
                    generator.extend(token.row, &inserted);
                }
                TOKENS => generator.release(token.row),
                _ => {}
            }
        }
    }
    assert_eq!(generator.statistics().evicted_rows > 0, memory.is_some() && keys.len() > 1);
    found
}

#[test]
fn equal_seeds_give_equal_tokens_in_any_batch() {
    let (_, model) = load::<Plain>(&checkout("tests/fixtures/models/qwen2"), &with_kernels());
    let keys: Vec<RowKey> = (0..11).collect();
    let adapter = AdapterConfig { rank: 4, ..AdapterConfig::default() };
    let adapted = attach_adapter(model.clone(), &adapter, 3, &Default::default()).unwrap();
    let adapted = initialize(adapted, 0.3, 5);
    for (model, weights) in [
        (&model, PackedWeights::F32),
        (&model, PackedWeights::Bf16),
        (&adapted, PackedWeights::F32),
    ] {
        let mut model = model.clone();
        model.pack(weights);
        let alone: BTreeMap<_, _> =
            keys.iter().flat_map(|key| drawn(&model, &[*key], None)).collect();
        assert!(alone.values().any(|row| *row != alone[&0]), "rows differ");
        let shuffled: Vec<RowKey> = (0..11).map(|place| place * 4 % 11).collect();
        for order in [&keys, &shuffled] {
            assert!(drawn(&model, order, None) == alone, "{weights:?} {order:?}");
            // rows give up their places and are read again
            assert!(
                drawn(&model, order, Some(190)) == alone,
                "{weights:?} {order:?}, little memory"
            );
        }
    }
}
