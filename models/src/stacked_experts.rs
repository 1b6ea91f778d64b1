//! Checkpoints that hold all experts of a layer in one tensor, as transformers 5 has them in memory:
//!
//! | stacked | rows of expert `e` | tensor of its own |
//! |---|---|---|
//! | `experts.gate_up_proj`, `[E, 2 I, H]` | the first `I` | `experts.e.gate_proj.weight`, `[I, H]` |
//! | | the last `I` | `experts.e.up_proj.weight`, `[I, H]` |
//! | `experts.down_proj`, `[E, H, I]` | all | `experts.e.down_proj.weight`, `[H, I]` |
//!
//! transformers writes the right column, which is what is written here, too.

/// A part of a stacked tensor.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    /// The stacked tensor's name.
    pub(crate) of: String,
    /// Shape of the part.
    pub(crate) shape: Vec<usize>,
    /// Rows of all experts in front of it.
    first: usize,
}

impl Part {
    /// Its bytes among those of the stacked tensor, which has this shape.
    pub(crate) fn bytes<'a>(&self, all: &'a [u8], shape: &[usize]) -> &'a [u8] {
        let row = all.len() / (shape[0] * shape[1]).max(1);
        &all[self.first * row..(self.first + self.shape[0]) * row]
    }
}

/// The tensors that a stacked one holds; none if it is not one.
pub(crate) fn parts(name: &str, shape: &[usize]) -> Vec<(String, Part)> {
    let [experts, rows, columns] = *shape else { return Vec::new() };
    let names: &[&str] = match name.rsplit_once(".experts.") {
        Some((_, "gate_up_proj")) if rows.is_multiple_of(2) => &["gate_proj", "up_proj"],
        Some((_, "down_proj")) => &["down_proj"],
        _ => return Vec::new(),
    };
    let front = &name[..name.len() - name.rsplit('.').next().map_or(0, str::len)];
    let part = |expert: usize, place: usize| {
        let height = rows / names.len();
        let shape = vec![height, columns];
        let part = Part { of: name.to_owned(), shape, first: expert * rows + place * height };
        (format!("{front}{expert}.{}.weight", names[place]), part)
    };
    (0..experts).flat_map(|expert| (0..names.len()).map(move |place| part(expert, place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stacked_tensor_is_the_tensors_of_its_experts() {
        // two experts of four rows of three bytes
        let shape = [2, 4, 3];
        let bytes: Vec<u8> = (0..24).collect();
        let found = parts("model.layers.1.mlp.experts.gate_up_proj", &shape);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let layer = "model.layers.1.mlp.experts";
        let wanted = ["0.gate_proj", "0.up_proj", "1.gate_proj", "1.up_proj"];
        assert_eq!(names, wanted.map(|name| format!("{layer}.{name}.weight")));
        // the second expert begins in row 4, its upper half in row 6
        let up = &found[3].1;
        assert_eq!(up.shape, [2, 3]);
        assert_eq!(up.bytes(&bytes, &shape), [18, 19, 20, 21, 22, 23]);
        let down = parts("model.layers.1.mlp.experts.down_proj", &shape);
        assert_eq!(down.len(), 2);
        assert_eq!(down[1].0, format!("{layer}.1.down_proj.weight"));
        assert_eq!(down[1].1.bytes(&bytes, &shape), &bytes[12..]);
        for (name, shape) in [
            ("model.layers.1.mlp.gate_up_proj", &[2, 4, 3][..]),
            ("model.layers.1.mlp.experts.0.down_proj.weight", &[4, 3]),
            ("model.layers.1.mlp.experts.gate_up_proj", &[2, 5, 3]),
        ] {
            assert_eq!(parts(name, shape), []);
        }
    }
}
