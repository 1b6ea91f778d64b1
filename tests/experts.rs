//! Mixtures of experts: what the sampler's routers chose is recorded id by id, however rows were
//! read, and the trainer reads each id with the same experts.

use crate::packed::five_at_a_time;
use crate::prompts::{ids, rollout};
use crate::{Plain, Tracked, assert_close, checkout, load, rows_of, with_kernels};
use burn::module::AutodiffModule;
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{Event, Generators, Row, RowKey};
use paretopo_models::{
    AutoModel, CausalLm, ExpertChoice, ExpertCounts, ForwardInput, RecordedExperts, to_host,
};
use paretopo_training::{
    GradientSum, MemoryConfig, MicroBatch, TrainingSequence, accumulate_gradient,
};
use paretopo_trajectory::ExpertRecord;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

const ROWS: usize = 7;
const DRAWN: usize = 12;

fn model() -> AutoModel<Tracked> {
    load(&checkout("tests/fixtures/models/qwen3_moe"), &with_kernels()).1
}

/// The experts of ids that are read whole.
fn experts_of(model: &AutoModel<Plain>, ids: &[u32]) -> Vec<u16> {
    let record = Arc::new(RecordedExperts::default());
    let mut input = ForwardInput::right_padded(&[ids], &Default::default());
    input.experts = ExpertChoice::Recorded(record.clone());
    let _ = model.hidden(&input, None);
    record.by_token(ids.len()).concat()
}

/// Rows that draw a token at a time, all alike in front; the third token of every other row is
/// followed by an insertion, which for some is long. Each row's ids and its record.
fn played(model: &AutoModel<Plain>, memory: Option<u64>) -> Vec<(Vec<u32>, ExpertRecord)> {
    let state_size = StateSize { per_token: 1, per_row: 0 };
    let device = Default::default();
    let generators =
        LocalGenerators { model, device: &device, place: SamplingPlace::Host, state_size };
    let mut generator = generators.open(&five_at_a_time(memory)).unwrap();
    let row = |key: RowKey| {
        let prompt = [ids(1, 33), ids(key as u32 / 2, 2 + key / 2)].concat();
        let (seed, drawn, budget) = (key as u64, 0, DRAWN);
        Row { key, ids: prompt.into(), seed, drawn, budget, forbidden: None }
    };
    let mut waiting: Vec<Row> = (0..ROWS).map(row).collect();
    generator.expect(&waiting);
    let begun = waiting.iter().map(|row| (row.ids.to_vec(), ExpertRecord::default()));
    let mut held: Vec<(Vec<u32>, ExpertRecord)> = begun.collect();
    let mut drawn: BTreeMap<RowKey, usize> = (0..ROWS).map(|key| (key, 0)).collect();
    while drawn.values().any(|count| *count < DRAWN) {
        let taken = generator.admit(&waiting).unwrap();
        waiting.drain(..taken);
        for event in generator.step().unwrap() {
            let Event::Drawn(token) = event else { panic!("{event:?}") };
            let (ids_of_row, record) = &mut held[token.row];
            let (place, read) = token.experts.expect("experts are recorded");
            record.extend(place, &read);
            assert_eq!(record.ids(), ids_of_row.len(), "all is read in front of a draw");
            ids_of_row.push(token.id);
            let count = drawn.get_mut(&token.row).unwrap();
            *count += 1;
            if *count == 3 && token.row % 2 == 1 {
                generator.pause(token.row, ids_of_row.len());
                let further = ids(9, if token.row % 4 == 1 { 20 } else { 2 });
                generator.extend(token.row, &further);
                ids_of_row.extend(further);
            }
            if *count == DRAWN {
                generator.release(token.row);
            }
        }
    }
    held
}

#[test]
fn what_a_generator_records_is_what_reading_the_ids_whole_chooses() {
    let model = model().valid();
    let counts = model.experts().unwrap();
    assert_eq!(counts, ExpertCounts { layers: 2, experts: 4, chosen: 2 });
    let wanted = played(&model, None);
    for (ids, record) in &wanted {
        // all ids but the last, which nobody has read
        let (last, read) = ids.split_last().unwrap();
        assert!(record.per_id == 4 && record.ids() == read.len(), "{last}");
        assert_eq!(record.experts, experts_of(&model, read));
    }
    let used: std::collections::BTreeSet<u16> =
        wanted.iter().flat_map(|(_, record)| record.experts.iter().copied()).collect();
    assert_eq!(used.len(), 4, "the fixture's tokens go to different experts");
    // rows that give up their places are read again, and so are their records
    assert_eq!(played(&model, Some(200)), wanted);
}

/// Sequences with a prompt in common, their experts turned by `turned`.
fn sequences(model: &AutoModel<Plain>, turned: u16) -> Vec<TrainingSequence> {
    let prompt = ids(1, 20);
    let recorded = |mut sequence: TrainingSequence| {
        let read = &sequence.ids[..sequence.ids.len() - 1];
        let experts = experts_of(model, read).into_iter().map(|one| (one + turned) % 4).collect();
        sequence.experts = Arc::new(ExpertRecord { per_id: 4, experts });
        sequence
    };
    let rollouts = [rollout(&prompt, 3, 9), rollout(&prompt, 4, 14), rollout(&prompt, 5, 6)];
    rollouts.into_iter().map(recorded).collect()
}

