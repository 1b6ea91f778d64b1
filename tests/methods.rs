//! What the page on methods says of p*, the success rate in the head above which a method prefers
//! no call: it is what the code computes, to the digits that are printed.

use crate::checkout;
use paretopo_algorithms::{EstimatorConfig, call_threshold};
use serde_json::{Value, json};

/// The rows of the first table of a page whose heading begins so, by cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = page.lines().skip_while(|line| !line.starts_with(heading));
    lines.skip(2).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands in the first backticks of a cell.
#[track_caller]
fn quoted(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("nothing is quoted in {cell}")).to_owned()
}

/// p* in groups of 8 with the usual alpha, as `--call-threshold 0.5` prints it.
fn computed(estimator: &Value) -> f64 {
    let config: EstimatorConfig = serde_json::from_value(estimator.clone()).unwrap();
    call_threshold(&config, 8, 0.5).unwrap()
}

#[track_caller]
fn assert_printed(printed: &str, estimator: &Value) {
    let digits = printed.split_once('.').map_or(0, |(_, behind)| behind.len());
    let p = computed(estimator);
    assert_eq!(format!("{p:.digits$}"), printed, "{estimator}: {p}");
}

#[test]
fn the_thresholds_of_paretopos_options_are_computed() {
    let page = std::fs::read_to_string(checkout("docs/methods.md")).unwrap();
    let (mut key, mut count) = (String::new(), 0);
    for row in table(&page, "| key | value |") {
        // a row without a key is a further value of the one above
        if !row[0].is_empty() {
            key = quoted(&row[0]);
        }
        let Some((_, behind)) = row[3].split_once("p* ") else { continue };
        let is_part = |sign: char| sign.is_ascii_digit() || sign == '.';
        let printed: String = behind.chars().take_while(|sign| is_part(*sign)).collect();
        let mut estimator = json!({ "type": "paretopo" });
        estimator[key.as_str()] = quoted(&row[1]).into();
        assert_printed(printed.trim_end_matches('.'), &estimator);
        count += 1;
    }
    assert!(count >= 6, "only {count} options have a p*");
}

/// The settings that a number of the column is said to be for.
fn meant(said: &str) -> Value {
    match said {
        // where it is computed an episode may make four calls
        "" | "at 4 calls" => json!({}),
        "at w = 0.15" => json!({ "tool_weight": 0.15 }),
        "at beta = 0.2" => json!({ "beta": 0.2 }),
        "at k = 1" => json!({ "sharpness": 1.0 }),
        "without deviation" => json!({ "std_normalization": false }),
        other => panic!("`{other}` is behind a p*, and this test does not know what it means"),
    }
}

#[test]
fn the_thresholds_of_the_baselines_are_computed() {
    let page = std::fs::read_to_string(checkout("docs/methods.md")).unwrap();
    let rows = table(&page, "| `type` |");
    assert!(rows.len() >= 8, "only {} baselines", rows.len());
    for row in rows {
        let (name, said) = (quoted(&row[0]), row[3].as_str());
        if said == "1 - lambda" {
            for price in [0.1, 0.3] {
                let estimator = json!({ "type": name, "start": price, "rate": 0.0 });
                let p = computed(&estimator);
                assert!((p - (1.0 - price)).abs() < 1e-6, "{estimator}: {p}");
            }
            continue;
        }
        let (printed, behind) = said.split_once(' ').unwrap_or((said, ""));
        let mut estimator = meant(behind);
        estimator["type"] = name.into();
        assert_printed(printed, &estimator);
    }
}
