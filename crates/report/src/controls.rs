//! What can be had without learning when to call: never, always, a random mixture of both, and the
//! router that knows how hard each level is.

use crate::front::{Front, Place};
use serde::{Deserialize, Serialize};

/// The measured skills that the controls are computed from; the file `controls.json` beside an
/// experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controls {
    /// Where the numbers are from, for readers.
    #[serde(default)]
    pub source: String,
    /// One for each level of the tasks.
    pub levels: Vec<LevelSkill>,
}

/// How good a policy is at a level, in its head and with the tool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelSkill {
    /// The level.
    pub level: u32,
    /// Its share of the tasks, from 0 to 1.
    pub share: f64,
    /// Share of right answers when no call can be made, from 0 to 1.
    pub head_skill: f64,
    /// Share of right answers after the calls that it takes, from 0 to 1.
    pub tool_skill: f64,
    /// The calls that it takes; with 0 both skills are the same.
    pub calls: f64,
}

impl Controls {
    /// # Errors
    /// Names the number that cannot be.
    pub fn check(&self) -> Result<(), String> {
        if self.levels.is_empty() {
            return Err("`levels` is empty".into());
        }
        let total: f64 = self.levels.iter().map(|level| level.share).sum();
        if (total - 1.0).abs() > 1e-6 {
            return Err(format!("the levels' shares sum up to {total} instead of 1"));
        }
        for skill in &self.levels {
            let shares = [
                ("share", skill.share),
                ("head_skill", skill.head_skill),
                ("tool_skill", skill.tool_skill),
            ];
            let wrong = shares.iter().find(|(_, value)| !(0.0..=1.0).contains(value));
            if let Some((name, value)) = wrong {
                return Err(format!("level {}: `{name} = {value}` is not in [0, 1]", skill.level));
            }
            if !(skill.calls.is_finite() && skill.calls >= 0.0) {
                return Err(format!("level {}: `calls = {}` is below 0", skill.level, skill.calls));
            }
            if skill.calls == 0.0 && skill.tool_skill != skill.head_skill {
                return Err(format!(
                    "level {}: it takes no call, but its tool skill {} is not its head skill {}",
                    skill.level, skill.tool_skill, skill.head_skill
                ));
            }
        }
        Ok(())
    }

    fn sum(&self, of: impl Fn(&LevelSkill) -> f64) -> f64 {
        self.levels.iter().map(|level| level.share * of(level)).sum()
    }

    /// The policy that never calls: `(0, sum share * head_skill)`.
    pub fn never(&self) -> Place {
        Place { calls: 0.0, em: self.sum(|level| level.head_skill) }
    }

    /// The policy that makes the calls that each task takes: `(sum share * calls, sum share *
    /// tool_skill)`.
    pub fn always(&self) -> Place {
        Place { calls: self.sum(|level| level.calls), em: self.sum(|level| level.tool_skill) }
    }

    /// The two trivial policies.
    pub fn trivial(&self) -> [Place; 2] {
        [self.never(), self.always()]
    }

    /// What a random choice between the two trivial policies reaches.
    pub fn line(&self) -> Front {
        Front::of(&self.trivial())
    }

    /// The oracle router: it knows each task's level, and sends the levels to the tool one after
    /// the other, first those that gain most for a call, `(tool_skill - head_skill) / calls`. The
    /// corners are the places after each level. Levels at which the head is as good stay there.
    ///
    /// ```
    /// use paretopo_report::{Controls, LevelSkill, Place};
    ///
    /// let level = |level, head_skill| LevelSkill {
    ///     level, share: 0.5, head_skill, tool_skill: 1.0, calls: 1.0
    /// };
    /// let levels = vec![level(0, 0.75), level(1, 0.25)];
    /// let controls = Controls { source: String::new(), levels };
    /// // first level 1, which gains 0.5 * 0.75, then level 0, which gains 0.5 * 0.25
    /// let places = [(0.0, 0.5), (0.5, 0.875), (1.0, 1.0)].map(|(calls, em)| Place { calls, em });
    /// assert_eq!(controls.oracle().corners(), places);
    /// ```
    pub fn oracle(&self) -> Front {
        let gain = |level: &LevelSkill| level.tool_skill - level.head_skill;
        let mut sent: Vec<&LevelSkill> =
            self.levels.iter().filter(|level| gain(level) > 0.0).collect();
        sent.sort_by(|a, b| (gain(b) / b.calls).total_cmp(&(gain(a) / a.calls)));
        let mut places = vec![self.never()];
        for level in sent {
            let before = places[places.len() - 1];
            places.push(Place {
                calls: before.calls + level.share * level.calls,
                em: before.em + level.share * gain(level),
            });
        }
        Front::of(&places)
    }

