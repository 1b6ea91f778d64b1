//! Files of conversations as sequences to learn from.

use super::config::ConversationFile;
use super::demonstrations::weigh;
use super::draws::Draws;
use crate::learning::logprobs::{Scoring, logprobs_of};
use crate::{Observer, Policy, RunConfig, TrainingError, TrainingSequence};
use burn::tensor::backend::{AutodiffBackend, Backend};
use paretopo_agent::{Lesson, LongPrompts, PolicyText, Workers};
use paretopo_chat::Conversation;
use paretopo_environments::{BadRows, DataError, file_rows};
use paretopo_models::{CausalLm, ModelConfig, ModelFamily, Placement};
use std::sync::atomic::{AtomicBool, Ordering};

/// Conversations between two signs of life.
const BLOCK: usize = 256;
/// How many are named of those that are left out.
const SHOWN: usize = 5;

/// What is learnt from, and what is held back.
#[derive(Debug)]
pub(super) struct Conversations {
    /// The sequences of each conversation, file by file.
    files: Vec<Vec<Vec<TrainingSequence>>>,
    draws: Draws,
    validation: Vec<TrainingSequence>,
}

/// What is said of conversations that are left out.
#[derive(Debug, Default)]
struct LeftOut {
    bad: Vec<String>,
    /// Where, and how many tokens.
    long: Vec<(String, usize)>,
    /// Where nothing of an assistant is.
    silent: usize,
}

impl Conversations {
    /// Reads and encodes all files.
    ///
    /// # Errors
    /// When a file cannot be read or has nothing to learn from; when a row is no conversation, or
    /// one is longer than the model's context, and that is to stop the run. When it is interrupted.
    pub(super) fn load<F: ModelFamily, B: AutodiffBackend>(
        config: &RunConfig,
        policy: &Policy<F, B>,
        cancelled: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        let mut left_out = LeftOut::default();
        let (mut files, mut validation, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for file in &config.sft.data {
            let mut reading = Reading {
                file,
                text: &policy.text,
                context: policy.config.context(),
                cancelled,
                left_out: &mut left_out,
            };
            let mut found = reading.all(observer)?;
            if found.len() <= file.validation {
                let reason = format!(
                    "{} conversations to learn from, of which {} are held back (`validation`)",
                    found.len(),
                    file.validation
                );
                return Err(TrainingError::Invalid { path: file.path.clone(), reason });
            }
            let held_back = found.split_off(found.len() - file.validation);
            validation.extend(held_back.into_iter().flatten());
            let weight = file.weight.map_or(found.len() as f64, |weight| weight.get());
            weights.push((found.len(), weight));
            files.push(found);
        }
        left_out.say(config.rollout.long_prompts, policy.config.context(), observer)?;
        weigh(&mut validation);
        Ok(Self { files, draws: Draws::new(config.seed, weights), validation })
    }

    /// Passes over what was drawn before.
    pub(super) fn skip(&mut self, count: u64) {
        for _ in 0..count {
            self.draws.next();
        }
    }

    /// The sequences of the next `count` conversations.
    pub(super) fn next(&mut self, count: usize) -> Vec<TrainingSequence> {
        let mut sequences = Vec::with_capacity(count);
        for _ in 0..count {
            let (file, place) = self.draws.next();
            sequences.extend(self.files[file][place].iter().cloned());
        }
        weigh(&mut sequences);
        sequences
    }

    /// Mean cross-entropy, in nats a token, on what is held back; `None` where nothing is.
    pub(super) fn validation_loss<B: Backend, M: CausalLm<B>>(
        &self,
        model: &M,
        config: &RunConfig,
        workers: &Workers,
        place: &Placement<B>,
    ) -> Option<f64> {
        if self.validation.is_empty() {
            return None;
        }
        let precision = config.precision.into();
        let scoring = Scoring { tokens: config.sft.micro_batch_tokens, precision, replay: true };
        let found = logprobs_of(model, &self.validation, scoring, workers, place);
        let all = || found.iter().flatten();
        Some(-all().map(|logprob| f64::from(*logprob)).sum::<f64>() / all().count() as f64)
    }
}

/// A file that is being read.
struct Reading<'a> {
    file: &'a ConversationFile,
    text: &'a PolicyText,
    context: usize,
    cancelled: &'a AtomicBool,
    left_out: &'a mut LeftOut,
}

