//! Hashes that are the same on every machine and in every release, for what must repeat: the splits
//! of tasks, seeds, the luck of calls. The standard library's hasher may change.

/// FNV-1a of a text, 64 bits.
///
/// ```
/// use paretopo_trajectory::stable_hash;
///
/// assert_eq!(stable_hash(""), 0xcbf2_9ce4_8422_2325);
/// // the published value for `a`
/// assert_eq!(stable_hash("a"), 0xaf63_dc4c_8601_ec8c);
/// ```
pub fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// SplitMix64's finaliser: neighbouring numbers become unrelated ones.
///
/// ```
/// use paretopo_trajectory::well_mixed;
///
/// // the first number of SplitMix64 with seed 0, whose counter is then the golden step
/// assert_eq!(well_mixed(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
/// ```
pub fn well_mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
