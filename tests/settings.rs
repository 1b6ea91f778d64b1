//! Every setting of every configuration, given values that it should not have: it is refused with
//! its key, or it works. Nothing panics, and nothing ends in silence.

use crate::{Tracked, checkout, python_worker};
use burn::tensor::Tensor;
use paretopo_algorithms::losses::{policy_loss, token_weights};
use paretopo_algorithms::{EstimatorState, Estimators, Group, Progress, advantages};
use paretopo_environments::{MathConfig, QaConfig, Resources, RunMemory};
use paretopo_generation::{Points, sample};
use paretopo_models::{AutoFamily, read_config};
use paretopo_tools::CallContext;
use paretopo_training::{AdamW, MemoryPlan, RunConfig};
use paretopo_trajectory::{Split, ToolCall, Trajectory, TrajectoryId};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use toml::Value;

/// Configurations that have, together, every setting there is; each with the starts of the keys
/// that it is there for.
fn configurations() -> Vec<(String, Vec<&'static str>)> {
    let small = "[environment]\ntype = 'math'\n\
         problems = { type = 'generated', seed = 1, train = 4, validation = 1, test = 1, \
         level_weights = [1, 1, 1, 1, 1, 1] }";
    let optional = "lora = { rank = 4, alpha = 8.0, dropout = 0.1 }\n\
         [train]\nimportance_cap = 2.0\nimportance_level = 'sequence'\n\
         importance_beyond = 'mask'\nold_logprobs = 'recompute'\n\
         aggregation = { type = 'constant', length = 64.0 }\n\
         [train.optimizer]\nschedule = { type = 'linear', final_share = 0.1 }\n\
         [estimator]\ntype = 'paretopo'\nreference = [0, 0, 0]\nweights = [0.5, 0.3, 0.2]\n\
         switch = { type = 'plateau', epsilon = 0.001, patience = 3 }\n\
         [environment]\ntype = 'math'\n\
         problems = { type = 'file', path = 'x.jsonl', test = 1, validation = 1 }\n\
         [[objectives]]\ntype = 'task'\n[[objectives]]\ntype = 'response_length'\nscale = 32.0\n\
         [[objectives]]\ntype = 'format'\n\
         [[tools]]\ntype = 'python'\ninterpreter = 'sandbox_fusion'\nname = 'run'\n\
         price = 0.5\nprice_deviation = 0.5\nfailure_rate = 0.25\nmax_calls = 3\n\
         sandbox_fusion = { url = 'http://127.0.0.1:9', retries = 1 }\n\
         [rollout]\ntool_schedule = { type = 'as_ready' }";
    let graded = "[environment]\ntype = 'math'\n\
         problems = { type = 'graded', train = 4, validation = 1, test = 1 }\n\
         [[tools]]\ntype = 'calculator'";
    let questions = "[environment]\ntype = 'qa'\n\
         questions = { type = 'world', seed = 1, people = 12, works = 6, places = 4, train = 2, \
         validation = 1, test = 1 }";
    let familiar = "[environment]\ntype = 'qa'\n\
         questions = { type = 'familiar_world', people = 12, works = 6, places = 4, train = 2, \
         validation = 1, test = 1 }\n\
         [[tools]]\ntype = 'search'\nmiss_rate = 0.5";
    let remote = "generator = { type = 'vllm', urls = ['http://127.0.0.1:9'], model = 'policy' }\n\
         [environment]\ntype = 'qa'\n\
         questions = { type = 'dataset', name = 'hotpotqa' }\n\
         [[tools]]\ntype = 'search'\npassages = { type = 'remote', url = 'http://127.0.0.1:9/retrieve' }";
    let outside = r#"
[environment]
type = 'math'
[environment.problems]
type = 'generated'
seed = 1
level_weights = [1, 1, 1, 1, 1, 1]
train = 4
validation = 1
test = 1
[[tools]]
type = 'command'
name = 'echo'
description = 'd'
parameters = '{"type": "object"}'
program = { command = 'sh', args = ['-c', 'cat'], cwd = '.', env = { A = 'b' } }
limits = { start_seconds = 0.5, concurrency = 1 }
[[tools]]
type = 'http'
description = 'd'
server = { url = 'http://127.0.0.1:9', bearer_from = 'PATH' }
[[tools]]
type = 'mcp'
name = 'm'
tools = ['x']
scope = 'trajectory'
program = { command = 'false', args = [], env = { A = 'b' } }
[[objectives]]
type = 'task'
[[objectives]]
type = 'command'
name = 'r_a'
program = { command = 'false', args = ['-c'] }
[[objectives]]
type = 'http'
name = 'r_b'
server = { url = 'http://127.0.0.1:9', bearer_from = 'PATH' }
[estimator]
type = 'scalarized'
weights = [0.5, 0.3, 0.2]"#;
    let mut configurations = vec![
        (outside.to_owned(), vec!["tools", "objectives"]),
        (small.to_owned(), vec![""]),
        (
            optional.to_owned(),
            vec![
                "lora",
                "train.importance",
                "train.aggregation",
                "train.optimizer.schedule",
                "estimator",
                "environment.problems",
                "objectives",
                "tools",
                "rollout.tool_schedule",
            ],
        ),
        (graded.to_owned(), vec!["environment.problems", "tools"]),
        (questions.to_owned(), vec!["environment"]),
        (familiar.to_owned(), vec!["environment.questions", "tools"]),
        (remote.to_owned(), vec!["environment.questions", "tools", "generator"]),
    ];
    let estimators = Estimators::in_use();
    let alone = |name: &str| (format!("[estimator]\ntype = '{name}'"), vec!["estimator"]);
    configurations.extend(estimators.names().map(alone));
    configurations
}

