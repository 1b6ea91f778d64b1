//! The fused operations on slices, in single passes. Loops are written so that the compiler
//! vectorises them; [`paretopo_vectorised::vectorised`] gives it the widest registers that the
//! processor has.

use paretopo_models::AdamWStep;
use paretopo_vectorised::{exp, largest, sum};

/// `1 / (1 + exp(-x))`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let larger = 1.0 / (1.0 + small);
    if x < 0.0 { small * larger } else { larger }
}

/// `y = x w / sqrt(mean(x^2) + eps)`, row by row of `weight.len()`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let size = weight.len();
    for (x, y) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)) {
        let factor = inverse_rms(x, eps);
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * factor * weight;
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum(x.len(), |i| x[i] * x[i]) / x.len() as f32 + eps).sqrt()
}

/// With `r` the inverse root: `dx = r g w - x r^3 mean(g w x)`, `dw = sum over rows of g x r`.
#[inline(always)]
pub(crate) fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    g: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let size = weight.len();
    for ((x, g), dx) in
        x.chunks_exact(size).zip(g.chunks_exact(size)).zip(dx.chunks_exact_mut(size))
    {
        let factor = inverse_rms(x, eps);
        let pull = sum(size, |i| g[i] * weight[i] * x[i]) / size as f32 * factor * factor;
        for i in 0..size {
            dx[i] = factor * (g[i] * weight[i] - x[i] * pull);
            dw[i] += g[i] * x[i] * factor;
        }
    }
}

/// `gate = gate sigmoid(gate) up`.
#[inline(always)]
pub(crate) fn gated_silu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate * sigmoid(*gate) * up;
    }
}

/// With `s = sigmoid(gate)`: `dgate = g up s (1 + gate (1 - s))`, `dup = g gate s`; `g` becomes
/// `dgate`.
#[inline(always)]
pub(crate) fn gated_silu_backward(gate: &[f32], up: &[f32], g: &mut [f32], dup: &mut [f32]) {
    for (((gate, up), g), dup) in gate.iter().zip(up).zip(g).zip(dup) {
        let s = sigmoid(*gate);
        *dup = *g * gate * s;
        *g = *g * up * s * (1.0 + gate * (1.0 - s));
    }
}

/// `softmax(scores + mask)` in place, row by row of `columns`. A mask of `rows` rows, each of
/// `width` values, is given as its values and `rows`: each is that of as many neighbouring blocks
/// of `width` scores as there are for each.
#[inline(always)]
pub(crate) fn masked_softmax(scores: &mut [f32], columns: usize, mask: Option<(&[f32], usize)>) {
    let total = scores.len();
    for (row, scores) in scores.chunks_exact_mut(columns).enumerate() {
        if let Some((mask, rows)) = mask {
            let width = mask.len() / rows;
            let begun = row * columns;
            let start = begun / (total / rows) * width + begun % width;
            for (score, mask) in scores.iter_mut().zip(&mask[start..start + columns]) {
                *score += mask;
            }
        }
        let shift = largest(columns, |i| scores[i]);
        for score in scores.iter_mut() {
            *score = exp(*score - shift);
        }
        let factor = 1.0 / sum(columns, |i| scores[i]);
        for score in scores.iter_mut() {
            *score *= factor;
        }
    }
}

/// `ds = w (g - sum(g w))` for weights `w`, row by row of `columns`; `g` becomes `ds`.
#[inline(always)]
pub(crate) fn softmax_backward(weights: &[f32], columns: usize, g: &mut [f32]) {
    for (weights, g) in weights.chunks_exact(columns).zip(g.chunks_exact_mut(columns)) {
        let mean = sum(columns, |i| g[i] * weights[i]);
        for (g, weight) in g.iter_mut().zip(weights) {
            *g = weight * (*g - mean);
        }
    }
}

