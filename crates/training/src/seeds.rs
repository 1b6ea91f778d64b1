//! Random numbers without a state to save: every use derives its own seed.

/// A seed for one purpose of one step (or task), well mixed: neighbouring arguments give unrelated
/// seeds.
pub(crate) fn derive_seed(seed: u64, step: u64, purpose: u64) -> u64 {
    // SplitMix64's finaliser
    let mut mixed = seed
        .wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(purpose.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