impl Reading<'_> {
    /// The sequences of each conversation that there is something to learn from.
    fn all(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<TrainingSequence>>, TrainingError> {
        let path = &self.file.path;
        let rows = file_rows(path)?;
        let count = rows.len();
        let mut found = Vec::with_capacity(count);
        for (index, (line, row)) in rows.into_iter().enumerate() {
            if index % BLOCK == 0 {
                if self.cancelled.load(Ordering::Relaxed) {
                    return Err(TrainingError::Interrupted);
                }
                observer.progress("conversations", index, count);
            }
            let lessons = row
                .and_then(|row| Conversation::of_row(&row))
                .and_then(|row| self.text.lessons(&row).map_err(|error| error.to_string()));
            match lessons {
                Ok(lessons) => found.extend(self.fitting(line, lessons)),
                Err(reason) => {
                    let error = DataError::Line { path: path.clone(), line, reason };
                    if self.file.bad_rows == BadRows::Stop {
                        return Err(error.into());
                    }
                    self.left_out.bad.push(error.to_string());
                }
            }
        }
        Ok(found)
    }

    /// The sequences of a conversation, if all of them fit and there is something to learn.
    fn fitting(&mut self, line: usize, lessons: Vec<Lesson>) -> Option<Vec<TrainingSequence>> {
        let longest = lessons.iter().map(|lesson| lesson.ids.len()).max().unwrap_or_default();
        if longest > self.context {
            let place = format!("`{}` line {line}", self.file.path.display());
            self.left_out.long.push((place, longest));
            return None;
        }
        let sequences = lessons.into_iter().filter_map(to_sequence);
        let sequences: Vec<TrainingSequence> = sequences.collect();
        self.left_out.silent += usize::from(sequences.is_empty());
        (!sequences.is_empty()).then_some(sequences)
    }
}

/// A lesson as a sequence, if there is something to learn. The first id has nothing in front of it
/// that would predict it.
fn to_sequence(lesson: Lesson) -> Option<TrainingSequence> {
    let Lesson { ids, mut mask, .. } = lesson;
    if let Some(first) = mask.first_mut() {
        *first = false;
    }
    mask.contains(&true).then(|| TrainingSequence { ids, mask, ..TrainingSequence::default() })
}

impl LeftOut {
    /// Says what was left out.
    ///
    /// # Errors
    /// When a conversation is too long and that is to stop the run.
    fn say(
        &self,
        long_prompts: LongPrompts,
        context: usize,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        for error in self.bad.iter().take(SHOWN) {
            observer.note(&format!("left out: {error}"));
        }
        if self.bad.len() > SHOWN {
            observer.note(&format!("left out: {} bad rows in all", self.bad.len()));
        }
        if self.silent > 0 {
            observer.note(&format!(
                "left out: {} conversations in which the assistant says nothing",
                self.silent
            ));
        }
        let Some(longest) = self.long.iter().map(|(_, tokens)| tokens).max() else {
            return Ok(());
        };
        let named = self.long.iter().take(SHOWN);
        let named: Vec<String> =
            named.map(|(place, tokens)| format!("{place} ({tokens})")).collect();
        let said = format!(
            "{} conversations are longer than the model's context of {context} tokens \
             (`max_position_embeddings`); the longest has {longest}; the first are {}",
            self.long.len(),
            named.join(", ")
        );
        if long_prompts == LongPrompts::Stop {
            return Err(TrainingError::LongPrompts(format!(
                "{said}\nhint: take a policy with a longer context, or leave them out with \
                 `rollout.long_prompts=skip`"
            )));
        }
        observer.note(&format!("left out: {said}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_id_is_not_learnt_and_nothing_alone_is_no_sequence() {
        let lesson = |mask: &[bool]| Lesson {
            ids: (0..mask.len() as u32).collect(),
            mask: mask.to_vec(),
            ..Lesson::default()
        };
        let found = to_sequence(lesson(&[true, false, true])).unwrap();
        assert_eq!((found.ids, found.mask), (vec![0, 1, 2], vec![false, false, true]));
        assert!(
            to_sequence(lesson(&[true, false])).is_none() && to_sequence(lesson(&[])).is_none()
        );
    }
}
