//! Whether tokens are drawn on a backend's device as on the host, and what crosses the bus for them.

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
/// Bytes of a drawn token: its id, two log-probabilities, and two numbers that say whether its logits
/// are sound.
pub(crate) const BYTES: f64 = 20.0;

/// What was found.
pub(crate) struct Found {
    /// The share of tokens that are others on the device.
    pub(crate) differing: f64,
    /// The largest difference of their log-probabilities.
    pub(crate) apart: f64,
    /// Bytes that came from the device for each token.
    pub(crate) bytes: f64,
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
    let mut found = Found { differing: 0.0, apart: 0.0, bytes: 0.0 };
    for sampling in settings {
        let draw = |place| draw(model, ids, device, place, sampling);
        let (here, _) = draw(SamplingPlace::Host)?;
        let (there, bytes) = draw(SamplingPlace::Device)?;
        let pairs = || here.iter().zip(&there);
        let differing = pairs().filter(|(a, b)| a.id != b.id).count();
        found.differing += differing as f64 / (here.len() * settings.len()) as f64;
        for (a, b) in pairs().filter(|(a, b)| a.id == b.id) {
            let apart = (a.logprob - b.logprob).abs();
            let apart = apart.max((a.sampling_logprob - b.sampling_logprob).abs());
            found.apart = found.apart.max(f64::from(apart));
        }
        found.bytes = found.bytes.max(bytes as f64 / there.len() as f64);
    }
    Ok(found)
}

/// All tokens, row by row, and the bytes that came to the host.
fn draw<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    device: &B::Device,
    place: SamplingPlace,
    sampling: SamplingConfig,
) -> Result<(Vec<Drawn>, u64), GenerationError> {
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
    };
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    generator.admit(&rows)?;
    let mut drawn = Vec::with_capacity(ROWS * TOKENS);
    while drawn.len() < ROWS * TOKENS {
        for event in generator.step()? {
            match event {
                Event::Drawn(token) => drawn.push(token),
                Event::Failed { reason, .. } => return Err(GenerationError::Lost(reason)),
            }
        }
    }
    drawn.sort_by_key(|token| token.row);
    Ok((drawn, generator.statistics().bytes_to_host))
}
