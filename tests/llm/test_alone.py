"""The engine works by itself: without RecBole, and without this package's data and methods."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys

import pytest
sys.modules["recbole"] = None  # importing it fails

import numpy as np

from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.grpo import GRPOOptions, train_grpo
from recbole_conrec.llm.sft import SFTOptions, train_sft
from recbole_conrec.llm.training import Runtime
from recbole_conrec.tokenizer.semantic_ids import SemanticIds

codes = np.array([[-1, -1], *([a, b] for a in range(4) for b in range(5))])
ids = SemanticIds(codes, [np.zeros((4, 2)), np.zeros((5, 2))])
tiny = {"layers": 1, "hidden": 16, "heads": 2, "kv_heads": 1, "intermediate": 16, "max_length": 64}
backbone = load_backbone("tiny", ids, ["the user disliked"], BackboneOptions.read({"tiny": tiny}, "llm_options"))

prompts = backbone.encode([f"the user disliked {ids.text(item)}" for item in range(1, 9)])
answers = backbone.item_tokens[2:10].tolist()
runtime = Runtime(sys.argv[1], logging_steps=1)
examples = [
    {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}
    for prompt, answer in zip(prompts, answers)
]
log = train_sft(backbone, examples, SFTOptions(batch_size=4, epochs=2), runtime)
assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3, 4]

def next_one(items, *, liked, **_):
    return (items == items.new_tensor(liked)[:, None]).float()

examples = [{"input_ids": prompt, "liked": item + 1} for item, prompt in enumerate(prompts, 1)]
log = train_grpo(backbone, ids.trie, examples, next_one, GRPOOptions(G=4, prompts_per_step=4, steps=2), runtime)
assert [entry["step"] for entry in log if "rewards/next_one/mean" in entry] == [1, 2]

leaves, scores = beam_search(backbone, ids.trie, *left_pad(prompts, backbone.pad_id), width=20)
assert [sorted(row) for row in leaves.tolist()] == [list(range(20))] * 8 and scores.isfinite().all()

ours = [name.split(".")[1] for name in sys.modules if name.startswith("recbole_conrec.")]
print(*sorted(set(ours)))
print(*[name for name, module in sys.modules.items() if name.split(".")[0] == "recbole" and module])
"""


def test_it_loads_decodes_and_trains_without_recbole_data_and_methods(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rooms, recbole = done.stdout.split("\n")[:2]
    rooms_of_the_package = {"compat", "on_import"}  # what its root registers for when RecBole is imported
    assert set(rooms.split()) - rooms_of_the_package == {"llm", "options", "tokenizer", "utils"}
    assert recbole == ""
