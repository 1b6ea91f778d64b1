//! Policies and tools that say what is wanted, and what must hold for every episode that they play.
//! Shared with `fuzz/fuzz_targets/turn_loop.rs`.

use burn::tensor::backend::Backend;
use paretopo_agent::{
    PolicyText, RolloutConfig, RolloutContext, RolloutError, RolloutRequest, Workers, rollout,
};
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_environments::{Environment, ToolEnvironment};
use paretopo_generation::Generators;
use paretopo_grading::{answers_equal, extract_answer};
use paretopo_models::{
    AutoConfig, AutoFamily, AutoModel, CausalLm, ModelFamily, Placement, SavedTensor, load_folder,
    named_parameters, write_tensors,
};
use paretopo_tools::{CallContext, ListedTool, Tool};
use paretopo_trajectory::{
    Author, CallStatus, ObjectiveValues, Split, Task, ToolCall, ToolOutcome, ToolSpec, Trajectory,
    TrajectoryId,
};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// For rollouts that are not cancelled.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

/// Tasks without more.
struct Tasks(Vec<Task>);

/// An environment whose one tool answers everything with the same text.
pub(crate) struct Scripted {
    pub(crate) task: Vec<Task>,
    environment: ToolEnvironment,
}

impl Deref for Scripted {
    type Target = ToolEnvironment;

    fn deref(&self) -> &ToolEnvironment {
        &self.environment
    }
}

impl Scripted {
    /// The tool answers with `text` after a delay.
    pub(crate) fn new(task: Vec<Task>, text: &str, delay: Duration) -> Self {
        let tool = ListedTool::plain(Arc::new(Reply { text: text.into(), delay }));
        let environment = ToolEnvironment {
            environment: Box::new(Tasks(task.clone())),
            tools: vec![tool],
            objectives: Vec::new(),
        };
        Self { task, environment }
    }

    /// The same, where an episode may call the tool so many times.
    pub(crate) fn allowing(mut self, calls: usize) -> Self {
        self.environment.tools[0].max_calls = calls;
        self
    }
}

impl Environment for Tasks {
    fn tasks(&self, _: Split) -> &[Task] {
        &self.0
    }
    fn extract_answer(&self, response: &str) -> Option<String> {
        extract_answer(response)
    }
    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        trajectory.answer.as_ref().is_some_and(|answer| answers_equal(&task.answers[0], answer))
    }
}

struct Reply {
    text: String,
    delay: Duration,
}

impl Tool for Reply {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "python".into(),
            description: String::new(),
            parameters: serde_json::json!({}),
        }
    }
    fn call(&self, _: &ToolCall, _: &CallContext) -> ToolOutcome {
        std::thread::sleep(self.delay);
        ToolOutcome::new(CallStatus::Ok, self.text.clone(), 0.0)
    }
}

/// A policy whose next token depends on the last one alone: `logit(next | last)` is
/// `logits(last, next)`.
pub(crate) fn markov<B: Backend>(
    text: &PolicyText,
    logits: impl Fn(u32, u32) -> f32,
) -> AutoModel<B> {
    let size = text.tokenizer.vocab_size();
    let config: AutoConfig = serde_json::from_value(serde_json::json!({
        "model_type": "llama", "vocab_size": size, "hidden_size": size, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
        "head_dim": 4, "max_position_embeddings": 256, "rms_norm_eps": 0.0, "tie_word_embeddings": false
    }))
    .unwrap();
    let place = Placement::plain(Default::default());
    let folder = tempfile::tempdir().unwrap();
    // all weights of the layers are zero, so the final norm sees the last token's embedding, a unit
    // vector, and makes its length sqrt(size)
    let mut tensors = named_parameters(&AutoFamily::init::<B>(&config, &place).unwrap());
    let at = |index: usize| ((index / size) as u32, (index % size) as u32);
    for tensor in &mut tensors {
        for (index, value) in tensor.values.iter_mut().enumerate() {
            let (row, column) = at(index);
            match tensor.name.as_str() {
                "model.embed_tokens.weight" => *value = if row == column { 1.0 } else { 0.0 },
                "lm_head.weight" => *value = logits(column, row) / (size as f32).sqrt(),
                _ => {}
            }
        }
    }
    let saved: Vec<_> = tensors.into_iter().map(SavedTensor::from).collect();
    write_tensors(&folder.path().join("model.safetensors"), &saved).unwrap();
    std::fs::write(folder.path().join("config.json"), serde_json::to_string(&config).unwrap())
        .unwrap();
    load_folder::<AutoFamily, B>(folder.path(), &place).unwrap().1
}

