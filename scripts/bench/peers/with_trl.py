"""TRL's SFTTrainer at its defaults: `with_trl.py MODEL TRAIN OUT RATE [CONTEXT]`.

Set are only what has to be equal for the comparison: the data, one epoch, the peak rate and
its schedule, and the adapter's shape. Everything else is as the library has it.
"""

import json
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

model, data, out, rate = sys.argv[1:5]
rows = [json.loads(line)["messages"]
        for line in Path(data).read_text(encoding="utf-8").splitlines()]
dataset = Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in rows])


def now() -> float:
    """When all that was begun on a card is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(TrainerCallback):
    """Seconds from the first step on: loading and encoding are no training.

    And those after the first step, which warms kernels up.
    """

    began = warm = ended = 0.0

    def on_train_begin(self, args, state, control, **kwargs):
        self.began = now()

    def on_step_end(self, args, state, control, **kwargs):
        if not self.warm:
            self.warm = now()

    def on_train_end(self, args, state, control, **kwargs):
        self.ended = now()


clock = Clock()
trainer = SFTTrainer(
    model=model, train_dataset=dataset, callbacks=[clock],
    args=SFTConfig(output_dir=out, num_train_epochs=1, learning_rate=float(rate),
                   lr_scheduler_type="cosine", warmup_steps=0.05, save_strategy="no",
                   use_cpu=not torch.cuda.is_available(), report_to="none", seed=0,
                   data_seed=0, disable_tqdm=True,
                   **({"max_length": int(sys.argv[5])} if len(sys.argv) > 5 else {})),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear",
                           task_type="CAUSAL_LM"))
trainer.train()
trainer.model.save_pretrained(f"{out}/adapter")
print(json.dumps({
    "seconds": clock.ended - clock.began, "seconds_after_first": clock.ended - clock.warm,
    "steps": trainer.state.global_step,
    "batch": trainer.args.per_device_train_batch_size,
    "checkpointing": bool(trainer.args.gradient_checkpointing),
    "bf16": bool(trainer.args.bf16),
    "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0}))
