//! Configuration files and `--set`: FILE NUL SETTING.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_fuzz::pair;
use paretopo_training::RunConfig;

fuzz_target!(|input: &str| {
    let (text, setting) = pair(input);
    let settings = if setting.is_empty() { Vec::new() } else { vec![setting.to_owned()] };
    if let Ok(config) = RunConfig::parse(text, "fuzz", &settings) {
        // what is printed is read as the same
        let printed = config.to_toml().expect("a configuration is printed");
        let again = RunConfig::parse(&printed, "printed", &[])
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again.to_toml().expect("and again"), printed);
    }
});
