"""Mean loss of held-out answers, float32: `python heldout_loss.py MODEL HELDOUT.jsonl ADAPTER`."""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi3kit.dataset.encode import encode
from phi3kit.finetune.trainer import answer_loss
from phi3kit.models.chat import stop_token_ids

base, data, adapter = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
stop = stop_token_ids(tokenizer, model)
if adapter != "none":
    model = PeftModel.from_pretrained(model, adapter)
model.eval()
total, trained, tokens = 0.0, 0, 0
for line in Path(data).read_text(encoding="utf-8").splitlines():
    row = encode(tokenizer, json.loads(line)["messages"], stop, 1024)
    with torch.no_grad():
        total += float(answer_loss(model, torch.tensor([row.input_ids]),
                                   torch.tensor([row.labels])))
    trained += row.trained
    tokens += len(row.input_ids)
print(json.dumps({"loss": total / trained, "trained": trained, "tokens": tokens}))