/// `y = x cos + sign (-b, a) sin` with `x = (a, b)` the halves of each head, for tokens of `width`
/// numbers and angles of `head_dim`. A sign of -1 turns back, which is the gradient.
#[inline(always)]
pub(crate) fn rotate(
    x: &[f32],
    width: usize,
    [cos, sin]: [&[f32]; 2],
    head_dim: usize,
    sign: f32,
    y: &mut [f32],
) {
    let half = head_dim / 2;
    let angles = cos.chunks_exact(head_dim).zip(sin.chunks_exact(head_dim));
    let tokens = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
    for ((x, y), (cos, sin)) in tokens.zip(angles) {
        for (x, y) in x.chunks_exact(head_dim).zip(y.chunks_exact_mut(head_dim)) {
            let (a, b) = x.split_at(half);
            let (first, second) = y.split_at_mut(half);
            for i in 0..half {
                first[i] = a[i] * cos[i] - sign * b[i] * sin[i];
                second[i] = b[i] * cos[i] + sign * a[i] * sin[i];
            }
        }
    }
}

/// For each row of `vocab_size` logits its `log(sum(exp))`.
#[inline(always)]
pub(crate) fn log_sum_exp(logits: &[f32], vocab_size: usize) -> Vec<f32> {
    let of_row = |row: &[f32]| {
        let shift = largest(vocab_size, |i| row[i]);
        shift + sum(vocab_size, |i| exp(row[i] - shift)).ln()
    };
    logits.chunks_exact(vocab_size).map(of_row).collect()
}

/// `dlogits = g (onehot(target) - exp(logits - normaliser))`; a row whose gradient is zero, as that
/// of padding, costs nothing.
#[inline(always)]
pub(crate) fn target_logprobs_backward(
    logits: &[f32],
    normalisers: &[f32],
    targets: &[usize],
    g: &[f32],
    dlogits: &mut [f32],
) {
    let vocab_size = logits.len() / g.len();
    for (row, (logits, dlogits)) in
        logits.chunks_exact(vocab_size).zip(dlogits.chunks_exact_mut(vocab_size)).enumerate()
    {
        let (g, normaliser) = (g[row], normalisers[row]);
        if g != 0.0 {
            for (dlogit, logit) in dlogits.iter_mut().zip(logits) {
                *dlogit = -g * exp(logit - normaliser);
            }
            dlogits[targets[row]] += g;
        }
    }
}

/// See [`paretopo_models::adamw`].
#[inline(always)]
pub(crate) fn adamw(
    weight: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradient: &[f32],
    step: AdamWStep,
) {
    let (rate, root) = (step.learning_rate / step.correction1, step.correction2.sqrt());
    let numbers = [
        step.scale,
        step.beta1,
        1.0 - step.beta1,
        step.beta2,
        1.0 - step.beta2,
        rate,
        root,
        step.epsilon,
        step.decay,
    ];
    let [scale, beta1, new1, beta2, new2, rate, root, epsilon, decay] =
        numbers.map(|number| number as f32);
    for (((w, m), v), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
        let g = g * scale;
        *m = beta1 * *m + new1 * g;
        *v = beta2 * *v + new2 * g * g;
        *w = decay * *w - rate * *m / (v.sqrt() / root + epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_by_hand() {
        // rows (0, ln 3) and, masked, (ln 3, -): weights (1/4, 3/4) and (1, 0)
        let mut scores = [0.0, 3f32.ln(), 3f32.ln(), 0.0];
        masked_softmax(&mut scores, 2, Some((&[0.0, 0.0, 0.0, -1e9], 1)));
        assert!(
            scores.iter().zip([0.25, 0.75, 1.0, 0.0]).all(|(got, want)| (got - want).abs() < 1e-6),
            "{scores:?}"
        );
        // w (g - sum(g w)) with g = (1, 0): 1/4 (1 - 1/4) and 3/4 (0 - 1/4)
        let mut gradient = [1.0, 0.0];
        softmax_backward(&[0.25, 0.75], 2, &mut gradient);
        assert_eq!(gradient, [0.1875, -0.1875]);
    }
}
