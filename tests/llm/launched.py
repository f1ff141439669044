"""What test_distributed runs on one process and on two: training, then evaluation."""

import json
import os
import socket
import sys
import traceback

import torch
from llmtools import prompts, random_ids, tiny_backbone
from safetensors.torch import save_file

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.grpo import GRPOOptions, train_grpo
from recbole_conrec.llm.sft import SFTOptions, train_sft
from recbole_conrec.llm.t5 import T5Options, load_t5
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.distributed import gather_by_id, my_batches, process_state

LENGTHS = [5 + 7 * n % 19 for n in range(23)]  # 23 instances in batches of 4: six batches, the last of three


def evaluate(backbone):
    """(ids, top 10, scores) of all instances, on every process."""
    rows = prompts(backbone, LENGTHS, seed=1)
    batches = my_batches(len(rows), 4)
    found = [
        beam_search(backbone, backbone.semantic_ids.trie, *left_pad([rows[n] for n in batch], 0), width=10)
        for batch in batches
    ]
    ids = torch.tensor([n for batch in batches for n in batch], dtype=torch.int64)
    return gather_by_id(ids, torch.cat([leaves for leaves, _ in found]), torch.cat([scores for _, scores in found]))


def main(folder):
    state = process_state()
    backbone = tiny_backbone(random_ids(60, (5, 6, 7)))
    runtime = Runtime(folder, logging_steps=1)
    examples = [
        {"input_ids": ids, "completion_mask": [0] * (len(ids) - 3) + [1] * 3} for ids in prompts(backbone, LENGTHS[:16])
    ]
    untrained = evaluate(backbone)
    sft_options = SFTOptions(batch_size=8 // state.num_processes, epochs=2, lr=1e-3)  # the same 8 examples a step
    sft = train_sft(backbone, examples, sft_options, runtime)
    trained = {name: p.detach().clone() for name, p in backbone.model.named_parameters()}
    train_grpo(
        backbone,
        backbone.semantic_ids.trie,
        [{"input_ids": example["input_ids"]} for example in examples],
        lambda items: (items < 20).float(),
        GRPOOptions(G=4, prompts_per_step=4, steps=2, lr=1e-3),
        runtime,
    )
    ids, leaves, scores = evaluate(backbone)
    sizes = T5Options(d_model=16, heads=2, d_kv=8, d_ff=32, layers=1, dropout=0.0)
    t5 = load_t5(backbone.semantic_ids, sizes)
    pairs = [{"input_ids": ids, "labels": ids[: 1 + n % 3]} for n, ids in enumerate(prompts(t5, LENGTHS[:16]))]
    train_sft(t5, pairs, sft_options, runtime)
    result = {
        "untrained": untrained[1],
        "untrained_scores": untrained[2],
        "ids": ids,
        "leaves": leaves,
        "scores": scores,
        "loss": torch.tensor([entry["loss"] for entry in sft if "loss" in entry]),
    }
    result |= {f"sft.{name}": p for name, p in trained.items()}
    result |= {f"t5.{name}": p.detach() for name, p in t5.model.named_parameters()}
    result |= {f"grpo.{name}": p.detach() for name, p in backbone.model.named_parameters()}
    result = {name: value.contiguous().clone() for name, value in result.items()}
    save_file(result, f"{folder}/{state.num_processes}-{state.process_index}.safetensors")
    if state.num_processes > 1:
        torch.distributed.destroy_process_group()


def two(folder) -> None:
    """Two processes, forked from this one, with the variables that `accelerate launch` and `torchrun` give theirs.

    So what they need is imported once. It must not have computed anything: threads do not survive a fork.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    for rank in range(2):
        if process := os.fork():
            started.append(process)
            continue
        os.environ.update(place | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        code = 1
        try:
            main(folder)
            with open(f"{folder}/modules-{rank}.json", "w") as file:
                json.dump([name for name, module in sys.modules.items() if module], file)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    ends = [os.waitpid(process, 0)[1] for process in started]
    sys.exit(any(ends))
