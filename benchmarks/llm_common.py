"""What the benchmarks of the language-model engine share: models, prompts, time and memory."""

import argparse
import ctypes
import gc
import json
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recbole_conrec.llm.backbone import Backbone, BackboneOptions, load_backbone
from recbole_conrec.llm.loading import dtype_of
from recbole_conrec.llm.tiny import TinyOptions, build_tokenizer
from recbole_conrec.tokenizer.semantic_ids import SemanticIds

SHAPE = "smollm2-shape"  # SmolLM2-135M's sizes with random weights


def parser(description: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--llm", default="tiny", help=f"tiny, a hub id, a folder, a .gguf file or {SHAPE}")
    arguments.add_argument("--prompt", type=int, nargs="+", default=[64, 256, 1024], help="tokens in a prompt")
    arguments.add_argument("--items", type=int, default=1682)
    arguments.add_argument("--codes", type=int, default=256, help="codes per level, of three levels")
    arguments.add_argument("--repeats", type=int, default=3, help="runs, of which the best counts")
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--dtype", default="float32")
    arguments.add_argument("--threads", type=int, default=None, help="on a CPU; with 1, time is the process's CPU time")
    arguments.add_argument("--no-warm-up", action="store_true", help="time the first run as well: for runs of minutes")
    arguments.add_argument("--ours-only", action="store_true", help="leave the alternative out; its figures are nan")
    arguments.add_argument("--json", type=Path, help="append the results to this file, one JSON object a line")
    return arguments


def make_backbone(args, items: int | None = None) -> Backbone:
    """The model with `items` random IDs of three levels."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.autograd.set_detect_anomaly(False)
    rng = np.random.default_rng(0)
    n = (items or args.items) + 1
    flat = rng.permutation(args.codes**3)[: n - 1]
    codes = np.vstack([np.full(3, -1), np.stack(np.unravel_index(flat, (args.codes,) * 3), 1)])
    ids = SemanticIds(codes, [np.zeros((args.codes, 4), dtype=np.float32)] * 3)
    words = [f"word{n}" for n in range(2000)]
    if args.llm == SHAPE:
        return smollm2_shape(args, ids, words)
    options = BackboneOptions.read({"dtype": args.dtype}, "")
    return load_backbone(args.llm, ids, words, options, device=args.device)


def smollm2_shape(args, ids: SemanticIds, words: list[str]) -> Backbone:
    """A model as large as SmolLM2-135M with random weights, which are as fast: for machines without the file."""
    words_alone = 49_152
    config = LlamaConfig(
        vocab_size=words_alone + sum(ids.sizes),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config).to(args.device, dtype_of(args.dtype))
    tokens = torch.arange(words_alone, config.vocab_size)
    return Backbone(model, build_tokenizer(words, TinyOptions()), tokens, ids)


def random_prompts(backbone: Backbone, n: int, length: int) -> list[list[int]]:
    rng = np.random.default_rng(1)
    first = int(backbone.sid_tokens.min())
    return rng.integers(3, first, size=(n, length)).tolist()


def synchronize(device) -> None:
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


def seconds_of(args, function) -> float:
    """How long `function()` takes.

    One thread on a CPU is timed by the process's CPU time, which other work on the machine disturbs less; of several
    threads, CPU time would count their waiting for each other.
    """
    clock = time.process_time if args.device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    synchronize(args.device)
    started = clock()
    function()
    synchronize(args.device)
    return clock() - started


def alternate(functions: dict, args) -> dict[str, dict[str, float]]:
    """Run the functions in turn, `args.repeats` times each after one warm-up -> best seconds and peak MiB of each.

    In turn, because a machine's speed drifts; the best, because other work on the machine only ever slows one down.
    """
    best = {name: {"seconds": float("inf"), "peak_mib": 0.0} for name in functions}
    if args.ours_only:
        functions = {name: function for name, function in functions.items() if name != "theirs"}
        best["theirs"] = {"seconds": float("nan"), "peak_mib": float("nan")}
    if not args.no_warm_up:
        for function in functions.values():
            function()
    for _ in range(args.repeats):
        for name, function in functions.items():
            with Peak(args.device) as peak:
                seconds = seconds_of(args, function)
            best[name]["seconds"] = min(best[name]["seconds"], seconds)
            best[name]["peak_mib"] = max(best[name]["peak_mib"], peak.mib)
    return best


class Peak:
    """Peak memory above where the block began, in MiB: resident memory on a CPU (sampled), allocated on a GPU."""

    def __init__(self, device):
        self.on_gpu = str(device).startswith("cuda")

    def __enter__(self):
        gc.collect()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self.start = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory, and a second run would seem to need none
            self.process = psutil.Process()
            self.start = self.top = self.process.memory_info().rss
            self.done = threading.Event()
            self.thread = threading.Thread(target=self._watch, daemon=True)
            self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.002):
            self.top = max(self.top, self.process.memory_info().rss)

    def __exit__(self, *_):
        if self.on_gpu:
            self.mib = (torch.cuda.max_memory_allocated() - self.start) / 2**20
        else:
            self.done.set()
            self.thread.join()
            self.mib = (self.top - self.start) / 2**20


def report(args, row: dict) -> None:
    """Print a result and, with `--json`, append it to that file."""
    row = {"llm": Path(args.llm).name[:24], "device": args.device, "threads": torch.get_num_threads()} | row
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(row) + "\n")
