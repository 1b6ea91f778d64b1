//! A policy in this process as a generator: a batch of rows that decode together, and draw where
//! their logits are.
//!
//! ```
//! use burn_flex::Flex;
//! use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
//! use paretopo_generation::{
//!     Event, GenerationSettings, Generators, Recorded, Row, SamplingConfig,
//! };
//! use paretopo_models::{AutoFamily, ModelFamily, Placement, initialize};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = AutoFamily::parse(serde_json::json!({
//!         "model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
//!         "rms_norm_eps": 1e-6, "hidden_act": "silu",
//!     }))?;
//!     let place = Placement::<Flex>::plain(Default::default());
//!     let model = AutoFamily::init(&config, &place)?;
//!     let model = initialize::<Flex, _>(model, 0.02, 1);
//!
//!     let generators = LocalGenerators::<Flex, _> {
//!         model: &model,
//!         device: &place.device,
//!         place: SamplingPlace::Host,
//!         state_size: StateSize::default(),
//!     };
//!     let settings = GenerationSettings {
//!         sampling: SamplingConfig::default(),
//!         recorded: Recorded::default(),
//!         end_ids: Vec::new(),
//!         batch_size: 2,
//!         memory: None,
//!     };
//!     let mut generator = generators.open(&settings)?;
//!     let ids: std::sync::Arc<[u32]> = [1, 2, 3].into();
//!     let row = |key| Row { key, ids: ids.clone(), seed: 7, drawn: 0, budget: 5, forbidden: None };
//!     assert_eq!(generator.admit(&[row(0), row(1)])?, 2);
//!
//!     let mut drawn = [Vec::new(), Vec::new()];
//!     while drawn[1].len() < 5 {
//!         for event in generator.step()? {
//!             let Event::Drawn(token) = event else { panic!("{event:?}") };
//!             // small random weights leave all 16 tokens about as likely: ln(1 / 16)
//!             assert!((token.logprob + 16f32.ln()).abs() < 0.1);
//!             drawn[token.row].push(token.id);
//!         }
//!     }
//!     // what a row draws follows from its ids and its seed
//!     assert_eq!(drawn[0], drawn[1]);
//!     // the prompt, which both share, is read once; of five drawn tokens nobody needs the last
//!     assert_eq!(generator.statistics().tokens_read, 3 + 2 * 4);
//!     Ok(())
//! }
//! ```
//!
//! [`Engine`] turns tokens into logits for many sequences at once, with continuous batching: rows
//! join, leave and are extended between steps. [`LocalGenerator`] draws from these logits where
//! they are: on the device by a few operations over all rows ([`draw_on_device`]), on a CPU row by
//! row. Both run on backends without autodiff, so the type system keeps them free of graphs.

mod batch;
mod device_sampling;
mod local;
mod read_back;
mod rows;
mod untaken_experts;

pub use batch::Engine;
pub use device_sampling::{DeviceDraw, draw_on_device};
pub use local::{LocalGenerator, LocalGenerators, SamplingPlace, StateSize};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
