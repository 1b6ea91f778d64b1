//! Configuration files and `--set`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_training::RunConfig;

fuzz_target!(|input: (&str, &str)| {
    let (text, setting) = input;
    if let Ok(config) = RunConfig::parse(text, "fuzz", &[setting.to_owned()]) {
        // what is printed is read as the same
        let printed = config.to_toml().expect("a configuration is printed");
        assert_eq!(RunConfig::parse(&printed, "printed", &[]).expect("what is printed is read"), config);
    }
});
