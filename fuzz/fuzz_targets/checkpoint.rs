//! Checkpoints from elsewhere: CONFIGURATION NUL WEIGHTS. What is loaded must compute.

#![no_main]

use burn_flex::Flex;
use libfuzzer_sys::fuzz_target;
use paretopo_fuzz::pair_of_bytes;
use paretopo_models::{
    AutoFamily, CausalLm, ForwardInput, Placement, load_folder, load_tensors,
};
use paretopo_training::TrainingState;

fuzz_target!(|bytes: &[u8]| {
    let (config, weights) = pair_of_bytes(bytes);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.safetensors");
    std::fs::write(folder.path().join("config.json"), config).expect("written");
    std::fs::write(&file, weights).expect("written");
    let _ = load_tensors(&file);
    let place = Placement::plain(Default::default());
    if let Ok((_, model)) = load_folder::<AutoFamily, Flex>(folder.path(), &place) {
        let ids: [&[u32]; 1] = [&[0, 0]];
        let _ = model
            .unembed(model.hidden(&ForwardInput::right_padded(&ids, &Default::default()), None))
            .into_data();
    }
    let _ = serde_json::from_slice::<TrainingState>(bytes);
});
