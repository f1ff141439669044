"""TIGER and LC-Rec in their own protocol: the next purchased item, leave-one-out, Recall and NDCG at 5 and 10.

The data are not ours and are not in the repository. LETTER's public code (github.com/HonghuiBao2000/LETTER, folder
data/) has, for Beauty and Instruments, each user's items in time order and the items' IDs of four codes:

    python benchmarks/reproduce.py --model tiger --data FOLDER     # NAME.inter.json and NAME.index.json; --name Beauty
    python benchmarks/reproduce.py --model lcrec --data FOLDER --epochs 20 --lr 2e-3 --batch 64
    python benchmarks/reproduce.py --data FOLDER --preset letter --bf16 --compile --work RUN --minutes 10   # on a GPU
    python benchmarks/reproduce.py --data FOLDER --preset letter --share 0.1 --work RUN                     # on a CPU

With --work a run is resumed from its last checkpoint by the same command, bit for bit on the same machine; --minutes
stops it in between (status 3: not finished). Without --minutes it trains to the end. --share: this share of the epochs.
Other presets: lcrec (LC-Rec's LoRA on --llm, 4 epochs), small (what docs/reproduction.md has).

As there, the last item of a user is for testing, the one before it for validation, and every other item that has one
before it for training; a prompt shows at most 20 items. Network, prompts and training loop are those of TIGER and
LCRec here. Beams of 20 walk the existing IDs, with probabilities over the vocabulary (LETTER's script for LC-Rec does
not constrain them to existing IDs).

tiger: one example per item, with the network of LETTER's configuration unless --sizes is given (no user token). Ours
has no end token in the answer, 256 examples per step instead of 1,024, and keeps the last weights instead of the best.
lcrec: the task that LETTER's script trains (the next ID after a history of IDs), on --llm. Users' sequences are cut
into stretches of 20, so that a target far into a sequence has 10 to 19 items before it.

Recall counts items: items that share an ID are listed in a fixed order before the cut at K, while LETTER's code counts
any of them as a hit.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback

from recbole_conrec.data.events import NEGATIVE, EventLog
from recbole_conrec.generative.prompts import ID_TEXTS, PromptBuilder, context_of
from recbole_conrec.generative.recommender import expand
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.sft import SFTOptions, train_sft
from recbole_conrec.llm.t5 import EOS, T5Options, load_t5
from recbole_conrec.llm.training import Runtime
from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.utils.files import write_json
from recbole_conrec.utils.yaml_files import parse_value

HISTORY, BEAM = 20, 20
NOT_FINISHED = 3  # exit status
PRESETS = {
    # the network of LETTER-TIGER's configuration, which is our T5's default
    "letter": {"model": "tiger", "epochs": 200, "lr": 5e-4, "batch": 256},
    "lcrec": {"model": "lcrec", "epochs": 4, "lr": 5e-5, "batch": 64},
    "small": {
        "model": "tiger",
        "epochs": 3,
        "lr": 4e-3,
        "batch": 32,
        "users": 5000,
        "sizes": {"layers": 2, "d_model": 64, "heads": 4, "d_kv": 16, "d_ff": 256},
    },
}
WHERE = {"data", "device", "minutes", "work", "save_every", "preset", "compile"}  # do not decide what is trained


def read(folder: Path, name: str) -> tuple[list[list[int]], SemanticIds]:
    """Each user's items, numbered from 1 (0 is padding), and their IDs."""
    try:
        users, index = (json.loads((folder / f"{name}.{part}.json").read_text()) for part in ("inter", "index"))
    except FileNotFoundError as error:
        raise SystemExit(
            f"{error.filename}: no such file; --data is a folder with NAME.inter.json and NAME.index.json "
            "of LETTER's public code"
        ) from None
    codes = np.array([[int(token[3:-1]) for token in index[str(item)]] for item in range(len(index))])
    books = [np.zeros((size, 1), dtype=np.float32) for size in codes.max(axis=0) + 1]
    ids = SemanticIds(np.concatenate([np.full((1, codes.shape[1]), -1), codes]), books, collisions="shared")
    return [[item + 1 for item in items] for items in users.values()], ids


