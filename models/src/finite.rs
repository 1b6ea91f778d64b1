//! Whether numbers are numbers: of parameters and moments, by one sum over all of them, and of what a
//! forward pass makes of them.
//!
//! A sum is not finite as soon as one of its terms is not, so a single number, read back once, says
//! that all are well. Only when it does not is each tensor looked at, value by value: a sum of many
//! sound numbers may overflow, too, and is no fault.
//!
//! Parameters are looked at by their norm: beyond the root of the largest f32, 1.8e19, squares
//! overflow, so that norm layers turn whatever they are given into zeros. Such a policy is as broken
//! as one that holds NaN, though its logits are finite.

use crate::parameters::Path;
use crate::{CausalLm, ForwardInput, to_host};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};
use std::fmt::{Display, Formatter};

/// A tensor with a value that is no number, infinite, or too large to be squared.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// The tensor's name.
    pub tensor: String,
    /// The first such value.
    pub value: f32,
}

impl Display for NotFinite {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { tensor, value } = self;
        let fault =
            if value.is_finite() { "whose square overflows" } else { "not a finite number" };
        write!(formatter, "`{tensor}` holds {value:e}, {fault}")
    }
}

/// The first value that is not finite.
pub fn first_not_finite(values: &[f32]) -> Option<f32> {
    values.iter().copied().find(|value| !value.is_finite())
}

/// The first value that no parameter may have: not finite, or beyond 1.8e19 (its square is not
/// finite).
pub fn first_bad_parameter(values: &[f32]) -> Option<f32> {
    values.iter().copied().find(|value| !(value * value).is_finite())
}

/// The first of some named parameters with a value that none may have, or of some named moments with
/// one that is not finite; waits for the device once if there is none.
pub fn find_not_finite<B: Backend>(
    parameters: Vec<(String, Tensor<B, 1>)>,
    moments: Vec<(String, Tensor<B, 1>)>,
) -> Option<NotFinite> {
    // half precisions would overflow
    let in_f32 = |tensor: &Tensor<B, 1>| match tensor.dtype() {
        DType::F32 => tensor.clone(),
        _ => tensor.clone().cast(FloatDType::F32),
    };
    let squares = parameters.iter().map(|(_, tensor)| in_f32(tensor).square().sum());
    let sums = moments.iter().map(|(_, tensor)| in_f32(tensor).sum());
    let total = squares.chain(sums).reduce(|total, sum| total + sum)?;
    if to_host(total)[0].is_finite() {
        return None;
    }
    let look = |tensors: Vec<(String, Tensor<B, 1>)>, first: fn(&[f32]) -> Option<f32>| {
        tensors.into_iter().find_map(|(tensor, values)| {
            first(&to_host(values)).map(|value| NotFinite { tensor, value })
        })
    };
    look(parameters, first_bad_parameter).or_else(|| look(moments, first_not_finite))
}

