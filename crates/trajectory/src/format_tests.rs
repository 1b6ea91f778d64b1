//! What is written is read again, in every format that there was; what cannot be is refused in words.

use crate::{
    Alternative, Author, CallRecord, CallStatus, Fault, FinishReason, FormatError, ObjectiveValues,
    Reply, Segment, Span, ToolCall, ToolOutcome, Trajectory, TrajectoryId,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any `f32` that equals itself, infinities included.
fn number() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("equals itself", |value| !value.is_nan())
}

fn span() -> impl Strategy<Value = Option<Span>> {
    proptest::option::of((0.0f32..1e6, 0.0f32..1e6).prop_map(Span::from))
}

/// What the model sampled: per id a log-probability, -(id + 1), and what was asked for.
fn sampled() -> impl Strategy<Value = Segment> {
    let extras = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), number());
    (vec(0u32..100, 0..6), any::<u64>(), extras, span()).prop_map(
        |(ids, weight_version, (thinking, trainer, entropies, alternatives, value), time)| {
            let of_each = |wanted: bool| if wanted { ids.len() } else { 0 };
            let two =
                vec![Alternative { id: 3, logprob: value }, Alternative { id: 5, logprob: -2.5 }];
            Segment {
                thinking,
                logprobs: ids.iter().map(|id| -(*id as f32) - 1.0).collect(),
                sampling_logprobs: vec![value; ids.len()],
                trainer_logprobs: vec![value; of_each(trainer)],
                entropies: vec![0.7; of_each(entropies)],
                alternatives: vec![two; of_each(alternatives)],
                ids,
                time,
                ..Segment::sampling(weight_version)
            }
        },
    )
}

fn segment() -> impl Strategy<Value = Segment> {
    let author = prop_oneof![
        Just(Author::Prompt),
        Just(Author::Tool),
        Just(Author::Environment),
        Just(Author::Template)
    ];
    let given = (author, vec(0u32..100, 0..6), span())
        .prop_map(|(author, ids, time)| Segment { time, ..Segment::given(author, ids) });
    prop_oneof![given, sampled()]
}

fn objective_values() -> impl Strategy<Value = ObjectiveValues> {
    let value = any::<f64>().prop_filter("equals itself", |value| !value.is_nan());
    proptest::collection::btree_map("[a-z_\"\\\\é]{0,4}", value, 0..6)
        .prop_map(|values| values.into_iter().collect())
}