class Tiger:
    """A prompt is the codes of the latest items and an end token; each item is a training example of its own."""

    def __init__(self, ids, args):
        self.backbone = load_t5(ids, T5Options.read(args.sizes, "sizes"), device=args.device, seed=args.seed)
        self.tokens = self.backbone.item_tokens.cpu().numpy()

    def examples(self, sequences) -> list[dict]:
        return [
            {"input_ids": self._prompt(items[:at]), "labels": self.tokens[items[at]].tolist()}
            for items in sequences
            for at in range(1, len(items))
        ]

    def prompts(self, histories):
        return left_pad([self._prompt(items) for items in histories], self.backbone.pad_id, self.backbone.device)

    def _prompt(self, items: list[int]) -> list[int]:
        return [*self.tokens[items[-HISTORY:]].ravel().tolist(), EOS]


class LCRec:
    """The prompts of the method LCRec, with purchases in the place of dislikes."""

    CONTEXT = context_of("negative", HISTORY)

    def __init__(self, ids, args):
        given = {"tiny": args.sizes} if args.llm == "tiny" else {"lora": {}}
        options = BackboneOptions.read(given, "llm_options")
        self.backbone = load_backbone(args.llm, ids, list(ID_TEXTS), options, seed=args.seed, device=args.device)

    def examples(self, sequences) -> list[dict]:
        builder, log, users = self._log(sequences)
        targets = np.arange(len(log)) != log.start[log.user]  # nothing comes before a user's first item
        return builder.packed(log.start[users], log.start[users + 1], self.CONTEXT, HISTORY, targets)

    def prompts(self, histories):
        builder, log, users = self._log(histories)
        asked = builder.history(log.start[users], log.start[users + 1], np.zeros(len(users)), self.CONTEXT, users)
        return asked.to(self.backbone.device).pair

    def _log(self, sequences):
        """Users are numbered from 1; a time is a place in the sequence."""
        lengths = [len(items) for items in sequences]
        log = EventLog.from_arrays(
            user=np.repeat(np.arange(1, len(lengths) + 1), lengths),
            item=np.concatenate(sequences),
            time=np.concatenate([np.arange(n) for n in lengths]),
            feedback=np.full(sum(lengths), NEGATIVE),
            n_users=len(lengths) + 1,
            n_items=len(self.backbone.semantic_ids.codes),
        )
        return PromptBuilder(self.backbone, log, self.backbone.max_length), log, np.arange(1, len(lengths) + 1)


@torch.no_grad()
def evaluate(model, sequences, batch: int = 256) -> dict[str, float]:
    """The last item of each sequence, from those before it."""
    backbone = model.backbone
    backbone.model.eval()
    trie, ranks = backbone.semantic_ids.trie.to(backbone.device), []
    for start in range(0, len(sequences), batch):
        part = sequences[start : start + batch]
        leaves, _ = beam_search(backbone, trie, *model.prompts([items[:-1] for items in part]), width=BEAM)
        found = expand(trie, leaves, leaves.new_zeros((len(part), 1)), 10).cpu().numpy()
        hit = found == np.array([items[-1] for items in part])[:, None]
        ranks += np.where(hit.any(axis=1), hit.argmax(axis=1), 10).tolist()
    ranks = np.array(ranks)
    gain = 1 / np.log2(ranks + 2)
    return {
        f"{name}@{k}": float(np.where(ranks < k, value, 0).mean())
        for name, value in (("Recall", 1.0), ("NDCG", gain))
        for k in (5, 10)
    }


def show(step: int, of: int, entry: dict) -> None:
    if "loss" in entry:
        print(f"step {step} of {of}: loss {entry['loss']:.3f}", flush=True)


class Clock(TrainerCallback):
    """Stops training, with a checkpoint, after some minutes; the last step leaves one, too."""

    def __init__(self, minutes: float | None):
        self.until = float("inf") if minutes is None else time.perf_counter() + 60 * minutes
        self.finished = False

    def on_train_begin(self, args, state, control, **kwargs):
        self.finished = state.global_step >= state.max_steps

    def on_step_end(self, args, state, control, **kwargs):
        self.finished = state.global_step >= state.max_steps
        if self.finished or time.perf_counter() > self.until:
            control.should_save = control.should_training_stop = True


def last_checkpoint(folder: Path) -> str | None:
    """The last whole one: the state of the trainer is written last."""
    whole = [file.parent for file in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda one: int(one.name.split("-")[1]))) if whole else None


