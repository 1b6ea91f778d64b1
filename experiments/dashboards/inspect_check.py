"""Reads a log of `evaluate --format inspect` with Inspect itself: whole, its header alone, one sample,
and as its viewer lists a folder. Usage: inspect_check.py DIR (with inspect_ai installed).
"""

import sys

from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample

logs = list_eval_logs(sys.argv[1])
assert logs, f"no log in {sys.argv[1]}"
for place in logs:
    header = read_eval_log(place, header_only=True)
    log = read_eval_log(place)
    assert header.samples is None and header.eval == log.eval and header.results == log.results
    assert log.status == "success" and log.eval.dataset.samples, log.eval
    assert len(log.samples) == log.results.total_samples > 0
    calls = 0
    for sample in log.samples:
        one = read_eval_log_sample(place, id=sample.id, epoch=sample.epoch)
        assert one.model_dump() == sample.model_dump()
        assert sample.messages[0].role == "user" and sample.target and sample.input
        asked = [call.id for message in sample.messages for call in getattr(message, "tool_calls", None) or []]
        answered = [message.tool_call_id for message in sample.messages if message.role == "tool"]
        assert asked == answered, (asked, answered)
        calls += len(asked)
        usage = sample.output.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
    right = sum(sample.scores["success"].value == "C" for sample in log.samples) / len(log.samples)
    accuracy = log.results.scores[0].metrics["accuracy"].value
    assert abs(right - accuracy) < 1e-9, (right, accuracy)
    limits = [sample.limit.type for sample in log.samples if sample.limit]
    scores = ", ".join(f"{score.name} {next(iter(score.metrics.values())).value:.3f}" for score in log.results.scores)
    print(f"{place.name}: {log.eval.task} by {log.eval.model}, {len(log.samples)} samples, {calls} calls, {len(limits)} limits; {scores}")
