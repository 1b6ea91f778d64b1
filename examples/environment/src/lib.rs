//! Boxes of things: how many are in so many boxes? How many a box holds only the tool knows.

use paretopo::prelude::*;
use rand::{SeedableRng, seq::SliceRandom};

const HELD: [(&str, u64); 4] = [("books", 8), ("eggs", 12), ("pens", 20), ("coins", 50)];

fn held(thing: &str) -> Option<u64> {
    HELD.iter().find(|(name, _)| *name == thing).map(|(_, held)| *held)
}

/// Settings behind `[environment] type = "boxes"`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boxes {
    /// Seed of the order of the questions, and of which belongs to which split.
    seed: u64,
    /// The most boxes that a question asks for.
    #[serde(deserialize_with = "within::<9, 1000, _, _>")]
    #[schemars(schema_with = "whole::<9, 1000>")]
    most: u64,
}

impl EnvironmentSettings for Boxes {
    fn build(
        &self,
        _: &Resources,
        _: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError> {
        let task = |(thing, held): (&str, u64), boxes: u64| Task {
            id: format!("{boxes}-{thing}"),
            question: format!("How many {thing} are in {boxes} boxes?"),
            answers: vec![(boxes * held).to_string()],
            supporting: vec![thing.to_owned()],
            ..Task::default()
        };
        let of_thing = |thing| (2..=self.most).map(move |boxes| task(thing, boxes));
        let mut train: Vec<Task> = HELD.into_iter().flat_map(of_thing).collect();
        train.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(self.seed));
        let mut test = train.split_off(train.len() / 2);
        let validation = test.split_off(test.len() / 2);
        Ok(Box::new(Questions([train, validation, test])))
    }
}

struct Questions([Vec<Task>; 3]); // training, validation, test: each question is in one of them

impl Environment for Questions {
    fn tasks(&self, split: Split) -> &[Task] {
        &self.0[split as usize]
    }

    /// Every other one asks twice: training may find out that once is enough.
    fn demonstration(&self, index: u64) -> Option<Demonstration> {
        let task = self.0[0].get((index / 2) as usize % self.0[0].len())?;
        let code = &task.supporting[0];
        let call = ToolCall { name: "python".into(), arguments: json!({ "code": code }) };
        let once =
            [DemonstrationTurn::Call(call), DemonstrationTurn::Output(held(code)?.to_string())];
        let mut turns = [once.clone(), once][index as usize % 2..].concat();
        turns.push(DemonstrationTurn::Answer(format!("\\boxed{{{}}}", task.answers[0])));
        Some(Demonstration { question: task.question.clone(), turns })
    }
}

/// Settings behind `[[tools]] type = "packing"`; nothing is to be started, so it is the tool, too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packing {
    /// What it says of things that it does not know.
    unknown: String,
}

impl ToolSettings for Packing {
    fn start(&self, _: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl Tool for Packing {
    fn spec(&self) -> ToolSpec {
        let parameters = json!({ "properties": { "code": { "type": "string" } } });
        ToolSpec { name: "packing".into(), description: "What a box holds.".into(), parameters }
    }

    fn call(&self, call: &ToolCall, _: &CallContext) -> ToolOutcome {
        match held(call.arguments["code"].as_str().unwrap_or_default().trim()) {
            Some(held) => ToolOutcome::new(CallStatus::Ok, held.to_string(), 0.0),
            None => ToolOutcome::new(CallStatus::Error, &self.unknown, 0.0),
        }
    }
}