/// A step from a table or list to one of its values.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn joined(path: &[Step]) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone(),
        Step::Key(key) => format!("{text}.{key}"),
        Step::Index(index) => format!("{text}[{index}]"),
    })
}

/// The paths of all settings.
fn settings(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    let mut visit = |step: Step, value: &Value| {
        path.push(step);
        if !value.is_table() {
            found.push(path.clone());
        }
        settings(value, path, found);
        path.pop();
    };
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| visit(Step::Key(key.clone()), value))
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            values.iter().enumerate().for_each(|(index, value)| visit(Step::Index(index), value))
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()).unwrap(),
        Step::Index(index) => value.get_mut(*index).unwrap(),
    })
}

/// Values that are wrong for most settings, or at the edge of what is right.
fn hostile() -> Vec<Value> {
    let numbers = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        -0.0,
        0.0,
        1.0,
        1.000_001,
        1e300,
        f64::MAX,
        1e-300,
        5e-324,
        1e-45,
        1e-8,
        0.5,
        2.5,
    ];
    let whole = [i64::MIN, -1, 0, 1, 2, i64::from(u32::MAX) + 1, i64::MAX];
    let texts = ["", "x", "nan", "-1", "1e999", "\u{0}"];
    let mut values: Vec<Value> = numbers.into_iter().map(Value::Float).collect();
    values.extend(whole.into_iter().map(Value::Integer));
    values.extend(texts.into_iter().map(|text| Value::String(text.into())));
    let list = |value: Value, count| Value::Array(vec![value; count]);
    values.extend([
        Value::Boolean(true),
        Value::Table(toml::Table::new()),
        Value::Array(Vec::new()),
        list(Value::Float(0.0), 2),
        list(Value::Float(f64::NAN), 2),
        list(Value::Float(-0.5), 2),
        list(Value::Float(0.5), 6),
        list(Value::Float(0.5), 1000),
        list(Value::String("x".into()), 2),
    ]);
    values
}

