//! Layers that look at a window of the newest tokens, as `layer_types` and `sliding_window` of a
//! `config.json` name them, and rotations that differ with it.

use super::{DecoderConfig, RopeParameters, RotaryEmbedding};

const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];

/// Whether the layer of that number has a window; `usual` answers without a list.
pub(crate) fn is_sliding(
    layer_types: Option<&[String]>,
    layer: usize,
    usual: impl FnOnce() -> bool,
) -> bool {
    match layer_types {
        Some(kinds) => kinds.get(layer).is_some_and(|kind| kind == KINDS[1]),
        None => usual(),
    }
}

/// # Errors
/// When the list is not `full_attention` or `sliding_attention` for each layer.
pub(crate) fn check_layer_types(
    layer_types: Option<&[String]>,
    count: usize,
) -> Result<(), String> {
    check_kinds(KINDS, layer_types, count)
}

/// # Errors
/// When the list is not one of two kinds for each layer.
pub(crate) fn check_kinds(
    known: [&str; 2],
    layer_types: Option<&[String]>,
    count: usize,
) -> Result<(), String> {
    let Some(kinds) = layer_types else { return Ok(()) };
    if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(format!(
            "`layer_types` has `{kind}`, which is not supported (`{}` and `{}` are)",
            known[0], known[1]
        ));
    }
    if kinds.len() != count {
        return Err(format!("`layer_types` has {} entries for {count} layers", kinds.len()));
    }
    Ok(())
}

/// # Errors
/// When a token would not see itself.
pub(crate) fn check_window(sliding_window: Option<usize>) -> Result<(), String> {
    match sliding_window {
        Some(0) => Err("`sliding_window` must be at least 1, or null, not 0".into()),
        _ => Ok(()),
    }
}

/// Whether windows are told as an architecture needs them that has both kinds of layers.
///
/// # Errors
/// When `layer_types` is malformed, or a layer that slides has no window.
pub(crate) fn check_windows(
    layer_types: Option<&[String]>,
    sliding_window: Option<usize>,
    count: usize,
    slides: impl Fn(usize) -> bool,
) -> Result<(), String> {
    check_window(sliding_window)?;
    check_layer_types(layer_types, count)?;
    if sliding_window.is_none() && (0..count).any(slides) {
        return Err("`layer_types` has `sliding_attention`, which needs `sliding_window`".into());
    }
    Ok(())
}

/// How a kind of layers turns queries and keys.
pub(crate) struct RotaryKind<'a> {
    /// Its name in `layer_types` and `rope_parameters`.
    pub(crate) name: &'static str,
    /// Its scaling before transformers 5.
    pub(crate) scaling: Option<&'a RopeParameters>,
    /// Where its base stood before transformers 5, and what it is there.
    pub(crate) old_theta: (&'static str, Option<f64>),
    /// The base when none is given.
    pub(crate) default: f64,
}

impl DecoderConfig {
    /// The rotation of a kind of layers: `rope_parameters` has a table for each, and before
    /// transformers 5 its settings stood at the top level.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    pub(crate) fn rotary_of(&self, kind: RotaryKind<'_>) -> Result<RotaryEmbedding, String> {
        let within = |reason: String| format!("`rope_parameters` of `{}`: {reason}", kind.name);
        let table = self.table_of(kind.name)?;
        if table.as_ref().is_some_and(|table| table.truncate == Some(false)) {
            return Err(within("`truncate` must be true, as transformers takes it to be".into()));
        }
        let in_context = |table: RopeParameters| self.in_context(table).map_err(within);
        let table = table.map(in_context).transpose()?;
        let scaling = kind.scaling.cloned().map(in_context).transpose()?;
        if let (Some(new), Some(old)) = (&table, &scaling)
            && !new.scales_as(old).map_err(within)?
        {
            return Err(within(
                "`rope_scaling` contradicts it\nhint: keep the one that the model was trained with"
                    .into(),
            ));
        }
        let (old_name, old_theta) = kind.old_theta;
        let new_theta = table.as_ref().and_then(|table| table.rope_theta);
        if let (Some(new), Some(old)) = (new_theta, old_theta)
            && new != old
        {
            return Err(within(format!(
                "`rope_theta` is {new}, but `{old_name}` is {old}\nhint: keep the one that the model was trained with"
            )));
        }
        let theta = new_theta.or(old_theta).unwrap_or(kind.default);
        let (_, head_dim) = self.heads();
        let rope = table.or(scaling).unwrap_or_default();
        RotaryEmbedding::new(head_dim, theta, &rope).map_err(within)
    }

    /// The table of a kind of layers in `rope_parameters`.
    fn table_of(&self, kind: &str) -> Result<Option<RopeParameters>, String> {
        let Some(rope) = &self.rope_parameters else { return Ok(None) };
        let tables = RopeParameters { other: rope.other.clone(), ..RopeParameters::default() };
        let other = rope.other.keys().find(|name| !KINDS.contains(&name.as_str()));
        if *rope != tables || other.is_some() {
            return Err(format!(
                "`rope_parameters` must have a table for `{}` and one for `{}` and nothing else",
                KINDS[0], KINDS[1]
            ));
        }
        let table = rope.other.get(kind).filter(|table| !table.is_null());
        let read = |table: &serde_json::Value| serde_json::from_value(table.clone());
        table
            .map(read)
            .transpose()
            .map_err(|error| format!("`rope_parameters` of `{kind}`: {error}"))
    }
}
