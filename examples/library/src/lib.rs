//! Engine and grader as plain libraries: a batch of questions is answered, and each answer graded.

use burn_flex::{Flex, FlexDevice};
use paretopo_chat::{ChatTemplate, TemplateContext, Tokenizer};
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{Event, GenerationSettings, Generators, Recorded, Row, SamplingConfig};
use paretopo_models::{AutoFamily, Placement, load_folder};
use paretopo_settings::Temperature;
use paretopo_trajectory::{Message, Role};
use std::error::Error;
use std::path::Path;

/// Tokens that an answer may have.
const BUDGET: usize = 32;

/// What the policy in a checkpoint folder says to each question, the likeliest token each time.
pub fn ask(folder: &Path, questions: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
    let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"))?;
    let template = ChatTemplate::from_folder(folder)?;
    let end = tokenizer.token_to_id(template.eos_token()).ok_or("no token ends a turn")?;
    let place = Placement::plain(FlexDevice);
    let (_, model) = load_folder::<AutoFamily, Flex>(folder, &place)?;

    let generators = LocalGenerators {
        model: &model,
        device: &place.device,
        place: SamplingPlace::Host,
        state_size: StateSize::default(),
    };
    let greedy =
        SamplingConfig { temperature: Temperature::literal(0.0), ..SamplingConfig::default() };
    let mut generator = generators.open(&GenerationSettings {
        sampling: greedy,
        recorded: Recorded::default(),
        end_ids: vec![end],
        batch_size: questions.len().max(1),
        memory: None,
    })?;

    let mut waiting = Vec::new();
    for (key, question) in questions.iter().enumerate() {
        let messages = [Message { role: Role::User, content: question.to_string() }];
        let context =
            TemplateContext { messages: &messages, tools: &[], add_generation_prompt: true };
        let ids = tokenizer.encode(&template.render(context)?)?.into();
        waiting.push(Row { key, ids, seed: 0, drawn: 0, budget: BUDGET, forbidden: None });
    }
    let mut written = vec![Vec::new(); questions.len()];
    let mut running = questions.len();
    while running > 0 {
        let admitted = generator.admit(&waiting)?;
        waiting.drain(..admitted);
        for event in generator.step()? {
            let drawn = match event {
                Event::Drawn(drawn) => drawn,
                Event::Failed { reason, .. } => return Err(reason.into()),
            };
            written[drawn.row].push(drawn.id);
            if drawn.id == end || written[drawn.row].len() == BUDGET {
                generator.release(drawn.row);
                running -= 1;
            }
        }
    }
    let texts = written.iter().map(|ids| tokenizer.decode(ids));
    Ok(texts.collect::<Result<_, _>>()?)
}

/// Whether a response ends in an answer that means the same as the right one.
pub fn is_right(response: &str, right: &str) -> bool {
    let answer = paretopo_grading::extract_answer(response);
    answer.is_some_and(|answer| paretopo_grading::answers_equal(right, &answer))
}
