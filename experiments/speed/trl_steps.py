"""GRPO steps by TRL's GRPOTrainer on CPU cores, timed step by step and phase by phase, for the peers that bring rollouts of their own.

`rollout` has TRL's own work around `generate` in it, `backward` what a training step does beside computing the loss.
"""
import os, tempfile, time, warnings
warnings.filterwarnings("ignore")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from phases import Phases

class Steps:
    """A policy, and the seconds and phases of each step that it is trained for."""

    def __init__(self, folder):
        torch.set_num_threads(int(os.environ.get("THREADS", "1")))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.now, self.found = Phases(), []
        with self.phase("load"):
            self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.loaded = self.now

    def phase(self, name):
        return self.now.phase(name)

    def peak(self):
        return max(phases.peak() for _, phases in self.found)

    def train(self, prompts, rollout, reward, **settings):
        """`settings` are those of GRPOConfig that are not the same for all."""
        own = self

        class Clock(TrainerCallback):
            started, updating = 0.0, 0.0
            def on_step_begin(self, *_, **__):
                own.now = own.loaded.copy()
                self.started = time.perf_counter()
            def on_pre_optimizer_step(self, *_, **__):
                self.updating = time.perf_counter()
            def on_optimizer_step(self, *_, **__):
                own.now.add("optimizer", time.perf_counter() - self.updating, *own.now.look())
            def on_step_end(self, *_, **__):
                own.found.append((time.perf_counter() - self.started, own.now))

        class Measured(GRPOTrainer):
            """The phases that no callback tells."""
            def _generate_and_score_completions(self, *arguments, **named):
                with own.phase("rollout"):
                    return super()._generate_and_score_completions(*arguments, **named)
            def compute_loss(self, *arguments, **named):
                with own.phase("forward"):
                    return super().compute_loss(*arguments, **named)
            def training_step(self, *arguments, **named):
                seconds = lambda: sum(row["seconds"] for row in own.now.list() if row["phase"] in ("rollout", "forward"))
                started, before = time.perf_counter(), seconds()
                loss = super().training_step(*arguments, **named)
                own.now.add("backward", time.perf_counter() - started - (seconds() - before), *own.now.look())
                return loss

        config = GRPOConfig(output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], beta=0.0, temperature=1.0, logging_strategy="no",
                            save_strategy="no", gradient_checkpointing=False, dataloader_pin_memory=False, disable_tqdm=True, **settings)
        Measured(model=self.model, reward_funcs=reward, args=config, train_dataset=Dataset.from_dict({"prompt": prompts}),
                 processing_class=self.tokenizer, rollout_func=rollout, callbacks=[Clock()]).train()