fn call() -> impl Strategy<Value = CallRecord> {
    (proptest::option::of(".{0,6}"), any::<bool>(), ".{0,9}", span()).prop_map(
        |(name, is_down, text, time)| {
            let arguments = serde_json::json!({ "code": text, "version": 3, "n": [1.5, null] });
            let outcome = ToolOutcome::new(CallStatus::Error, text, 0.25);
            CallRecord {
                call: name.map(|name| ToolCall { name, arguments }),
                outcome: if is_down { outcome.with_fault(Fault::Tool) } else { outcome },
                segment: None,
                time,
                price: is_down.then_some(2.5),
            }
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    (".{0,9}", any::<bool>(), objective_values(), proptest::option::of(".{0,6}")).prop_map(
        |(text, is_so, rewards, error)| Reply {
            text,
            truncated: is_so,
            done: is_so,
            rewards,
            error,
            seconds: 0.25,
            segment: None,
        },
    )
}

fn trajectory() -> impl Strategy<Value = Trajectory> {
    let finish = prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::Length),
        Just(FinishReason::Deadline),
        ".{0,9}".prop_map(FinishReason::Failed),
    ];
    let parts = (vec(segment(), 0..8), vec(call(), 0..4), vec(reply(), 0..3), finish);
    let scores = (proptest::option::of(any::<bool>()), objective_values(), objective_values());
    (parts, scores, "\\PC{0,9}", 0usize..9).prop_map(
        |(
            (segments, mut calls, mut replies, finish),
            (success, objectives, preference),
            text,
            sample,
        )| {
            let asked = segments.iter().rposition(|segment| segment.author == Author::Model);
            for call in &mut calls {
                call.segment = asked;
            }
            for reply in &mut replies {
                reply.segment = asked;
            }
            Trajectory {
                success,
                objectives,
                preference,
                segments,
                calls,
                replies,
                finish,
                advantages: if sample > 4 { vec![0.1 * sample as f64 - 0.7] } else { vec![] },
                response: text.clone(),
                answer: (sample > 4).then(|| text.clone()),
                seconds: sample as f32 / 3.0,
                ..Trajectory::empty(TrajectoryId::new("train", 41, sample), &text, sample)
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(trajectory in trajectory()) {
        let line = trajectory.to_line();
        prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(Trajectory::from_line(&line).unwrap(), trajectory);
    }

    #[test]
    fn mask_and_logprobs_follow_authorship(segments in vec(segment(), 0..8)) {
        let expected_ids: Vec<u32> = segments.iter().flat_map(|s| s.ids.clone()).collect();
        let by_model = segments.iter().filter(|segment| segment.author == Author::Model);
        let sampled: usize = by_model.map(|segment| segment.ids.len()).sum();
        let empty = Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0);
        let trajectory = Trajectory { segments, ..empty };
        let (ids, mask) = (trajectory.ids(), trajectory.mask());
        let logprobs = trajectory.aligned_logprobs();
        prop_assert_eq!(&ids, &expected_ids);
        prop_assert_eq!((mask.len(), logprobs.len()), (ids.len(), ids.len()));
        prop_assert_eq!(trajectory.aligned_sampling_logprobs().len(), ids.len());
        prop_assert_eq!(mask.iter().filter(|m| **m).count(), sampled);
        for ((id, sampled), logprob) in ids.iter().zip(&mask).zip(&logprobs) {
            // a sampled id `i` was given the log-probability -(i + 1), everything else 0
            prop_assert_eq!(*logprob, if *sampled { -(*id as f32) - 1.0 } else { 0.0 });
        }
    }
}

/// Lines as the first format wrote them: with two calls, unscored, and with a reward that was none.
const FIRST: [&str; 3] = [
    r#"{"task_id":"math-test-3","sample":1,"weight_version":12,"segments":[{"author":"prompt","ids":[1,2]},{"author":"model","ids":[5,6],"logprobs":[-0.5,-1.25],"sampling_logprobs":[-0.4,-1.0]},{"author":"template","ids":[7]},{"author":"tool","ids":[8]},{"author":"template","ids":[9]},{"author":"model","ids":[4],"logprobs":[-0.1],"sampling_logprobs":[-0.1]},{"author":"template","ids":[7]},{"author":"tool","ids":[]},{"author":"template","ids":[9]},{"author":"model","ids":[3],"logprobs":[-2.0],"sampling_logprobs":[-2.0]}],"calls":[{"call":{"name":"python","arguments":{"code":"1+1"}},"outcome":{"status":"ok","text":"2","truncated":false,"seconds":0.004}},{"call":null,"outcome":{"status":"error","text":"ToolError: no","truncated":false,"seconds":0.0,"fault":"call"}}],"finish":{"reason":"stop"},"response":"two","answer":"2","rewards":[1.0,0.6065306597126334],"seconds":0.25}"#,
    r#"{"task_id":"a","sample":0,"weight_version":0,"segments":[],"calls":[],"finish":{"reason":"failed","detail":"the server was down"},"response":"r","answer":null,"rewards":[],"seconds":0.5}"#,
    r#"{"task_id":"a","sample":2,"weight_version":0,"segments":[],"calls":[],"finish":{"reason":"length"},"response":"","answer":null,"rewards":[1.0,null],"seconds":0.5}"#,
];

#[test]
fn lines_of_the_first_format_are_read() {
    let [scored, failed, bad] = FIRST.map(|line| Trajectory::from_line(line.as_bytes()).unwrap());
    assert_eq!((scored.id.as_str(), scored.sample), ("math-test-3-1", 1));
    assert_eq!(
        scored.objectives.iter().collect::<Vec<_>>(),
        [("0", 1.0), ("1", 0.606_530_659_712_633_4)]
    );
    assert_eq!((scored.success, scored.preference.len()), (None, 0));
    // the model wrote segments 1, 5 and 9; outputs 3 and 7 answer the first two of these
    let versions: Vec<Option<u64>> = scored.segments.iter().map(|s| s.weight_version).collect();
    let (own, other) = (Some(12), None);
    assert_eq!(versions, [other, own, other, other, other, own, other, other, other, own]);
    assert_eq!([scored.calls[0].segment, scored.calls[1].segment], [Some(1), Some(5)]);
    assert_eq!(scored.calls[1].outcome.fault, Some(Fault::Call));
    assert_eq!(scored.ids(), [1, 2, 5, 6, 7, 8, 9, 4, 7, 9, 3]);
    assert_eq!(scored.aligned_logprobs()[2..4], [-0.5, -1.25]);
    assert!(scored.segments.iter().all(|segment| segment.time.is_none()));
    assert_eq!(failed.finish, FinishReason::Failed("the server was down".into()));
    assert!(failed.objectives.is_empty());
    assert!(bad.objectives.values()[1].is_nan());
    // and written in the format of today
    assert_eq!(Trajectory::from_line(&scored.to_line()).unwrap(), scored);
    let misspelt = FIRST[1].replace("\"rewards\"", "\"reward\":1,\"rewards\"");
    let error = Trajectory::from_line(misspelt.as_bytes()).unwrap_err();
    assert!(matches!(&error, FormatError::UnknownKey(key) if key == "reward"), "{error}");
}

/// A line of version 1.3, as it stands in files.
const LINE: &str = r#"{"version":"1.3","id":"train-7-0","task_id":"t","sample":0,"success":true,"objectives":{"r_task":1.0,"r_tool":"nan"},"advantages":[-0.5],"segments":[{"author":"prompt","ids":[1],"time":[0.0,0.0]},{"author":"model","ids":[2],"weight_version":3,"thinking":true,"logprobs":[-0.5],"sampling_logprobs":[-0.25],"trainer_logprobs":[-0.75],"entropies":[0.5],"alternatives":[[[2,-0.5],[4,-1.5]]],"time":[0.125,0.5]}],"calls":[{"call":null,"outcome":{"status":"ok","text":"","truncated":false,"seconds":0.5},"segment":1,"time":[0.5,1.0],"price":2.5}],"replies":[{"text":"warmer","done":false,"rewards":{"reward":0.25},"seconds":0.5,"segment":1}],"finish":{"reason":"stop"},"response":"","answer":null,"seconds":1.0}"#;

#[test]
fn the_format_of_today_stays_as_it_is() {
    let read = Trajectory::from_line(LINE.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(read.to_line()).unwrap().trim_end(), LINE);
    assert_eq!(read.segments[1].alternatives[0][1], Alternative { id: 4, logprob: -1.5 });
    assert_eq!(read.calls[0].time, Some(Span { began: 0.5, ended: 1.0 }));
    assert_eq!(read.calls[0].price, Some(2.5));
    assert_eq!(read.advantages, [-0.5]);
    assert_eq!(read.segments[1].trainer_logprobs, [-0.75]);
    assert_eq!(read.replies[0].rewards.get("reward"), Some(0.25));
    // 1.2 knew no trainer and no replies, 1.1 had no advantages, and 1.0 no price
    let before = LINE.replace("\"1.3\"", "\"1.2\"").replace("\"trainer_logprobs\":[-0.75],", "");
    let replies = before.find("\"replies\"").unwrap()..before.find("\"finish\"").unwrap();
    let before = before.replace(&before[replies], "");
    let read = Trajectory::from_line(before.as_bytes()).unwrap();
    assert_eq!((read.segments[1].trainer_logprobs.len(), read.advantages.len()), (0, 1));
    let before = before.replace("\"1.2\"", "\"1.1\"").replace("\"advantages\":[-0.5],", "");
    let read = Trajectory::from_line(before.as_bytes()).unwrap();
    assert_eq!((read.advantages.len(), read.calls[0].price), (0, Some(2.5)));
    let first = before.replace("\"1.1\"", "\"1.0\"").replace(",\"price\":2.5", "");
    assert_eq!(Trajectory::from_line(first.as_bytes()).unwrap().calls[0].price, None);
}

#[test]
fn later_minor_versions_are_read_as_far_as_they_are_understood() {
    let added = LINE.replace("\"author\":\"model\"", "\"author\":\"model\",\"images\":[{\"a\":1}]");
    assert_ne!(added, LINE);
    let unknown = Trajectory::from_line(added.as_bytes()).unwrap_err().to_string();
    assert_eq!(unknown, "unknown key `segments.1.images`");
    let as_version = |line: &str, version: &str| {
        let line = line.replace("\"version\":\"1.3\"", &format!("\"version\":\"{version}\""));
        Trajectory::from_line(line.as_bytes()).map_err(|error| error.to_string())
    };
    // without what this version does not know
    let known = Trajectory::from_line(LINE.as_bytes()).unwrap();
    let later = as_version(&added, "1.33").unwrap();
    assert_eq!(later.to_line(), known.to_line());
    // an author that this version does not know says something about ids that it cannot leave out
    let critic = LINE.replace("\"author\":\"prompt\"", "\"author\":\"critic\"");
    let error = as_version(&critic, "1.4").unwrap_err();
    assert!(error.starts_with("it is of the later version 1.4 of the format"), "{error}");
    assert!(error.contains("unknown variant `critic`") && error.contains("hint:"), "{error}");
    assert!(!as_version(&critic, "1.3").unwrap_err().contains("later"));
    assert!(as_version(LINE, "2.0").unwrap_err().contains("the later version 2.0"));
    assert!(as_version(LINE, "0.9").unwrap_err().contains("the version 0.9 is not 1.3"));
    assert!(as_version(LINE, "one").unwrap_err().contains("`one` is no version, as `1.3` is"));
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    for (old, new, said) in [
        (
            "\"logprobs\":[-0.5]",
            "\"logprobs\":[]",
            "`segments[1]` has 0 `logprobs` for 1 sampled ids",
        ),
        (
            "\"trainer_logprobs\":[-0.75]",
            "\"trainer_logprobs\":[1,2]",
            "2 `trainer_logprobs` for 1 sampled ids",
        ),
        ("\"entropies\":[0.5]", "\"entropies\":[1,2]", "2 `entropies` for 1 sampled ids"),
        ("\"author\":\"model\"", "\"author\":\"tool\"", "1 `logprobs` for 0 sampled ids"),
        ("\"weight_version\":3,", "", "sampled ids without a `weight_version`"),
        ("\"ids\":[1]", "\"ids\":[1],\"weight_version\":3", "`segments[0]` has a `weight_version`"),
        ("\"segment\":1", "\"segment\":0", "`calls[0]` is asked for in segment 0, which is none"),
        ("\"segment\":1", "\"segment\":9", "segment 9"),
        ("0.5,\"segment\":1", "0.5,\"segment\":0", "`replies[0]` answers segment 0, which is none"),
        ("\"answer\":null", "\"answer\":null,\"answer\":null", "duplicate field `answer`"),
        ("\"success\":true", "\"success\":1", "expected a boolean"),
        ("[-0.5],\"segments\"", "[1,2],\"segments\"", "2 `advantages` for 1 turns"),
    ] {
        let line = LINE.replace(old, new);
        assert_ne!(line, LINE);
        let error = Trajectory::from_line(line.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let torn = Trajectory::from_line(&LINE.as_bytes()[..LINE.len() - 9]).unwrap_err();
    assert!(matches!(torn, FormatError::Malformed(_)), "{torn}");
}
