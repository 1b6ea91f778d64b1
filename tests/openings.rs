//! What a policy is given to read: openings that are empty and prompts that are too long are found
//! before anything is played.

use crate::checkout;
use paretopo_agent::PolicyText;
use paretopo_chat::ToolSyntax;
use paretopo_trajectory::Split;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// The shipped policy with some files of JSON changed.
fn policy(folder: &Path, changes: &[(&str, &str, Value)]) {
    std::fs::create_dir_all(folder).unwrap();
    for name in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        std::fs::copy(checkout("models/tiny-math").join(name), folder.join(name)).unwrap();
    }
    for (file, key, value) in changes {
        let mut content = crate::json(&folder.join(file));
        content[*key] = value.clone();
        std::fs::write(folder.join(file), content.to_string()).unwrap();
    }
}

fn run(folder: &Path, arguments: &[&str], settings: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).args(["--model", "policy"]).current_dir(folder);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.output().unwrap()
}

#[track_caller]
fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

const COMMANDS: [&[&str]; 4] = [
    &["-q", "train", "--run", "train"],
    &["-q", "sft", "--run", "sft"],
    &["-q", "evaluate"],
    &["-q", "solve", "What is 1+1?"],
];

#[test]
fn an_opening_with_nothing_to_read_is_an_error_that_names_template_and_task() {
    let folder = tempfile::tempdir().unwrap();
    let templates = [
        "",
        " \n\t",
        "{# nothing #}",
        "{{ eos_token }}\n{{ pad_token }}",
        "{% for message in messages if message.role == 'nobody' %}{{ message.content }}{% endfor %}",
    ];
    for template in templates {
        let change = ("tokenizer_config.json", "chat_template", json!(template));
        policy(&folder.path().join("policy"), &[change]);
        for command in COMMANDS {
            let error = refused(&run(folder.path(), command, &[]));
            let task = if command[1] == "solve" { "`question`" } else { "`test-0`" };
            assert!(
                error.contains("`policy/tokenizer_config.json`: the chat template renders nothing")
                    && error.contains(task),
                "{template:?}, {command:?}: {error}"
            );
        }
    }
    // a template in a file of its own is the one that is named
    std::fs::write(folder.path().join("policy/chat_template.jinja"), "\n").unwrap();
    let error = refused(&run(folder.path(), COMMANDS[2], &[]));
    assert!(error.contains("`policy/chat_template.jinja`: the chat template renders"), "{error}");
    // a character is something to read
    let template = "{{ messages[-1].content[:1] }}";
    std::fs::write(folder.path().join("policy/chat_template.jinja"), template).unwrap();
    succeeded(&run(folder.path(), COMMANDS[2], &["evaluation.tasks=2"]));
}

#[test]
fn a_template_that_leaves_the_question_out_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let with = |template: &str| {
        policy(
            &here.join("policy"),
            &[("tokenizer_config.json", "chat_template", json!(template))],
        );
    };
    for template in [
        "What is 1 + 1?",
        "{{ messages | length }} messages",
        "{% for message in messages %}{{ message.role }}: {{ message.text }}\n{% endfor %}",
        "{% for message in messages if message.role == 'system' %}{{ message.content }}{% endfor %}.",
    ] {
        with(template);
        for command in COMMANDS {
            let error = refused(&run(here, command, &[]));
            let file = "`policy/tokenizer_config.json`: the chat template renders task `";
            assert!(
                error.contains(file) && error.contains("without its question"),
                "{template:?}, {command:?}: {error}"
            );
        }
    }
    // a part of it is something
    for template in ["{{ messages[-1].content[:1] }}", "{{ messages[-1]['content'] | length }}"] {
        with(template);
        succeeded(&run(here, COMMANDS[2], &["evaluation.tasks=2"]));
    }
}

/// Tokens of the prompts of the shipped problems.
fn lengths(split: Split) -> Vec<usize> {
    let environment = crate::agent::math();
    let text = PolicyText::from_folder(&checkout("models/tiny-math")).unwrap();
    let tasks = environment.tasks(split).iter();
    tasks
        .map(|task| text.opening(&environment, task, &ToolSyntax::FencedPython {}).unwrap().len())
        .collect()
}