/// Plays requests on what generates, with one worker, in a context of 256 tokens.
pub(crate) fn play_on(
    text: &PolicyText,
    generators: &dyn Generators,
    environment: &ToolEnvironment,
    requests: &[RolloutRequest<'_>],
    config: &RolloutConfig,
) -> Result<Vec<Trajectory>, RolloutError> {
    play_in(256, text, generators, environment, requests, config)
}

/// The same in a context of so many tokens.
pub(crate) fn play_in(
    context: usize,
    text: &PolicyText,
    generators: &dyn Generators,
    environment: &ToolEnvironment,
    requests: &[RolloutRequest<'_>],
    config: &RolloutConfig,
) -> Result<Vec<Trajectory>, RolloutError> {
    let context = RolloutContext {
        generators,
        context,
        text,
        environment,
        weight_version: 0,
        cancelled: &NEVER,
        workers: &Workers::default(),
    };
    rollout(&context, config, requests, &mut |_| {}).map(|(trajectories, _)| trajectories)
}

/// What generates with a model on a CPU; 2,048 bytes a token are counted.
pub(crate) fn local<'a, B: Backend, M: CausalLm<B>>(
    model: &'a M,
    device: &'a B::Device,
) -> LocalGenerators<'a, B, M> {
    let state_size = StateSize { per_token: 2048, per_row: 0 };
    LocalGenerators { model, device, place: SamplingPlace::Host, state_size }
}

/// The first rollout of a task.
pub(crate) fn request(task: &Task, seed: u64) -> RolloutRequest<'_> {
    let id = TrajectoryId::new("test", 0, 0);
    let preference = ObjectiveValues::default();
    RolloutRequest { id, task, sample: 0, seed, tool_free: false, preference }
}

/// What no policy may achieve, whatever it writes.
pub(crate) fn check_authorship(text: &PolicyText, trajectory: &Trajectory, config: &RolloutConfig) {
    let by =
        |author: Author| trajectory.segments.iter().filter(move |segment| segment.author == author);
    for segment in &trajectory.segments {
        let sampled = segment.author == Author::Model;
        assert_eq!(segment.logprobs.len(), if sampled { segment.ids.len() } else { 0 });
    }
    // nothing but a call is answered, each by one output between two markers
    assert_eq!(by(Author::Tool).count(), trajectory.calls.len());
    assert_eq!(by(Author::Template).count(), 2 * trajectory.calls.len());
    assert!(
        trajectory.calls.len() <= config.max_calls
            && trajectory.sampled_tokens() <= config.max_sampled_tokens
    );
    // the mask is what the policy sampled, to the token
    let sampled: Vec<bool> = trajectory
        .segments
        .iter()
        .flat_map(|s| s.ids.iter().map(|_| s.author == Author::Model))
        .collect();
    assert_eq!(trajectory.mask(), sampled);
    // an end of a turn ends the episode: it is the last id if it is there at all
    let ends: Vec<usize> = by(Author::Model)
        .flat_map(|s| &s.ids)
        .enumerate()
        .filter(|(_, id)| text.end_ids.contains(id))
        .map(|(at, _)| at)
        .collect();
    assert!(ends.is_empty() || ends == [trajectory.sampled_tokens() - 1]);
    for segment in by(Author::Tool).chain(by(Author::Template)) {
        assert!(segment.ids.iter().all(|id| !text.end_ids.contains(id)));
    }
}