#[test]
fn every_setting_refuses_what_it_cannot_be_or_works() {
    let (mut refused, mut accepted) = (0, 0);
    for (text, wanted) in configurations() {
        let resolved = RunConfig::parse(&text, "x.toml", &[]).unwrap().to_toml().unwrap();
        let whole: Value = Value::Table(toml::from_str(&resolved).unwrap());
        let mut paths = Vec::new();
        settings(&whole, &mut Vec::new(), &mut paths);
        for path in paths {
            let key = joined(&path);
            if !wanted.iter().any(|start| key.starts_with(start)) {
                continue;
            }
            for value in hostile() {
                let mut changed = whole.clone();
                let place = at(&mut changed, &path);
                let number = place.is_integer() || place.is_float();
                *place = value.clone();
                let changed = toml::to_string(&changed).unwrap();
                let case = format!("{text}: `{key}` = {value}");
                let parsed = std::panic::catch_unwind(|| {
                    RunConfig::parse(&changed, "x.toml", &[]).inspect(|config| build(config, &key))
                })
                .unwrap_or_else(|_| panic!("{case}: a panic"));
                match parsed {
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains(&format!("`{key}`")), "{case}: {error}");
                        // of the types, not of settings that depend on each other
                        if number && error.contains("TOML parse error") {
                            assert!(
                                error.contains("number from ") || error.contains("number above "),
                                "{case}: {error}"
                            );
                        }
                        refused += 1;
                    }
                    Ok(config) => {
                        let printed = config.to_toml().unwrap();
                        let again = RunConfig::parse(&printed, "printed", &[]);
                        assert_eq!(again.unwrap_or_else(|error| panic!("{case}: {error}")), config);
                        accepted += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 3_000 && accepted > 500, "{refused} refused, {accepted} accepted");
}

/// Builds and tries what the section of a key is for.
fn build(config: &RunConfig, key: &str) {
    let section = key.split(['.', '[']).next().unwrap();
    match section {
        "estimator" => estimate(config),
        "environment" | "tools" | "objectives" => play(config, key),
        "rollout" | "evaluation" => {
            draw(config);
            plan(config);
        }
        "train" | "sft" => {
            optimise(config);
            plan(config);
        }
        _ => plan(config),
    }
}

fn plan(config: &RunConfig) {
    let model = read_config::<AutoFamily>(&checkout("models/tiny-math")).unwrap();
    let plan = MemoryPlan::new(config, &model, 40, 2);
    assert!(plan.peak().is_finite() && plan.peak() > 0.0, "{}", plan.peak());
}

fn estimate(config: &RunConfig) {
    let objectives = config.objectives.len();
    let reward = |first: f64, others: f64| {
        let mut reward = vec![others; objectives];
        reward[0] = first;
        reward
    };
    let group = |rewards: Vec<Vec<f64>>| Group {
        prompt: format!("{rewards:?}"),
        calls: Some((0..rewards.len()).map(|count| count as f64).collect()),
        turn_costs: Some((0..rewards.len()).map(|count| vec![1.0; count + 1]).collect()),
        rewards,
        ..Group::default()
    };
    let groups = [
        group(vec![reward(1.0, 1.0), reward(1.0, 0.4), reward(0.0, 1.0), reward(0.0, 0.0)]),
        group(vec![reward(0.0, 0.0); 4]),
    ];
    let mut state = EstimatorState::default();
    for step in [0, 1, 9] {
        let progress = Progress { step, total_steps: 10, seed: 1, call_limit: 4.0 };
        let found = advantages(&config.estimator, &mut state, &groups, progress).unwrap();
        assert!(found.values.iter().flatten().all(|value| value.is_finite()), "{found:?}");
        assert!(found.diagnostics.values().all(|value| value.is_finite()), "{found:?}");
    }
}

fn draw(config: &RunConfig) {
    let mut points = Points::new(1, 0);
    let logits = [3.0, -2.0, 0.5, 60.0, 59.0];
    for sampling in [config.rollout.sampling, config.evaluation.sampling] {
        let drawn = sample(&logits, [0, 3].into_iter(), &sampling, &mut points).unwrap();
        assert!(drawn.logprob.is_finite() && drawn.sampling_logprob.is_finite(), "{drawn:?}");
    }
    let times = [config.rollout.call_seconds, config.rollout.episode_seconds];
    assert!(times.iter().all(|time| Instant::now() + time.duration() > Instant::now()));
}

fn optimise(config: &RunConfig) {
    let train = &config.train;
    let updates = train.steps * (train.epochs * train.minibatches) as u64;
    for (optimizer, updates) in
        [(train.optimizer, updates), (config.sft.optimizer, config.sft.steps)]
    {
        let rate = AdamW::<Tracked>::new(optimizer, updates).learning_rate();
        assert!((0.0..=1.0).contains(&rate), "{rate}");
    }
    let device = Default::default();
    let mask: &[bool] = &[true, true, false];
    let weights = token_weights(train.aggregation, &[mask]).remove(0);
    let row = |values: [f32; 3]| Tensor::<Tracked, 2>::from_data([values], &device);
    let loss = policy_loss(
        &train.loss,
        row([-1.0, -0.5, -3.0]).require_grad(),
        row([-1.1, -0.4, -3.0]),
        Tensor::from_data([[0.7]], &device),
        row([weights[0], weights[1], weights[2]]),
    );
    let loss = loss.loss.into_scalar() * train.kl.coefficient.single().max(1.0);
    assert!(loss.is_finite(), "{loss}");
}

/// Builds the environment, unless it needs a file or a network, and plays a call and a group.
fn play(config: &RunConfig, key: &str) {
    let math = config.environment.settings_of::<MathConfig>("math");
    let qa = config.environment.settings_of::<QaConfig>("qa");
    let offline = math.is_some_and(|math| {
        matches!(math.problems, paretopo_environments::math::ProblemSource::Generated { .. })
    }) || qa.is_some_and(|qa| {
        use paretopo_environments::qa::QuestionSource;
        matches!(qa.questions, QuestionSource::World { .. } | QuestionSource::FamiliarWorld(_))
    });
    if !offline || key.contains("opening") || key.contains("cpython") {
        return;
    }
    let resources = Resources { python_worker: python_worker(), cache: std::env::temp_dir() };
    // what cannot be built says so
    let Ok(environment) = config.build_environment(&resources, &mut ()) else { return };
    let demonstration = environment.demonstration(3);
    assert!(demonstration.is_some_and(|demonstration| !demonstration.turns.is_empty()));
    if key.contains("tools") {
        let arguments = serde_json::json!({ "code": "print(1 + 1)" });
        let call = ToolCall { name: "python".into(), arguments };
        let deadline = Instant::now() + Duration::from_secs(2);
        for listed in environment.tools.iter().filter(|listed| listed.name == "python") {
            let outcome = listed
                .tool
                .call(&call, &CallContext::new(TrajectoryId::new("test", 0, 0), deadline));
            assert!(!outcome.text.is_empty() || key.ends_with("output_characters"), "{outcome:?}");
        }
    }
    if let Some(task) = environment.tasks(Split::Train).first() {
        let trajectory = Trajectory {
            answer: task.answers.first().cloned(),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), &task.id, 0)
        };
        let mut group = [trajectory];
        paretopo_environments::score_group(
            &environment,
            task,
            &mut group,
            &mut RunMemory::default(),
        );
        assert!(
            group[0].objectives.values().iter().all(|reward| (0.0..=1.0).contains(reward)),
            "{group:?}"
        );
    }
}

