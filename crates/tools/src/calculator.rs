//! A calculator of one operation a call, exact or with a chance of a wrong digit.

use crate::{CallContext, Tool, ToolSettings, ToolSurroundings};
use paretopo_settings::Share;
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Computes `a op b` for whole numbers and one of `+`, `-`, `*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalculatorConfig {
    /// Chance that one digit of a result is another one; which, is drawn for each call.
    pub noise: Share,
}

impl Default for CalculatorConfig {
    fn default() -> Self {
        Self { noise: const { Share::literal(0.0) } }
    }
}

impl ToolSettings for CalculatorConfig {
    fn start(&self, _: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        Ok(Arc::new(CalculatorTool { noise: self.noise.get() }))
    }
}

/// The calculator.
#[derive(Clone, Debug)]
pub struct CalculatorTool {
    noise: f64,
}

impl Tool for CalculatorTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "calculator".into(),
            description: "Computes one operation on two whole numbers, such as 12*34.".into(),
            parameters: serde_json::json!({
                "type": "object",
                "properties": {
                    "expression": {
                        "type": "string",
                        "description": "a number, then +, - or *, then a number",
                    },
                },
                "required": ["expression"],
            }),
        }
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        let said = call.arguments.get("expression").and_then(|expression| expression.as_str());
        let Some(result) = said.and_then(one_operation) else {
            let reason = "ValueError: an expression takes one operation";
            return ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call);
        };
        let mut luck = context.luck;
        let is_wrong = luck.chance(self.noise);
        let text = if is_wrong { with_wrong_digit(result, &mut luck) } else { result.to_string() };
        ToolOutcome::new(CallStatus::Ok, text, 0.0)
    }
}

/// The value of `a op b`; `None` where it is something else, or too large.
fn one_operation(expression: &str) -> Option<i64> {
    let text = expression.trim();
    // a sign in front belongs to the first number
    let at = text.char_indices().skip(1).find(|(_, c)| "+-*".contains(*c)).map(|(at, _)| at)?;
    let (first, rest) = text.split_at(at);
    let first: i64 = first.trim().parse().ok()?;
    let second: i64 = rest[1..].trim().parse().ok()?;
    match rest.as_bytes()[0] {
        b'+' => first.checked_add(second),
        b'-' => first.checked_sub(second),
        _ => first.checked_mul(second),
    }
}

/// The number with one digit replaced by another, each place and each other digit as likely.
fn with_wrong_digit(value: i64, luck: &mut crate::Luck) -> String {
    let mut text = value.to_string().into_bytes();
    let first = usize::from(text[0] == b'-');
    let place = first + luck.below((text.len() - first) as u64) as usize;
    let other = 1 + luck.below(9) as u8;
    text[place] = b'0' + (text[place] - b'0' + other) % 10;
    String::from_utf8(text).expect("digits and a sign")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Luck;
    use paretopo_trajectory::TrajectoryId;
    use std::time::{Duration, Instant};

    fn called(noise: f64, expression: &str, number: usize) -> ToolOutcome {
        let trajectory = TrajectoryId::new("test", 0, 0);
        let luck = Luck::of_call(1, &trajectory, number);
        let deadline = Instant::now() + Duration::from_secs(5);
        let arguments = serde_json::json!({ "expression": expression });
        CalculatorTool { noise }.call(
            &ToolCall { name: "calculator".into(), arguments },
            &CallContext { trajectory, deadline, luck },
        )
    }

    #[test]
    fn one_operation_is_computed_and_nothing_else() {
        for (expression, result) in
            [("12+34", 46), ("12 - 34", -22), ("12*34", 408), ("-5+3", -2), ("2--3", 5), ("0*7", 0)]
        {
            let outcome = called(0.0, expression, 0);
            assert_eq!((outcome.status, outcome.text), (CallStatus::Ok, result.to_string()));
        }
        let large = format!("{}+1", i64::MAX);
        for expression in ["", "12", "1+2+3", "a+1", "12/3", "+", "9*", &large] {
            let outcome = called(0.0, expression, 0);
            assert_eq!(
                (outcome.status, outcome.fault),
                (CallStatus::Error, Some(Fault::Call)),
                "{expression}"
            );
        }
    }

    #[test]
    fn noise_changes_one_digit_as_often_as_it_says_and_again_the_same() {
        let texts: Vec<String> =
            (0..2000).map(|number| called(0.25, "500+55", number).text).collect();
        let again: Vec<String> =
            (0..2000).map(|number| called(0.25, "500+55", number).text).collect();
        assert_eq!(texts, again);
        let wrong: Vec<&String> = texts.iter().filter(|text| *text != "555").collect();
        // 500 expected; five deviations of sqrt(2000 / 4 * 3 / 4) = 19.4 are 97
        assert!((403..=597).contains(&wrong.len()), "{}", wrong.len());
        for text in wrong {
            assert_eq!(text.matches('5').count(), 2, "{text}");
            assert_eq!(text.len(), 3);
        }
    }
}