/// Log-probabilities row by row, all gradients, and what was counted.
fn learned(
    model: &AutoModel<Tracked>,
    groups: &[&[TrainingSequence]],
    memory: MemoryConfig,
) -> (Vec<f32>, Vec<f32>) {
    let mut found = Vec::new();
    let mut sum = GradientSum::<Tracked>::default();
    for group in groups {
        let batch = MicroBatch::new(&group.iter().collect::<Vec<_>>(), &Default::default());
        let loss = |logprobs: burn::tensor::Tensor<Tracked, 2>, _| {
            for (row, sequence) in rows_of(logprobs.clone().inner()).iter().zip(*group) {
                found.extend_from_slice(&row[..sequence.old_logprobs.len()]);
            }
            Ok::<_, Infallible>((logprobs * batch.weights.clone()).sum())
        };
        accumulate_gradient::<paretopo_models::AutoFamily, _, _>(
            model, &batch, memory, false, &mut sum, loss,
        )
        .unwrap();
    }
    let gradients = sum.parts().iter().flatten().flat_map(|part| to_host(part.clone())).collect();
    (found, gradients)
}

const PLAIN: MemoryConfig = MemoryConfig { gradient_checkpointing: false, logits_chunk: 0 };

#[test]
fn the_trainer_reads_with_the_experts_that_are_given() {
    let model = model();
    let plain = model.clone().valid();
    let by_router: Vec<TrainingSequence> = sequences(&plain, 0)
        .into_iter()
        .map(|sequence| TrainingSequence { experts: Arc::default(), ..sequence })
        .collect();
    let same = sequences(&plain, 0);
    let others = sequences(&plain, 1);
    let router = learned(&model, &[&by_router], PLAIN);
    assert_eq!(learned(&model, &[&same], PLAIN), router, "the experts that the router chooses");
    let alone: Vec<&[TrainingSequence]> = others.chunks(1).collect();
    let turned = learned(&model, &alone, PLAIN);
    let distance =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(distance(&turned.0, &router.0) > 0.1, "other experts compute other numbers");
    // with the prompt read once, and layers computed again
    for gradient_checkpointing in [false, true] {
        let memory = MemoryConfig { gradient_checkpointing, logits_chunk: 0 };
        let got = learned(&model, &[&others], memory);
        assert_close(&got.0, &turned.0, 1e-5, "log-probabilities");
        assert_close(&got.1, &turned.1, 1e-5, "gradients");
    }
}

/// Trains one step in which rollouts are decoded in bf16, and returns its metrics.
fn trained(recorded: &str) -> serde_json::Value {
    let scratch = tempfile::tempdir().unwrap();
    let (run, policy) = (scratch.path().join("run"), scratch.path().join("policy"));
    std::fs::create_dir(&policy).unwrap();
    let shipped = checkout("models/tiny-math");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(shipped.join(name), policy.join(name)).unwrap();
    }
    let own = crate::json(&shipped.join("config.json"));
    let mut config = crate::json(&checkout("tests/fixtures/models/qwen3_moe/config.json"));
    for name in ["vocab_size", "eos_token_id", "bos_token_id", "pad_token_id"] {
        config[name] = own[name].clone();
    }
    config["max_position_embeddings"] = 512.into();
    std::fs::write(policy.join("config.json"), config.to_string()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["train", "--run"])
        .arg(&run)
        .args(["--set", &format!("policy={{ type = \"new\", path = \"{}\" }}", policy.display())])
        .args(["--set", "train.steps=1", "--set", "train.prompts_per_step=4"])
        // rewards are alike, so that a bonus is what pulls
        .args(["--set", "train.entropy_coefficient=0.01", "--set", "evaluation.tasks=2"])
        .args(["--set", "rollout.precision=bf16", "--set", recorded])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    serde_json::from_str(metrics.lines().next().unwrap()).unwrap()
}

#[test]
fn a_run_tells_how_evenly_experts_are_used_and_how_often_the_trainer_would_choose_others() {
    let replayed = trained("rollout.recorded={ experts = true }");
    let number = |metrics: &serde_json::Value, name: &str| metrics[name].as_f64().unwrap();
    let anew = trained("rollout.recorded={ experts = false }");
    // four experts, two for each token: at most 4 / 2 - 1
    let imbalance = number(&replayed, "experts/imbalance");
    assert!(imbalance > 0.0 && imbalance <= 1.0, "{imbalance}");
    // bf16 decides some close choices otherwise, and few of them
    let mismatch = number(&replayed, "experts/mismatch");
    assert!(mismatch > 0.0 && mismatch < 0.2, "{mismatch}");
    // with the sampler's experts the trainer is nearer to the sampler
    let nearer = number(&replayed, "logprob_mismatch") < number(&anew, "logprob_mismatch");
    assert!(nearer, "{replayed} {anew}");
    assert!(anew.get("experts/imbalance").is_none() && anew.get("experts/mismatch").is_none());
}
