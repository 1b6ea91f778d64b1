//! Whether tokens are drawn on a backend's device as on the host, and what crosses the bus for
//! them.

use burn::tensor::backend::Backend;
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{
    Drawn, Event, GenerationError, GenerationSettings, Generators, Recorded, Row, SamplingConfig,
};
use paretopo_models::CausalLm;
use paretopo_settings::{RepetitionPenalty, Share, Temperature, TopP};

/// Rows that decode together.
const ROWS: usize = 6;
/// Tokens that each draws.
const TOKENS: usize = 12;
/// Bytes of a drawn token: its id, two log-probabilities, and two numbers that say whether its
/// logits are sound.
pub(crate) const BYTES: f64 = 20.0;

/// What was found.
pub(crate) struct Found {
    /// The share of tokens that are others on the device.
    pub(crate) differing: f64,
    /// The largest difference of their log-probabilities.
    pub(crate) apart: f64,
    /// Bytes that came from the device for each token.
    pub(crate) bytes: f64,
    /// Bytes that a late step sends to the device beyond those of an early one: what is sent must
    /// not grow with what a row holds. A penalty sends the ids of all rows, and is left out.
    pub(crate) sent_again: f64,
}

/// Draws with every setting of the sampling, in both places.
pub(crate) fn compare<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    device: &B::Device,
) -> Result<Found, GenerationError> {
    let tempered = SamplingConfig {
        temperature: const { Temperature::literal(0.7) },
        ..SamplingConfig::default()
    };
    let settings = [
        SamplingConfig::default(),
        SamplingConfig { top_k: 5, ..tempered },
        SamplingConfig { top_p: const { TopP::literal(0.8) }, ..tempered },
        SamplingConfig { min_p: const { Share::literal(0.1) }, ..tempered },
        SamplingConfig {
            repetition_penalty: const { RepetitionPenalty::literal(1.5) },
            ..tempered
        },
    ];
    let mut found = Found { differing: 0.0, apart: 0.0, bytes: 0.0, sent_again: 0.0 };
    for sampling in settings {
        let draw = |place| draw(model, ids, device, place, sampling);
        let (here, _) = draw(SamplingPlace::Host)?;
        let (there, crossed) = draw(SamplingPlace::Device)?;
        let pairs = || here.iter().zip(&there);
        let differing = pairs().filter(|(a, b)| a.id != b.id).count();
        found.differing += differing as f64 / (here.len() * settings.len()) as f64;
        for (a, b) in pairs().filter(|(a, b)| a.id == b.id) {
            let apart = (a.logprob - b.logprob).abs();
            let apart = apart.max((a.sampling_logprob - b.sampling_logprob).abs());
            found.apart = found.apart.max(f64::from(apart));
        }
        found.bytes = found.bytes.max(crossed.to_host as f64 / there.len() as f64);
        if sampling.repetition_penalty.get() == 1.0 {
            let again = crossed.sent_late.saturating_sub(crossed.sent_early) as f64;
            found.sent_again = found.sent_again.max(again);
        }
    }
    Ok(found)
}

/// Bytes over the bus.
#[derive(Default)]
struct Crossed {
    /// From the device, for all tokens.
    to_host: u64,
    /// To the device, in the fourth step: the batch was composed in the first, whose mask is sent
    /// in the second.
    sent_early: u64,
    /// To the device, in the last step.
    sent_late: u64,
}

/// All tokens, row by row, and the bytes that crossed the bus.
fn draw<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    device: &B::Device,
    place: SamplingPlace,
    sampling: SamplingConfig,
) -> Result<(Vec<Drawn>, Crossed), GenerationError> {
    let generators = LocalGenerators { model, device, place, state_size: StateSize::default() };
    let settings = GenerationSettings {
        sampling,
        recorded: Recorded::default(),
        end_ids: Vec::new(),
        batch_size: ROWS,
        memory: None,
    };
    let mut generator = generators.open(&settings)?;
    let row = |key: usize| Row {
        key,
        ids: ids[..3 + key % ids.len().saturating_sub(3)].into(),
        seed: key as u64,
        drawn: 0,
        budget: TOKENS,
        forbidden: None,
    };
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    generator.admit(&rows)?;
    let mut drawn = Vec::with_capacity(ROWS * TOKENS);
    let mut crossed = Crossed::default();
    while drawn.len() < ROWS * TOKENS {
        let before = generator.statistics().bytes_to_device;
        for event in generator.step()? {
            match event {
                Event::Drawn(token) => drawn.push(token),
                Event::Failed { reason, .. } => return Err(GenerationError::Lost(reason)),
            }
        }
        crossed.sent_late = generator.statistics().bytes_to_device - before;
        if drawn.len() == 4 * ROWS {
            crossed.sent_early = crossed.sent_late;
        }
    }
    crossed.to_host = generator.statistics().bytes_to_host;
    drawn.sort_by_key(|token| token.row);
    Ok((drawn, crossed))
}
