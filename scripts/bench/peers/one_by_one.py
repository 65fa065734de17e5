"""Plain `generate`, one question after another: `one_by_one.py MODEL ADAPTER PROMPTS DTYPE`.

PROMPTS is JSON: {"max_new_tokens", "arms": {name: {"adapter": bool, "prompts": [messages, …]}}}.
Greedy, the arms one after another on one model that is loaded once.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

began = time.perf_counter()

import torch  # noqa: E402
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

torch.set_num_threads(len(os.sched_getaffinity(0)))
folder, adapter, wanted, dtype = sys.argv[1:5]
work = json.loads(Path(wanted).read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
model = PeftModel.from_pretrained(model, adapter).eval()
loaded = time.perf_counter()
found = {}
for name, arm in work["arms"].items():
    started, texts, tokens = time.perf_counter(), [], []
    with contextlib.nullcontext() if arm["adapter"] else model.disable_adapter():
        for messages in arm["prompts"]:
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True,
                                                return_tensors="pt", return_dict=True)
            with torch.inference_mode():
                out = model.generate(**ids, max_new_tokens=work["max_new_tokens"],
                                     do_sample=False, pad_token_id=tokenizer.eos_token_id)
            tokens.append(out[0, ids["input_ids"].shape[1]:].tolist())
            texts.append(tokenizer.decode(tokens[-1], skip_special_tokens=True))
    found[name] = {"seconds": time.perf_counter() - started, "texts": texts, "tokens": tokens}
print(json.dumps({"load_seconds": loaded - began, "arms": found}))