/// Settings at the edge of what is allowed, with which real runs are made.
const EDGES: [&[&str]; 29] = [
    &["train.optimizer.learning_rate=0"],
    &["train.optimizer.beta1=0", "train.optimizer.beta2=0"],
    &["train.optimizer.beta1=0.9999999999", "train.optimizer.beta2=0.9999999999"],
    &["train.optimizer.epsilon=1e-30"],
    &["train.optimizer.epsilon=1"],
    &["train.optimizer.weight_decay=1"],
    &["train.optimizer.clip_grad_norm=0"],
    &["train.optimizer.clip_grad_norm=1e-12"],
    &["train.optimizer.warmup_updates=1000000000"],
    &["train.loss.clip_low=0", "train.loss.clip_high=0"],
    &["train.loss.clip_low=1", "train.loss.clip_high=1000", "train.loss.surrogate=cispo"],
    &["train.kl.coefficient=1e-12"],
    &["train.entropy_coefficient=-1"],
    &["train.old_logprobs=recompute", "train.importance_cap=1e-6"],
    &[
        "train.old_logprobs=recompute",
        "train.importance_cap=2.0",
        "train.importance_level=sequence",
        "train.importance_beyond=mask",
    ],
    &["train.largest_log_ratio=1000"],
    &["train.micro_batch_tokens=1", "train.memory.logits_chunk=1"],
    &["train.aggregation={ type = \"constant\", length = 1 }"],
    &["train.keep.latest=1"],
    &["rollout.sampling.temperature=0.0001"],
    &["rollout.sampling.temperature=100", "rollout.sampling.top_k=1000000000"],
    &["rollout.sampling.top_p=5e-324"],
    &["rollout.max_calls=0", "rollout.max_output_tokens=0"],
    &["rollout.max_sampled_tokens=1", "rollout.batch_size=1"],
    &["rollout.call_seconds=0.001", "rollout.tool_threads=64"],
    &["rollout.episode_seconds=0.001"],
    &["rollout.tool_schedule.steps=1000"],
    &["environment.python.limits.seconds=0.001", "environment.python.output_characters=0"],
    &["environment.python.limits.recursion=100000", "workers=5"],
];

