//! Sorting and hypervolume against pymoo and moocore, losses and their gradients against TRL and
//! PyTorch; see the generators in `fixtures/`.

use crate::{Tracked, assert_close, checkout, json, numbers, precise_numbers};
use burn::tensor::{Tensor, TensorData};
use paretopo_algorithms::losses::{
    Aggregation, KlEstimator, PolicyLossConfig, RatioLevel, Surrogate, kl_penalty, policy_loss,
    token_weights,
};
use paretopo_algorithms::pareto::{hypervolume, non_dominated_ranks};
use paretopo_settings::{ClipHigh, ClipLow, TokenCount};

#[test]
fn ranks_equal_pymoo_and_hypervolumes_equal_moocore() {
    for (index, case) in
        json(&checkout("tests/fixtures/pareto.json")).as_array().unwrap().iter().enumerate()
    {
        let points: Vec<Vec<f64>> =
            case["points"].as_array().unwrap().iter().map(precise_numbers).collect();
        let ranks: Vec<usize> = case["ranks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rank| rank.as_u64().unwrap() as usize)
            .collect();
        assert_eq!(non_dominated_ranks(&points), ranks, "case {index}");
        let (got, want) = (
            hypervolume(&points, &precise_numbers(&case["reference"])),
            case["hypervolume"].as_f64().unwrap(),
        );
        // both compute in f64, in another order
        assert!((got - want).abs() < 1e-14, "case {index}: {got} is not {want}");
    }
}

#[test]
fn losses_and_gradients_equal_trl() {
    let device = Default::default();
    for (index, case) in
        json(&checkout("tests/fixtures/losses.json")).as_array().unwrap().iter().enumerate()
    {
        let rows =
            |key: &str| case[key].as_array().unwrap().iter().map(numbers).collect::<Vec<_>>();
        let tensor = |rows: Vec<Vec<f32>>| {
            let shape = [rows.len(), rows[0].len()];
            Tensor::<Tracked, 2>::from_data(TensorData::new(rows.concat(), shape), &device)
        };
        let mask: Vec<Vec<bool>> =
            rows("mask").iter().map(|row| row.iter().map(|value| *value > 0.5).collect()).collect();
        let number = |key: &str| case[key].as_f64().unwrap() as f32;
        let aggregation = match case["aggregation"].as_str().unwrap() {
            "sequence_mean" => Aggregation::SequenceMean {},
            "token_mean" => Aggregation::TokenMean {},
            _ => Aggregation::Constant { length: TokenCount::literal(8.0) },
        };
        let weights =
            tensor(token_weights(aggregation, &mask.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let config = PolicyLossConfig {
            clip_low: ClipLow::literal(case["clip_low"].as_f64().unwrap()),
            clip_high: ClipHigh::literal(case["clip_high"].as_f64().unwrap()),
            ratio: if case["level"] == "token" { RatioLevel::Token } else { RatioLevel::Sequence },
            surrogate: if case["surrogate"] == "cispo" {
                Surrogate::Cispo
            } else {
                Surrogate::Clipped
            },
        };
        let new = tensor(rows("new")).require_grad();
        let advantages =
            tensor(numbers(&case["advantages"]).into_iter().map(|value| vec![value]).collect());
        let result =
            policy_loss(&config, new.clone(), tensor(rows("old")), advantages, weights.clone());
        let kl = kl_penalty(KlEstimator::K3, new.clone(), tensor(rows("reference")));
        let loss = result.loss + (kl * weights).sum() * number("beta");
        let gradients = loss.backward();
        assert_close(
            &[loss.into_scalar()],
            &[number("loss")],
            1e-5,
            &format!("case {index}: loss"),
        );
        let got: Vec<f32> = new.grad(&gradients).unwrap().into_data().to_vec().unwrap();
        assert_close(&got, &rows("gradient").concat(), 1e-5, &format!("case {index}: gradient"));
    }
}
