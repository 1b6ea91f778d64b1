#!/usr/bin/env python3
"""GRPO steps by TRL's GRPOTrainer on one prompt of random ids, as `speed.rs step` does them, as a JSON line: peer_trl_group.py MODEL step ROWS PROMPT NEW

Rollouts are transformers' `generate` over exactly these ids, and never end before NEW tokens. All rows are one micro-batch. Phases are of the fastest
step but the first, as its seconds; `rollout` has TRL's own work around `generate` in it, `backward` what a training step does beside the loss.
"""
import json, os, sys, tempfile, time, warnings
warnings.filterwarnings("ignore")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from phases import Phases

STEPS = 3

def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.manual_seed(1)
    folder, _, rows, prompt, new = sys.argv[1:]
    rows, prompt, new = int(rows), int(prompt), int(new)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    now = {"phases": Phases()}
    phase = lambda name: now["phases"].phase(name)
    with phase("load"):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded = now["phases"]
    ids = torch.randint(0, model.config.vocab_size, (prompt,)).tolist()

    def rollout(texts, trainer):
        batch = torch.tensor([ids] * len(texts))
        with phase("rollout/generate"), torch.inference_mode():
            out = model.generate(batch, attention_mask=torch.ones_like(batch), do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=new,
                                 min_new_tokens=new, eos_token_id=None, pad_token_id=0, output_scores=True, return_dict_in_generate=True)
            scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        return {"prompt_ids": batch.tolist(), "completion_ids": out.sequences[:, prompt:].tolist(), "logprobs": scores.tolist()}

    class Clock(TrainerCallback):
        seconds, started, updating = [], 0.0, 0.0
        def on_step_begin(self, *_, **__):
            now["phases"] = loaded.copy()
            self.started = time.perf_counter()
        def on_pre_optimizer_step(self, *_, **__):
            self.updating = time.perf_counter()
        def on_optimizer_step(self, *_, **__):
            now["phases"].add("optimizer", time.perf_counter() - self.updating, *now["phases"].look())
        def on_step_end(self, *_, **__):
            self.seconds.append((time.perf_counter() - self.started, now["phases"]))

    class Measured(GRPOTrainer):
        """The phases that no callback tells."""
        def _generate_and_score_completions(self, *arguments, **named):
            with phase("rollout"):
                return super()._generate_and_score_completions(*arguments, **named)
        def compute_loss(self, *arguments, **named):
            with phase("forward"):
                return super().compute_loss(*arguments, **named)
        def training_step(self, *arguments, **named):
            seconds = lambda: sum(row["seconds"] for row in now["phases"].list() if row["phase"] in ("rollout", "forward"))
            started, before = time.perf_counter(), seconds()
            loss = super().training_step(*arguments, **named)
            now["phases"].add("backward", time.perf_counter() - started - (seconds() - before), *now["phases"].look())
            return loss

    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], max_steps=STEPS, num_generations=rows, generation_batch_size=rows,
        per_device_train_batch_size=rows, gradient_accumulation_steps=1, max_completion_length=new, beta=0.0, learning_rate=1e-6, temperature=1.0,
        logging_strategy="no", save_strategy="no", gradient_checkpointing=False, dataloader_pin_memory=False, disable_tqdm=True,
    )
    clock = Clock()
    reward = lambda completions, **_: [float(number % 2) for number in range(len(completions))]
    reward.__name__ = "each_other"
    trainer = Measured(model=model, reward_funcs=reward, args=settings, train_dataset=Dataset.from_dict({"prompt": ["the ids"] * STEPS}),
                       processing_class=tokenizer, rollout_func=rollout, callbacks=[clock])
    trainer.train()
    seconds, phases = min(clock.seconds[1:], key=lambda step: step[0])
    print(json.dumps({"seconds": seconds, "memory": max(other.peak() for _, other in clock.seconds), "phases": phases.list()}))

if __name__ == "__main__":
    main()