#[test]
fn long_prompts_stop_a_run_before_it_begins_or_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let context = |tokens: usize| {
        policy(&here.join("policy"), &[("config.json", "max_position_embeddings", json!(tokens))]);
    };
    let test = &lengths(Split::Test)[..40];
    let longest = *test.iter().max().unwrap();
    let evaluate = ["-q", "evaluate"];
    let forty = "evaluation.tasks=40";
    // one token to answer with is room enough
    context(longest + 1);
    succeeded(&run(here, &evaluate, &[forty]));
    context(longest);
    let error = refused(&run(here, &evaluate, &[forty]));
    let too_long = test.iter().filter(|length| **length >= longest).count();
    let first = test.iter().position(|length| *length >= longest).unwrap();
    for part in [
        format!("{too_long} of 40 test tasks have prompts"),
        format!("context of {longest} tokens (`max_position_embeddings`)"),
        format!("the longest has {longest}: `test-{first}` ({longest})"),
        "rollout.long_prompts=skip".into(),
    ] {
        assert!(error.contains(&part), "`{part}` in {error}");
    }
    // so many are played as were asked for, and what was left out is said
    let said = succeeded(&run(here, &["evaluate"], &[forty, "rollout.long_prompts=skip"]));
    assert!(said.contains("left out: ") && said.contains(" test tasks have prompts"), "{said}");
    // where nothing fits there is nothing to play
    context(5);
    let error = refused(&run(here, &evaluate, &[forty, "rollout.long_prompts=skip"]));
    assert!(error.contains("no test task is left"), "{error}");
    let error = refused(&run(here, &["-q", "solve", "What is 1+1?"], &[]));
    assert!(error.contains("task `question`") && error.contains("context of 5"), "{error}");
}

#[test]
fn prompts_may_have_a_limit_of_their_own_and_be_cut_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    policy(&here.join("policy"), &[]);
    let mut test = lengths(Split::Test)[..40].to_vec();
    let (first, tokens) = (test.iter().enumerate().max_by_key(|(_, tokens)| **tokens)).unwrap();
    let (first, limit) = (first, tokens - 2);
    test.retain(|tokens| *tokens > limit);
    let limited = format!("rollout.max_prompt_tokens={limit}");
    let with = |more: &str| {
        let settings = ["evaluation.tasks=40", &limited, more];
        run(here, &["evaluate", "--out", more], &settings)
    };
    let error = refused(&with("rollout.long_prompts=stop"));
    let said = format!("{} of 40 test tasks have prompts of more than {limit} tokens", test.len());
    assert!(error.contains(&said) && error.contains("`rollout.max_prompt_tokens`"), "{error}");
    let told = succeeded(&with("rollout.long_prompts=cut"));
    assert!(told.contains(&format!("cut: {said}")), "{told}");
    // all forty are played, the longest with the end of its question
    let path = here.join("rollout.long_prompts=cut/trajectories.jsonl");
    let played = std::fs::read_to_string(path).unwrap();
    let played: Vec<Value> =
        played.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(played.len(), 40);
    let id = format!("test-{first}");
    let cut = played.iter().find(|episode| episode["task_id"] == *id).unwrap();
    let ids: Vec<u32> = serde_json::from_value(cut["segments"][0]["ids"].clone()).unwrap();
    let text = PolicyText::from_folder(&here.join("policy")).unwrap();
    let prompt = text.tokenizer.decode(&ids).unwrap();
    let environment = crate::agent::math();
    let question = &environment.tasks(Split::Test)[first].question;
    let words: Vec<&str> = question.split_whitespace().collect();
    let end = words[words.len() - 3..].join(" ");
    assert!(prompt.contains(&end) && !prompt.contains(question.as_str()), "{prompt}");
}