/// The parameters for whose key and place in the order of fields `wanted` holds, flat and outside of
/// any graph.
pub fn flat_parameters<B: Backend, M: Module<B>>(
    model: &M,
    wanted: impl Fn(&str, usize) -> bool,
) -> Vec<(String, Tensor<B, 1>)> {
    struct Collect<B: Backend, F> {
        path: Path,
        index: usize,
        wanted: F,
        found: Vec<(String, Tensor<B, 1>)>,
    }
    impl<B: Backend, F: Fn(&str, usize) -> bool> ModuleVisitor<B> for Collect<B, F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let key = self.path.key();
            if (self.wanted)(&key, self.index) {
                self.found.push((key, param.val().detach().flatten(0, D - 1)));
            }
            self.index += 1;
        }
    }
    let mut collect = Collect { path: Path::default(), index: 0, wanted, found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// The first module whose output is not finite when the model reads `ids`, or too large to be squared
/// by the norm behind it; by its key in a checkpoint. `None` if all outputs are sound.
pub fn first_overflow<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    device: &B::Device,
) -> Option<String> {
    let is_bad = |x: &Tensor<B, 2>| first_bad_parameter(&to_host(x.clone())).is_some();
    let input = ForwardInput::right_padded(&[ids], device);
    let layout = model.layout(&input);
    let mut x = model.embed(&input);
    if is_bad(&x) {
        return Some("model.embed_tokens".into());
    }
    for index in 0..model.depth() {
        x = model.layer(index, x, &layout, None);
        if is_bad(&x) {
            return Some(format!("model.layers.{index}"));
        }
    }
    let x = model.final_norm(x);
    if first_not_finite(&to_host(x.clone())).is_some() {
        return Some("model.norm".into());
    }
    let [time, hidden_size] = x.dims();
    let logits = model.unembed(x.reshape([1, time, hidden_size]));
    first_not_finite(&to_host(logits)).map(|_| "lm_head".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{DecoderConfig, Differences};
    use crate::{Placement, initialize};

    type B = burn_flex::Flex;

    fn named(values: &[f32]) -> (String, Tensor<B, 1>) {
        let tensor = Tensor::from_floats(values, &Default::default());
        (format!("{}", values.len()), tensor)
    }

    #[test]
    fn one_bad_value_is_found_and_large_sums_are_no_fault() {
        let good = || named(&[1.0, -2.0]);
        let parameters = |tensors| find_not_finite::<B>(tensors, Vec::new());
        let moments = |tensors| find_not_finite::<B>(vec![good()], tensors);
        assert_eq!(parameters(Vec::new()), None);
        assert_eq!(parameters(vec![good(), named(&[0.0, f32::MIN_POSITIVE, 3.0])]), None);
        // 3e38 + 3e38 is beyond the largest f32, 3.4e38; so is the sum over tensors
        assert_eq!(moments(vec![named(&[3e38, 3e38, 0.0])]), None);
        assert_eq!(moments(vec![named(&[3e38]), named(&[3e38, 0.0])]), None);
        // 1.8e19^2 = 3.24e38 is finite, but not five times that; 1.9e19^2 = 3.61e38 is not
        assert_eq!(parameters(vec![named(&[1.8e19, -1.8e19, 1.8e19, 1.8e19, 1.8e19])]), None);
        let large = parameters(vec![good(), named(&[0.0, -1.9e19, 0.0])]).unwrap();
        assert_eq!(large.to_string(), "`3` holds -1.9e19, whose square overflows");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for find in [&parameters as &dyn Fn(_) -> _, &moments] {
                let found: NotFinite = find(vec![good(), named(&[0.0, bad, 3e18])]).unwrap();
                assert_eq!(found.tensor, "3");
                assert_eq!(found.value.to_bits(), bad.to_bits());
            }
        }
        // infinities of both signs do not cancel
        let both = vec![named(&[f32::INFINITY]), named(&[f32::NEG_INFINITY, 0.0])];
        assert_eq!(moments(both).unwrap().tensor, "1");
        let message = |value| NotFinite { tensor: "w".into(), value }.to_string();
        assert_eq!(message(f32::NEG_INFINITY), "`w` holds -inf, not a finite number");
        assert_eq!(message(f32::NAN), "`w` holds NaN, not a finite number");
    }

    #[test]
    fn half_precisions_are_summed_in_f32() {
        // 65504 is the largest f16; the sum of two, and its square, are no fault
        let tensor = Tensor::<B, 1>::from_floats([65504.0, 65504.0], &Default::default());
        let half = vec![("w".to_owned(), tensor.cast(FloatDType::F16))];
        assert_eq!(find_not_finite(half.clone(), half), None);
    }

    #[test]
    fn the_first_module_that_overflows_is_named() {
        let config: DecoderConfig = serde_json::from_value(serde_json::json!({
            "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16,
            "rms_norm_eps": 1e-6, "tie_word_embeddings": false
        }))
        .unwrap();
        let device = Default::default();
        let differences = Differences { query_key_value_bias: true, ..Differences::default() };
        let place = Placement::<B>::plain(device);
        let model = |std: f32| initialize(config.init(differences, &place).unwrap(), std, 1);
        assert_eq!(first_overflow(&model(0.02), &[1, 2, 3], &device), None);
        // weights of 1e15 are sound numbers, but layers multiply two of them and square the product;
        // the norms then make zeros of it, and the logits are finite
        let large = flat_parameters(&model(1e15), |_, _| true);
        assert_eq!(find_not_finite(large, Vec::new()), None);
        let place = first_overflow(&model(1e15), &[1, 2, 3], &device);
        assert_eq!(place.as_deref(), Some("model.layers.0"));
        let input = ForwardInput::right_padded(&[&[1, 2, 3]], &device);
        let large = model(1e15);
        assert!(
            to_host(large.unembed(large.hidden(&input, None))).iter().all(|logit| *logit == 0.0)
        );
    }
}
