"""Where two answers part, and by how little: `ties.py MODEL ADAPTER CASES`.

CASES is JSON: {"pairs": [{"adapter": bool, "messages", "ids": of one, "text": of the other}, …],
"controls": [{"adapter": bool, "messages", "ids"}, …]}. At the first token at which a pair parts,
the lead of one token over the other is taken in float32 and in bfloat16, a single row each time,
there with the adapter added into the rounded weights as `phi3kit` has it. The controls are
answers that did not part: at each of their tokens the same is taken for the two likeliest. Prints
the leads in logits, float32 and bfloat16: {"pairs": [[…, …], …], "controls": [[…, …], …]}, each
with whether the adapter was on; a pair whose texts do not part at a token has null.
"""

import copy
import json
import os
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(len(os.sched_getaffinity(0)))
folder, adapter, cases = sys.argv[1:4]
work = json.loads(Path(cases).read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
models = {}
for adapted in {case["adapter"] for cases in work.values() for case in cases}:
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapted:
        base = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    models[adapted] = [base.eval(), copy.deepcopy(base).to(torch.bfloat16).eval()]


def logits(case, after):
    """Of each type: logits [1 + tokens after the prompt, vocabulary]."""
    prompt = tokenizer.apply_chat_template(case["messages"], add_generation_prompt=True,
                                           return_dict=True)["input_ids"]
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([prompt + after]),
                      logits_to_keep=len(after) + 1).logits[0].float()
                for model in models[case["adapter"]]]


def parting(ids, text):
    """How many of the tokens `text` begins with, and the token that it goes on with."""
    at = 0
    while at < len(ids) and text.startswith(tokenizer.decode(ids[:at + 1])):
        at += 1
    rest = text[len(tokenizer.decode(ids[:at])):]
    going_on = tokenizer(rest, add_special_tokens=False)["input_ids"] if rest else []
    return at, (going_on or [tokenizer.eos_token_id])[0]


pairs, controls = [], []
for case in work["pairs"]:
    ids = case["ids"]
    at, other = parting(ids, case["text"])
    if at == len(ids) or ids[at] == other:
        pairs.append(None)
        continue
    pairs.append([case["adapter"], *(float(found[-1, ids[at]] - found[-1, other])
                                     for found in logits(case, ids[:at]))])
for case in work["controls"]:
    exact, rounded = logits(case, case["ids"][:-1])
    best = exact.topk(2, dim=-1).indices
    controls += [[case["adapter"], *(float(found[i, a] - found[i, b])
                                     for found in (exact, rounded))]
                 for i, (a, b) in enumerate(best.tolist())]
print(json.dumps({"pairs": pairs, "controls": controls}))