#[test]
fn long_prompts_of_every_split_that_is_played_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let median = {
        let mut train = lengths(Split::Train);
        train.sort_unstable();
        train[train.len() / 2]
    };
    policy(&here.join("policy"), &[("config.json", "max_position_embeddings", json!(median))]);
    let settings = [
        "train.steps=2",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=2",
        "evaluation.tasks=10",
        "train.checkpoint_every=1",
    ];
    let train = ["train", "--run", "run"];
    let error = refused(&run(here, &train, &settings));
    let long = lengths(Split::Train).into_iter().filter(|length| *length >= median).count();
    assert!(error.contains(&format!("{long} of 2048 train tasks")), "{error}");
    assert!(error.contains(" validation tasks have") && error.contains(" test tasks have"));
    // nothing was begun, so the same folder takes the hint
    let skip = [&settings[..], &["rollout.long_prompts=skip"]].concat();
    let said = succeeded(&run(here, &train, &skip));
    assert!(said.contains(&format!("left out: {long} of 2048 train tasks")), "{said}");
    // what follows is another run's
    let error = refused(&run(here, &train, &settings));
    assert!(error.contains("holds a run with another configuration"), "{error}");
    // no validation, no validation task that is too long
    let none = [&settings[..], &["train.validate_every=0"]].concat();
    let error = refused(&run(here, &["train", "--run", "other"], &none));
    assert!(!error.contains(" validation tasks have"), "{error}");
}

#[test]
fn long_demonstrations_stop_a_warm_start_or_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // all prompts fit, but not all worked solutions
    policy(&here.join("policy"), &[("config.json", "max_position_embeddings", json!(60))]);
    let settings = ["sft.steps=3", "sft.batch_size=64", "evaluation.tasks=4"];
    let error = refused(&run(here, &["-q", "sft", "--run", "run"], &settings));
    assert!(
        error.contains("of the first 192 demonstrations are longer than the model's context of 60"),
        "{error}"
    );
    let skip =
        ["rollout.long_prompts=skip", "evaluation.tasks=4", "sft.steps=3", "sft.batch_size=64"];
    let said = succeeded(&run(here, &["sft", "--run", "run"], &skip));
    let (count, _) = said.split_once(" of the first 192 demonstrations").unwrap();
    let count: f64 = count.rsplit(' ').next().unwrap().parse().unwrap();
    let metrics = std::fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    let counted: f64 = metrics
        .lines()
        .map(|line| {
            let step: Value = serde_json::from_str(line).unwrap();
            step["long_demonstrations"].as_f64().unwrap()
        })
        .sum();
    assert!(count > 0.0 && counted == count, "{counted} and {count}");
    // a batch of one may be a long one: another that fits takes its place
    let single = [&skip[..2], &["sft.steps=40", "sft.batch_size=1"]].concat();
    succeeded(&run(here, &["-q", "sft", "--run", "single"], &single));
    // prompts have at most 27 tokens, and the first worked solution has more
    policy(&here.join("policy"), &[("config.json", "max_position_embeddings", json!(28))]);
    let one = [&skip[..2], &["sft.steps=1", "sft.batch_size=1"]].concat();
    let error = refused(&run(here, &["-q", "sft", "--run", "small"], &one));
    assert!(error.contains("1 of the first 1 demonstrations") && error.contains("; none is left"));
}

#[test]
fn a_run_of_an_earlier_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    policy(&here.join("policy"), &[]);
    let settings = [
        "train.steps=1",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=2",
        "train.validate_every=0",
        "evaluation.tasks=2",
    ];
    let train = ["-q", "train", "--run", "run"];
    succeeded(&run(here, &train, &settings));
    let path = here.join("run/config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let before = text.replace("long_prompts = \"stop\"\n", "");
    assert_ne!(text, before);
    std::fs::write(&path, &before).unwrap();
    succeeded(&run(here, &train, &settings));
    // but not with a setting that it did not have at its default
    let skip = [&settings[..], &["rollout.long_prompts=skip"]].concat();
    assert!(refused(&run(here, &train, &skip)).contains("another configuration"));
}