def check_work(folder: Path, args: argparse.Namespace) -> None:
    """Exit if the folder is that of a run with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    file, given = folder / "options.json", {k: v for k, v in vars(args).items() if k not in WHERE}
    if file.exists() and (before := json.loads(file.read_text())) != given:
        differs = ", ".join(f"{k} {before.get(k)} -> {v}" for k, v in given.items() if before.get(k) != v)
        raise SystemExit(f"{folder}: a run with other options ({differs}); give another --work, or remove it")
    write_json(file, given)


def train(model, examples: list[dict], args: argparse.Namespace, folder: Path) -> tuple[bool, dict[str, float]]:
    """(whether training is finished, seconds of wall clock and of the CPU over all calls)."""
    options = SFTOptions(epochs=args.epochs, lr=args.lr, batch_size=args.batch, warmup=0.01, bf16=args.bf16)
    clock, spent = Clock(args.minutes), folder / "spent.json"
    runtime = Runtime(
        str(folder),
        seed=args.seed,
        progress=show,
        callbacks=[clock],
        save_steps=args.save_every if args.work else None,
        resume=last_checkpoint(folder),
    )
    before = json.loads(spent.read_text()) if spent.exists() else {"train_s": 0.0, "train_cpu_s": 0.0}
    wall, cpu = time.perf_counter(), time.process_time()
    if args.compile:
        model.backbone.model.compile(dynamic=True)
    train_sft(model.backbone, examples, options, runtime)
    took = {
        "train_s": before["train_s"] + time.perf_counter() - wall,
        "train_cpu_s": before["train_cpu_s"] + time.process_time() - cpu,
    }
    write_json(spent, took)
    return clock.finished, took


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", choices=["tiger", "lcrec"], default="tiger")
    arguments.add_argument("--data", type=Path, required=True, help="folder of NAME.inter.json and NAME.index.json")
    arguments.add_argument("--name", default="Beauty")
    arguments.add_argument("--epochs", type=float, default=200)
    arguments.add_argument("--lr", type=float, default=5e-4)
    arguments.add_argument("--batch", type=int, default=256)
    arguments.add_argument("--seed", type=int, default=42)
    arguments.add_argument("--users", type=int, default=None, help="number of test users, drawn by seed; default all")
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--llm", default="tiny", help="backbone of lcrec, as the option llm")
    arguments.add_argument("--preset", choices=list(PRESETS), help="defaults of the options above and of --sizes")
    arguments.add_argument("--share", type=float, default=1.0, help="of the epochs, such as 0.1")
    arguments.add_argument("--work", type=Path, help="folder of checkpoints, from which the same command resumes")
    arguments.add_argument("--minutes", type=float, help="of training in this call; needs --work")
    arguments.add_argument("--save-every", type=int, default=2000, help="steps between checkpoints")
    arguments.add_argument("--bf16", action="store_true", help="mixed precision, on a GPU")
    arguments.add_argument("--compile", action="store_true", help="torch.compile")
    arguments.add_argument(
        "--sizes",
        type=parse_value,
        default={},
        help="of the network, as '{layers: 2}': the keys of t5 (tiger) or llm_options.tiny (lcrec)",
    )
    preset, _ = arguments.parse_known_args()
    arguments.set_defaults(**PRESETS.get(preset.preset, {}))
    args = arguments.parse_args()
    args.epochs *= args.share
    if args.minutes is not None and args.work is None:
        arguments.error("--minutes needs --work: what is trained until then is kept there")
    if args.work:
        check_work(args.work, args)

    sequences, ids = read(args.data, args.name)
    model = {"tiger": Tiger, "lcrec": LCRec}[args.model](ids, args)
    examples = model.examples([items[:-2] for items in sequences])
    parameters = sum(p.numel() for p in model.backbone.model.parameters())
    print(
        f"{args.name}: {len(sequences):,} users, {len(ids.codes) - 1:,} items, {len(ids.trie.leaf_codes):,} IDs, "
        f"{len(examples):,} training examples; {parameters:,} parameters",
        flush=True,
    )
    kept = contextlib.nullcontext(args.work) if args.work else tempfile.TemporaryDirectory()
    with kept as folder:
        finished, took = train(model, examples, args, Path(folder))
    if not finished:
        print(f"not finished after {took['train_s']:.0f} s in all; the same command resumes", flush=True)
        sys.exit(NOT_FINISHED)
    picked = np.random.default_rng(args.seed).permutation(len(sequences))[: args.users]
    for part, cut in (("validation", -1), ("test", None)):
        metrics = evaluate(model, [sequences[user][:cut] for user in picked])
        result = {"model": args.model, "part": part, "users": len(picked), "epochs": args.epochs, **metrics, **took}
        line = json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in result.items()})
        print(line, flush=True)
        if args.work:
            with (args.work / "results.jsonl").open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
