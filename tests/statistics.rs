//! The report's statistics against rliable, scipy and statsmodels, its indicators against pymoo;
//! see `fixtures/statistics/make.py`.

use crate::{checkout, json, precise_numbers};
use paretopo_report::{
    holm, igd_plus, interquartile_interval, interquartile_mean, paired_permutation_test,
    probability_of_improvement,
};
use serde_json::Value;

fn cases(of: &str) -> Vec<Value> {
    let all = json(&checkout("tests/fixtures/statistics/statistics.json"));
    let found = all[of].as_array().unwrap().clone();
    assert!(found.len() > 3, "{of}");
    found
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(precise_numbers).collect()
}

#[track_caller]
fn assert_near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} is not {want}");
}

#[test]
fn interquartile_means_and_improvements_equal_rliable() {
    for case in cases("seeds") {
        let strata = rows(&case["strata"]);
        let all = strata.concat();
        // both add in f64, in another order
        assert_near(interquartile_mean(&all), case["iqm"].as_f64().unwrap(), 1e-12);
        let improvements = precise_numbers(&case["improvement"]);
        for ((own, other), want) in strata.iter().zip(rows(&case["other"])).zip(improvements) {
            assert_near(probability_of_improvement(own, &other), want, 1e-12);
        }
        let parts: Vec<&[f64]> = strata.iter().map(Vec::as_slice).collect();
        let wanted = precise_numbers(&case["interval"]);
        // other random numbers: 10,000 resamples here, 50,000 there. The ends of two such intervals
        // differ by a few hundredths of their width, those of few runs by steps between resamples
        let tolerance = 0.06 * (wanted[1] - wanted[0]);
        for (got, want) in interquartile_interval(&parts).into_iter().zip(wanted) {
            assert_near(got, want, tolerance);
        }
    }
}

#[test]
fn tests_equal_those_of_scipy_and_statsmodels() {
    for case in cases("paired") {
        let (own, other) = (precise_numbers(&case["own"]), precise_numbers(&case["other"]));
        let got = paired_permutation_test(&own, &other);
        assert_near(got, case["p"].as_f64().unwrap(), 1e-12);
    }
    for case in cases("holm") {
        let got = holm(&precise_numbers(&case["p"]));
        for (got, want) in got.into_iter().zip(precise_numbers(&case["holm"])) {
            assert_near(got, want, 1e-12);
        }
    }
}

#[test]
fn volumes_and_distances_equal_pymoo() {
    for case in cases("fronts") {
        let (points, front) = (rows(&case["points"]), rows(&case["front"]));
        let origin = vec![0.0; points[0].len()];
        let volume = paretopo_algorithms::pareto::hypervolume(&points, &origin);
        assert_near(volume, case["hypervolume"].as_f64().unwrap(), 1e-12);
        assert_near(igd_plus(&points, &front), case["igd_plus"].as_f64().unwrap(), 1e-12);
    }
}
