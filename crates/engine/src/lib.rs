//! A policy in this process as a generator.
//!
//! [`Engine`] turns tokens into logits for many sequences at once, with continuous batching: rows
//! join, leave and are extended between steps. [`LocalGenerator`] draws from these logits where they
//! are: on the device by a few operations over all rows ([`draw_on_device`]), on a CPU row by row.
//! Both run on backends without autodiff, so the type system keeps them free of graphs.

mod batch;
mod device_sampling;
mod local;
mod read_back;
mod rows;

pub use batch::Engine;
pub use device_sampling::{DeviceDraw, draw_on_device};
pub use local::{LocalGenerator, LocalGenerators, SamplingPlace, StateSize};
