//! Two families as one, so that a program has architectures of its own and the shipped ones:
//! `OneOf<MyFamily, AutoFamily>`. More are nested, `OneOf<Mine, OneOf<Yours, AutoFamily>>`.

use crate::family::{ModelConfig, ModelFamily, Placement, check_model_type};
use crate::layers::Projection;
use crate::{
    CausalLm, DecodingState, ExpertCounts, Footprint, ForwardInput, Kernels, LayerState, LinearMap,
    PackedWeights,
};
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;

/// The models of `First`, and those of `Second`.
///
/// A `config.json` belongs to `First` if its `model_type` is among [`ModelFamily::model_types`] of
/// `First`, which must name some, and else to `Second`.
#[derive(Clone, Copy, Debug)]
pub struct OneOf<First, Second>(PhantomData<(First, Second)>);

/// A configuration of one of two families.
#[derive(Clone, Debug)]
pub enum OneOfConfig<First: ModelFamily, Second: ModelFamily> {
    /// Of the first.
    First(First::Config),
    /// Of the second.
    Second(Second::Config),
}

/// A model, a layer's state or a layout of one of two families; what a layer of one of two kinds
/// remembers ([`crate::layers::DecoderState`]).
#[derive(Clone, Debug)]
pub enum Either<First, Second> {
    /// Of the first.
    First(First),
    /// Of the second.
    Second(Second),
}

/// The same expression for what either variant holds.
macro_rules! of_either {
    ($either:expr, $held:ident => $value:expr) => {
        match $either {
            Either::First($held) => $value,
            Either::Second($held) => $value,
        }
    };
}

/// The same function of what either variant holds, whose value is of the same variant.
macro_rules! map_either {
    ($either:expr, $held:ident => $value:expr) => {
        match $either {
            Either::First($held) => Either::First($value),
            Either::Second($held) => Either::Second($value),
        }
    };
}

/// What is of another variant than the model that it was given to.
const MIXED: &str = "a model is given its own states and layouts";

impl<First: ModelFamily, Second: ModelFamily> ModelFamily for OneOf<First, Second> {
    type Config = OneOfConfig<First, Second>;
    type Model<B: Backend> = Either<First::Model<B>, Second::Model<B>>;

    fn model_types() -> Vec<&'static str> {
        [First::model_types(), Second::model_types()].concat()
    }

    fn parse(value: serde_json::Value) -> Result<Self::Config, String> {
        let first = First::model_types();
        if first.is_empty() {
            return Err(format!(
                "`{}` names no `model_type`, so that none of its models can be meant\nhint: implement its `model_types`, or put it last in `OneOf`",
                std::any::type_name::<First>()
            ));
        }
        let given = value.get("model_type").and_then(|name| name.as_str());
        if given.is_some_and(|name| first.contains(&name)) {
            return First::parse(value).map(OneOfConfig::First);
        }
        // the error names the types of both
        if !Second::model_types().is_empty() {
            check_model_type(&value, &Self::model_types())?;
        }
        Second::parse(value).map(OneOfConfig::Second)
    }

    fn init<B: Backend>(
        config: &Self::Config,
        place: &Placement<B>,
    ) -> Result<Self::Model<B>, String> {
        match config {
            OneOfConfig::First(config) => First::init(config, place).map(Either::First),
            OneOfConfig::Second(config) => Second::init(config, place).map(Either::Second),
        }
    }

    fn valid<B: AutodiffBackend>(model: &Self::Model<B>) -> Self::Model<B::InnerBackend> {
        match model {
            Either::First(model) => Either::First(First::valid(model)),
            Either::Second(model) => Either::Second(Second::valid(model)),
        }
    }
}

impl<First: ModelFamily, Second: ModelFamily> PartialEq for OneOfConfig<First, Second> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::First(config), Self::First(other)) => config == other,
            (Self::Second(config), Self::Second(other)) => config == other,
            _ => false,
        }
    }
}

impl<First: ModelFamily, Second: ModelFamily> Serialize for OneOfConfig<First, Second> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::First(config) => config.serialize(serializer),
            Self::Second(config) => config.serialize(serializer),
        }
    }
}

impl<'de, First: ModelFamily, Second: ModelFamily> Deserialize<'de> for OneOfConfig<First, Second> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        OneOf::<First, Second>::parse(value).map_err(serde::de::Error::custom)
    }
}

/// A method of [`ModelConfig`] that either configuration answers.
macro_rules! ask_config {
    ($($method:ident -> $answer:ty;)+) => {
        $(fn $method(&self) -> $answer {
            match self {
                Self::First(config) => config.$method(),
                Self::Second(config) => config.$method(),
            }
        })+
    };
}