#[test]
fn runs_at_the_edge_of_the_ranges_end_or_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let small = [
        "train.steps=2",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=2",
        "train.validate_every=0",
        "evaluation.tasks=2",
        "environment.problems={ type = \"generated\", seed = 1, train = 8, validation = 2, \
         test = 2, level_weights = [0, 0, 0, 0, 0, 1] }",
    ];
    for (number, settings) in EDGES.iter().enumerate() {
        let run = folder.path().join(number.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
        command.args(["-q", "train", "--run"]).arg(&run).stdin(Stdio::null());
        for setting in small.iter().chain(*settings) {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("panicked"), "{settings:?}: {error}");
        match output.status.code() {
            Some(0) => assert!(run.join("evaluation.json").exists(), "{settings:?}"),
            Some(1 | 2) => assert!(error.starts_with("error: "), "{settings:?}: {error}"),
            code => panic!("{settings:?}: {code:?}, {error}"),
        }
    }
}

#[test]
fn every_command_that_reads_a_configuration_refuses_bad_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_paretopo"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    std::fs::write(folder.path().join("bad.toml"), "[train.optimizer]\nbeta1 = 1.5\n").unwrap();
    std::fs::write(folder.path().join("good.toml"), "seed = 3\n").unwrap();
    let experiment = |name: &str, text: &str| {
        let methods = "[[methods]]\nname = \"a\"\nconfig = \"good.toml\"\n";
        std::fs::write(folder.path().join(name), format!("{text}\n{methods}")).unwrap();
    };
    experiment("seeds.toml", "seeds = [1, -1]");
    experiment(
        "sweep.toml",
        "seeds = [1]\nsweep = { key = \"rollout.sampling.top_p\", values = [0] }",
    );
    for arguments in [
        &["train", "bad.toml"][..],
        &["train", "bad.toml", "--dry-run"],
        &["plan", "bad.toml"],
        &["sft", "bad.toml"],
        &["evaluate", "bad.toml"],
        &["solve", "1+1?", "bad.toml"],
    ] {
        let (code, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        for part in ["line 2, column 9", "`train.optimizer.beta1`", "`1.5`", "from 0 and below 1"] {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
    for (arguments, key, value) in [
        (&["compare", "seeds.toml"][..], "`seeds`", "`-1`"),
        (&["compare", "sweep.toml"], "rollout.sampling.top_p", "`0`"),
        (&["train", "--dry-run", "--set", "rollout.call_seconds=inf"], "call_seconds", "`inf`"),
        (&["plan", "--set", "train.steps=0"], "train.steps", "`0`"),
        (&["plan", "--prompt-tokens", "0"], "--prompt-tokens", "0 is not in 1..="),
        (&["compare", "--jobs", "0"], "--jobs", "0 is not in 1..="),
        (&["search", "x", "--query", "a", "--topk", "0"], "--topk", "0 is not in 1..="),
        (&["search", "x", "--query", "a", "--topk", "-1"], "--topk", "-1"),
        (&["serve-search", "x", "--topk", "101"], "--topk", "101 is not in 1..=100"),
        (&["python", "-", "--seconds", "nan"], "--seconds", "`NaN` is not a number from"),
        (&["python", "-", "--seconds", "-1"], "--seconds", "`-1.0` is not a number from"),
        (&["python", "-", "--seconds", "1e300"], "--seconds", "`1e300` is not a number from"),
        (&["python", "-", "--memory", "0"], "--memory", "0 is not in 1..="),
        (&["python", "-", "--memory", "99999999999999999999"], "--memory", "99999999999999999999"),
        (&["python", "-", "--output", "-5"], "--output", "-5"),
        (
            &["advantages", "--estimator", "grpo", "--call-threshold", "-0.5"],
            "--call-threshold",
            "`-0.5` is not 0 or a number from",
        ),
        (
            &["advantages", "-", "--estimator", "paretopo", "--set", "beta=2"],
            "`beta`",
            "`2` is not a number from 0 to 1",
        ),
        (
            &["advantages", "-", "--estimator", "scalarized", "--set", "weights=[nan, 1]"],
            "`weights`",
            "`NaN` is not 0 or a number from",
        ),
    ] {
        let (code, error) = run(arguments);
        assert!(
            code == Some(2) && error.contains(key) && error.contains(value),
            "{arguments:?}: {error}"
        );
    }
}