    /// How much of what is attainable by routing a method reaches:
    /// `(A(front) - A(line)) / (A(oracle) - A(line))`, A being the area below from no call to the
    /// calls of always calling, and the front the upper hull of the method's places and the two
    /// trivial policies. 0 is the random mixture, 1 the oracle router of the start policy's skills;
    /// a method that also learns to be right more often can pass 1. Places that carry noise gain by
    /// chance (`docs/results.md`). `None` where the oracle is no better than the line.
    pub fn routing_gain(&self, places: &[Place]) -> Option<f64> {
        let end = self.always().calls;
        let line = self.line().area(0.0, end);
        let attainable = self.oracle().area(0.0, end) - line;
        let front = Front::of(&[places, &self.trivial()].concat());
        (attainable > 1e-9).then(|| (front.area(0.0, end) - line) / attainable)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Never 0.5, always (1, 1), the oracle at (0.5, 0.875).
    pub(crate) fn controls() -> Controls {
        let level = |level, head_skill| LevelSkill {
            level,
            share: 0.5,
            head_skill,
            tool_skill: 1.0,
            calls: 1.0,
        };
        Controls { source: "by hand".into(), levels: vec![level(0, 0.75), level(1, 0.25)] }
    }

    #[test]
    fn the_gain_is_the_share_of_the_area_between_line_and_oracle() {
        // line: (0.5 + 1) / 2 = 0.75. Oracle: 0.5 * (0.5 + 0.875) / 2 + 0.5 * (0.875 + 1) / 2 =
        // 0.34375 + 0.46875 = 0.8125. Attainable 0.0625
        let controls = controls();
        let gain = |calls, em| controls.routing_gain(&[Place { calls, em }]).unwrap();
        // on the line, and below it: nothing
        assert!(gain(0.5, 0.75).abs() < 1e-12 && gain(0.5, 0.6).abs() < 1e-12);
        assert!(gain(2.0, 1.0).abs() < 1e-12 && controls.routing_gain(&[]).unwrap().abs() < 1e-12);
        assert!((gain(0.5, 0.875) - 1.0).abs() < 1e-12);
        // (0.5, 0.8): 0.05 above the line in the middle, a triangle of 0.5 * 1 * 0.05 = 0.025
        assert!((gain(0.5, 0.8) - 0.4).abs() < 1e-12);
        // better than the tool was: (0.5, 1) is a triangle of 0.125 and level from there
        assert!((gain(0.5, 1.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_oracle_takes_the_calls_that_pay_first_and_leaves_the_rest() {
        let level = |level, head_skill, tool_skill, calls| LevelSkill {
            level,
            share: 0.25,
            head_skill,
            tool_skill,
            calls,
        };
        // gains a call: 0.4, 0.3, none (the tool is worse) and 0.8
        let levels = vec![
            level(0, 0.5, 0.9, 1.0),
            level(1, 0.1, 1.0, 3.0),
            level(2, 0.9, 0.8, 1.0),
            level(3, 0.0, 0.8, 1.0),
        ];
        let controls = Controls { source: String::new(), levels };
        assert_eq!(controls.check(), Ok(()));
        let near = |place: &Place, calls: f64, em: f64| {
            (place.calls - calls).abs() < 1e-12 && (place.em - em).abs() < 1e-12
        };
        // heads: 0.25 * 1.5; tools 0.25 * 3.5 with 0.25 * 6 calls
        assert!(near(&controls.never(), 0.0, 0.375) && near(&controls.always(), 1.5, 0.875));
        // level 3 gains 0.2 for 0.25 calls, level 0 gains 0.1 for 0.25, level 1 0.225 for 0.75
        let oracle = controls.oracle();
        let expected = [(0.0, 0.375), (0.25, 0.575), (0.5, 0.675), (1.25, 0.9)];
        assert_eq!(oracle.corners().len(), 4);
        for (corner, (calls, em)) in oracle.corners().iter().zip(expected) {
            assert!(near(corner, calls, em), "{corner:?}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_named() {
        let wrong = |change: &dyn Fn(&mut LevelSkill)| {
            let mut controls = controls();
            change(&mut controls.levels[0]);
            controls.check().unwrap_err()
        };
        assert!(wrong(&|level| level.share = 0.25).contains("sum up to 0.75"));
        assert!(wrong(&|level| level.tool_skill = 1.5).contains("`tool_skill = 1.5`"));
        assert!(wrong(&|level| level.calls = -1.0).contains("`calls = -1`"));
        assert!(wrong(&|level| level.head_skill = f64::NAN).contains("`head_skill = NaN`"));
        assert!(wrong(&|level| level.calls = 0.0).contains("takes no call"));
        // a head that is as good everywhere leaves nothing to route
        let mut level = controls();
        level.levels.iter_mut().for_each(|level| level.head_skill = 1.0);
        assert_eq!(level.routing_gain(&[]), None);
    }
}