impl<First: ModelFamily, Second: ModelFamily> ModelConfig for OneOfConfig<First, Second> {
    ask_config! {
        check -> Result<(), String>;
        vocab_size -> usize;
        context -> usize;
        initializer_range -> f32;
        class_name -> &'static str;
        footprint -> Footprint;
        linear_maps -> Box<dyn Iterator<Item = LinearMap> + '_>;
    }

    fn is_superfluous(&self, tensor: &str) -> bool {
        match self {
            Self::First(config) => config.is_superfluous(tensor),
            Self::Second(config) => config.is_superfluous(tensor),
        }
    }

    fn other_name(&self, key: &str) -> Option<String> {
        match self {
            Self::First(config) => config.other_name(key),
            Self::Second(config) => config.other_name(key),
        }
    }
}

/// The parameters have the keys that they have without it.
impl<B: Backend, First: Module<B>, Second: Module<B>> Module<B> for Either<First, Second> {
    type Record = (Option<First::Record>, Option<Second::Record>);

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        of_either!(self, model => model.collect_devices(devices))
    }

    fn fork(self, device: &B::Device) -> Self {
        map_either!(self, model => model.fork(device))
    }

    fn to_device(self, device: &B::Device) -> Self {
        map_either!(self, model => model.to_device(device))
    }

    fn visit<Visitor: ModuleVisitor<B>>(&self, visitor: &mut Visitor) {
        of_either!(self, model => model.visit(visitor))
    }

    fn map<Mapper: ModuleMapper<B>>(self, mapper: &mut Mapper) -> Self {
        map_either!(self, model => model.map(mapper))
    }

    /// # Panics
    /// When the record is that of a model of the other family, as burn's own enums do.
    fn load_record(self, record: Self::Record) -> Self {
        match (self, record) {
            (Self::First(model), (Some(record), None)) => Self::First(model.load_record(record)),
            (Self::Second(model), (None, Some(record))) => Self::Second(model.load_record(record)),
            _ => panic!("the record is that of a model of another family"),
        }
    }

    fn into_record(self) -> Self::Record {
        match self {
            Self::First(model) => (Some(model.into_record()), None),
            Self::Second(model) => (None, Some(model.into_record())),
        }
    }
}

impl<B: Backend, First: LayerState<B>, Second: LayerState<B>> LayerState<B>
    for Either<First, Second>
{
    fn select(self, rows: &[usize]) -> Self {
        map_either!(self, state => state.select(rows))
    }

    fn merge(self, below: Self) -> Self {
        match (self, below) {
            (Self::First(state), Self::First(below)) => Self::First(state.merge(below)),
            (Self::Second(state), Self::Second(below)) => Self::Second(state.merge(below)),
            _ => unreachable!("{MIXED}"),
        }
    }

    fn pad_front(self, columns: usize) -> Self {
        map_either!(self, state => state.pad_front(columns))
    }

    fn trim_front(self, columns: usize) -> Self {
        map_either!(self, state => state.trim_front(columns))
    }

    fn has_columns(&self) -> bool {
        of_either!(self, state => state.has_columns())
    }

    fn window(&self) -> Option<usize> {
        of_either!(self, state => state.window())
    }

    fn bytes(&self) -> usize {
        of_either!(self, state => state.bytes())
    }
}

impl<B: Backend, First: CausalLm<B>, Second: CausalLm<B>> CausalLm<B> for Either<First, Second> {
    type State = Either<First::State, Second::State>;
    type Layout = Either<First::Layout, Second::Layout>;

    fn kernels(&self) -> &Kernels {
        of_either!(self, model => model.kernels())
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, Self::State> {
        match self {
            Self::First(model) => model.empty_state(rows).map(Either::First),
            Self::Second(model) => model.empty_state(rows).map(Either::Second),
        }
    }

    fn layout(&self, input: &ForwardInput<B>) -> Self::Layout {
        map_either!(self, model => model.layout(input))
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        of_either!(self, model => model.embed(input))
    }

    fn depth(&self) -> usize {
        of_either!(self, model => model.depth())
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &Self::Layout,
        state: Option<&mut Self::State>,
    ) -> Tensor<B, 2> {
        match (self, layout, state) {
            (Self::First(model), Either::First(layout), None) => {
                model.layer(index, x, layout, None)
            }
            (Self::First(model), Either::First(layout), Some(Either::First(state))) => {
                model.layer(index, x, layout, Some(state))
            }
            (Self::Second(model), Either::Second(layout), None) => {
                model.layer(index, x, layout, None)
            }
            (Self::Second(model), Either::Second(layout), Some(Either::Second(state))) => {
                model.layer(index, x, layout, Some(state))
            }
            _ => unreachable!("{MIXED}"),
        }
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        of_either!(self, model => model.final_norm(x))
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        of_either!(self, model => model.projections_mut())
    }

    fn experts(&self) -> Option<ExpertCounts> {
        of_either!(self, model => model.experts())
    }

    fn pack(&mut self, weights: PackedWeights) {
        of_either!(self, model => model.pack(weights))
    }

    fn packed_bytes(&mut self) -> usize {
        of_either!(self, model => model.packed_bytes())
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        of_either!(self, model => model.unembed(hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AutoConfig, AutoFamily, AutoModel, initialize, named_parameters, to_host};
    use burn::backend::Autodiff;
    use burn::module::AutodiffModule;

    type Plain = burn_flex::Flex;

    /// Llama alone.
    #[derive(Clone, Copy, Debug)]
    struct Llama;

    impl ModelFamily for Llama {
        type Config = AutoConfig;
        type Model<B: Backend> = AutoModel<B>;

        fn model_types() -> Vec<&'static str> {
            vec!["llama"]
        }

        fn init<B: Backend>(
            config: &AutoConfig,
            place: &Placement<B>,
        ) -> Result<AutoModel<B>, String> {
            AutoFamily::init(config, place)
        }

        fn valid<B: AutodiffBackend>(model: &AutoModel<B>) -> AutoModel<B::InnerBackend> {
            model.valid()
        }
    }

    type Both = OneOf<Llama, AutoFamily>;

    fn settings(model_type: &str) -> serde_json::Value {
        serde_json::json!({
            "model_type": model_type, "vocab_size": 20, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32
        })
    }

    #[test]
    fn the_model_type_says_whose_it_is() {
        let llama = Both::parse(settings("llama")).unwrap();
        let qwen = Both::parse(settings("qwen2")).unwrap();
        assert!(matches!((&llama, &qwen), (OneOfConfig::First(_), OneOfConfig::Second(_))));
        assert_ne!(llama, qwen);
        assert_eq!(
            (llama.class_name(), qwen.class_name()),
            ("LlamaForCausalLM", "Qwen2ForCausalLM")
        );
        // what is written is what was read
        let again = serde_json::to_value(&qwen).unwrap();
        assert_eq!(again["model_type"], "qwen2");
        assert_eq!(serde_json::from_value::<OneOfConfig<Llama, AutoFamily>>(again).unwrap(), qwen);
        let error = Both::parse(settings("gemma")).unwrap_err();
        assert!(error.contains("`gemma`") && error.contains("llama") && error.contains("qwen3"));
        let error = OneOf::<OneOf<Llama, Llama>, Llama>::parse(settings("qwen3")).unwrap_err();
        assert!(error.contains("`qwen3` is not supported (supported: `llama`"), "{error}");
    }

    #[test]
    fn models_compute_what_they_compute_alone() {
        let place = Placement::<Autodiff<Plain>>::plain(Default::default());
        for model_type in ["llama", "qwen3"] {
            let config = Both::parse(settings(model_type)).unwrap();
            let tracked = initialize(Both::init(&config, &place).unwrap(), 0.3, 5);
            let mut model = Both::valid(&tracked);
            let alone = AutoFamily::parse(settings(model_type)).unwrap();
            let alone = AutoFamily::init(&alone, &place.inner()).unwrap();
            let alone = initialize(alone, 0.3, 5);
            assert_eq!(named_parameters(&model), named_parameters(&alone));
            let maps: Vec<String> = config.linear_maps().map(|map| map.key).collect();
            let held = model.projections_mut().into_iter().map(|(key, _)| key);
            assert!(held.eq(maps));

            let input = ForwardInput::right_padded(&[&[3, 1, 4, 1, 5]], &place.device);
            let want = to_host(alone.unembed(alone.hidden(&input, None)));
            assert_eq!(to_host(model.unembed(model.hidden(&input, None))), want);
            // with a state, row by row: one that is behind another, and one that is taken out
            let mut state = model.empty_state(1);
            let first = ForwardInput::cached(&[&[3, 1]], &mut state, &place.device);
            model.hidden(&first, Some(&mut state));
            let mut state = model.empty_state(1).merge(state).select(&[1]).trim();
            assert_eq!((state.rows(), state.columns()), (1, 2));
            let rest = ForwardInput::cached(&[&[4, 1, 5]], &mut state, &place.device);
            let hidden = model.hidden(&rest, Some(&mut state));
            let got = to_host(model.unembed(hidden));
            let close = |(got, want): (&f32, &f32)| (got - want).abs() < 1e-5;
            assert!(got.iter().zip(&want[2 * 20..]).all(close), "{model_type}");
        }
    }
}
