"""CoNRec's training stages: what each one shows the model. A stage is a mapping of ``stages`` in the YAML.

``task`` is one of

    translation   ID -> title and title -> ID
    alignment     four items, one disliked and three liked, no user: name the disliked one
    next          next-negative prediction, on whole sequences
    grpo          group-relative policy optimisation with a reward of ``llm/rewards.py``
"""

import numpy as np
import torch
from tqdm import tqdm
from transformers import TrainerCallback

from recbole_conrec.config import nearest
from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.errors import UserError
from recbole_conrec.llm.prompts import ITEM_OF, ODD_ONE, TITLE_OF, context_of
from recbole_conrec.llm.rewards import REWARDS, best_cosine, unit_vectors
from recbole_conrec.llm.sft import train_sft

SFT_NEEDS, SFT_TAKES = {"epochs", "lr", "batch_size"}, {"weight_decay", "warmup", "evaluate_every"}
NEEDS = {
    "translation": SFT_NEEDS,
    "alignment": SFT_NEEDS | {"samples"},
    "next": SFT_NEEDS,
    "grpo": {"samples", "steps", "prompts_per_step", "G", "beta", "gamma", "lr", "reward", "neighbours"},
}
TAKES = {
    "translation": SFT_TAKES,
    "alignment": SFT_TAKES | {"min_negatives"},
    "next": SFT_TAKES | {"context", "history"},
    "grpo": {"context", "window", "history", "temperature", "clean", "evaluate_every"},
}


def check_stages(stages, config) -> None:
    """Raise UserError for a stage that is no mapping, an unknown task, or options that do not suit its task."""
    if not isinstance(stages, list) or not stages:
        raise UserError("stages: expected a list of at least one stage, see properties/model/CoNRec.yaml")
    for number, stage in enumerate(stages):
        where = f"stages[{number}]"
        task = stage.get("task") if isinstance(stage, dict) else None
        if not isinstance(task, str) or task not in NEEDS or not isinstance(stage.get("name"), str):
            raise UserError(f"{where}: expected a mapping with a `name` and a `task` out of {', '.join(NEEDS)}")
        where, known = f"{where} ({stage['name']})", {"name", "task"} | NEEDS[task] | TAKES[task]
        for key in sorted(set(stage) - known):
            raise UserError(f"{where}: '{key}' is no option of the task '{task}'{nearest(key, known)}; it takes "
                            f"{', '.join(sorted(known))}")
        for key in sorted(NEEDS[task] - set(stage)):
            raise UserError(f"{where}: the task '{task}' needs `{key}`; see properties/model/CoNRec.yaml")
        for key in sorted(set(stage) & (NEEDS[task] | TAKES[task]) - {"context", "window", "reward", "clean"}):
            if not isinstance(stage[key], int | float) or isinstance(stage[key], bool):
                raise UserError(f"{where}: {key} is {stage[key]!r}; expected a number")
        if task == "grpo" and (stage["reward"] not in REWARDS or stage["G"] < 2):
            raise UserError(f"{where}: `reward` must be one of {', '.join(REWARDS)}, and `G` at least 2")
        if set(stage.get("clean") or {"threshold": 0, "factor": 0}) != {"threshold", "factor"}:
            raise UserError(f"{where}: clean takes `threshold` and `factor`")
        if task in ("next", "grpo"):
            _context(stage, config)


def run_stage(model, data, stage: dict, config, folder, score, show_progress: bool) -> dict:
    """Train one stage in place.

    Args:
        model: CoNRec.
        data: the training part of the data set.
        folder: where TRL may write.
        score: () -> float, the validation metric of the model as it stands.

    Returns:
        the stage's entry: samples, steps, and its curve (loss or reward, validation).
    """
    rng = np.random.default_rng([config["seed"], *stage["name"].encode()])
    best = BestWeights(model.lm, score, stage.get("evaluate_every"))
    model.eval()
    if stage["task"] == "grpo":
        samples, log = _grpo(model, data, stage, config, folder, rng, best, show_progress)
    else:
        rows = {"translation": _translation, "alignment": _alignment, "next": _next}[stage["task"]](
            model, data, stage, config, rng)
        samples = len(rows)
        with _Bar(stage["name"], show_progress) as bar:
            log = train_sft(
                model.backbone, rows, output_dir=str(folder), epochs=1 if stage["task"] == "next" else
                stage["epochs"], lr=stage["lr"], batch_size=stage["batch_size"],
                weight_decay=stage.get("weight_decay", 0.01), warmup=stage.get("warmup", 0.05), seed=config["seed"],
                progress=bar, callbacks=[best])
    best.restore()
    curve = [{k: v for k, v in entry.items() if isinstance(v, (int, float))} for entry in log]
    return {"samples": samples, "steps": max((e.get("step", 0) for e in log), default=0), "curve": curve,
            "validation": best.curve}


# -- supervised tasks ----------------------------------------------------------------------------------------------
def _next(model, data, stage, config, rng) -> list[dict]:
    """Every user's training events as packed sequences, as often as ``epochs`` says, each time with simultaneous events
    in a new order. All of these rows are shuffled together and shown once."""
    log = data.log
    begin, end = log.start[:-1], log.first_at_or_after(np.arange(log.n_users), data.cuts.valid_start)
    context = _context(stage, config)
    rows = []
    for _ in range(int(stage["epochs"])):
        rows += model.prompts.packed(begin, end, context, context.max_events, data.first_dislike, rng)
    return rows


def _translation(model, data, stage, config, rng) -> list[dict]:
    """Both directions for every item that has a text."""
    prompts, titles = model.prompts, data.item_text()
    items = np.array([item for item, title in enumerate(titles) if title])
    encoded = model.backbone.encode([f" {titles[item]}" for item in items])
    title_of, item_of, stop = prompts.encode(TITLE_OF), prompts.encode(ITEM_OF), prompts.encode("?")
    end = [model.backbone.eos_id]
    rows = []
    for item, title in zip(items, encoded, strict=True):
        sid = prompts.item_tokens[item].tolist()
        rows.append(_row([*title_of, *sid, *stop], [*title, *end]))
        rows.append(_row([*item_of, *title, *stop], sid))
    return rows


def _alignment(model, data, stage, config, rng) -> list[dict]:
    """Item-level alignment: items with more than ``min_negatives`` dislikes against three items that were liked."""
    answers, choices = alignment_choices(data, stage.get("min_negatives", 3), stage["samples"], rng)
    prompts = model.prompts
    question = prompts.encode(ODD_ONE)
    return [_row([*question, *prompts.item_tokens[four].reshape(-1).tolist()], prompts.item_tokens[answer].tolist())
            for answer, four in zip(answers, choices, strict=True)]


def alignment_choices(data, min_negatives: int, samples: int, rng):
    """Answers [S] and the four choices [S, 4] in random order. Training events only.

    The answer is drawn among items with more than ``min_negatives`` negatives, the others from positive events.
    Raises UserError if there is no such item or no positive event.
    """
    log = data.log
    item, feedback = log.item[data.train_mask], log.feedback[data.train_mask]
    disliked = np.flatnonzero(np.bincount(item[feedback == NEGATIVE], minlength=log.n_items) > min_negatives)
    liked = item[feedback == POSITIVE]
    if not len(disliked) or len(np.unique(liked)) < 4:
        raise UserError(f"alignment: {len(disliked)} items have more than {min_negatives} negatives and "
                        f"{len(np.unique(liked))} items are liked in training; lower `min_negatives` or leave it out")
    answers = rng.choice(disliked, samples)
    choices = np.concatenate([answers[:, None], rng.choice(liked, (samples, 3))], axis=1)
    while (clash := (np.diff(np.sort(choices, axis=1), axis=1) == 0).any(axis=1)).any():
        choices[clash, 1:] = rng.choice(liked, (int(clash.sum()), 3))
    return answers, rng.permuted(choices, axis=1)


def _row(prompt: list[int], answer: list[int]) -> dict:
    return {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}


# -- GRPO ----------------------------------------------------------------------------------------------------------
def _grpo(model, data, stage, config, folder, rng, best, show_progress):
    """Rewarded by what the user will dislike (GTS) and like (FPS) within the window, training events only."""
    from recbole_conrec.llm.grpo import train_grpo

    rows = grpo_rows(model, data, stage, config, rng)
    vectors, codes = unit_vectors(model.semantic_ids), torch.from_numpy(np.array(model.semantic_ids.codes))
    function, gamma = REWARDS[stage["reward"]], stage["gamma"]

    def reward(items, gts, fps):
        return function(items, _padded(gts), _padded(fps), vectors, codes, gamma)

    with _Bar(stage["name"], show_progress) as bar:
        log = train_grpo(
            model.backbone, model.trie, rows, reward, output_dir=str(folder), G=stage["G"],
            prompts_per_step=stage["prompts_per_step"], steps=stage["steps"], beta=stage["beta"], lr=stage["lr"],
            temperature=stage.get("temperature", 1.0), seed=config["seed"], logging_steps=10, progress=bar,
            callbacks=[best])
    return len(rows), log


def grpo_rows(model, data, stage, config, rng) -> list[dict]:
    """Prompts of the stage's context with the columns ``gts`` and ``fps``: lists of item ids."""
    picked = rng.permutation(len(data.instances))[:stage["samples"]]
    part = data.instances[picked]
    gts = _lists(data.future(part, (NEGATIVE,)))
    fps = _lists(data.future(part, (POSITIVE,)))
    swing, keep = data.swing(), stage["neighbours"]
    gts = [np.unique(np.concatenate([own, *(swing.items[swing.ptr[i]:swing.ptr[i + 1]][:keep] for i in own)]))
           for own in gts]
    ids, mask = model.prompts.history(part.begin, part.end, part.time, _context(stage, config), part.user)
    rows = [{"input_ids": row[there].tolist(), "gts": g.tolist(), "fps": f.tolist()}
            for row, there, g, f in zip(ids, mask.bool(), gts, fps, strict=True)]
    if stage.get("clean"):
        rows += _repeats(model, rows, stage["clean"])
    return rows


@torch.no_grad()
def _repeats(model, rows, clean: dict) -> list[dict]:
    """Data cleaning between stages: prompts to which the model now answers something too similar to what the user will
    like come again ``factor`` - 1 times (ours: the paper says that such samples are augmented)."""
    from recbole_conrec.llm.batch import left_pad
    from recbole_conrec.llm.decoding import beam_search

    ids, mask = left_pad([row["input_ids"] for row in rows], model.backbone.pad_id, model.device)
    leaves, _ = beam_search(model.backbone, model.trie, ids, mask, width=4, normalise=model.normalise, chunk=128)
    first = model.trie.leaf_items[model.trie.leaf_ptr[leaves[:, :1].clamp(min=0)]].cpu()
    close = best_cosine(first, _padded([row["fps"] for row in rows]),
                        unit_vectors(model.semantic_ids))[:, 0] > clean["threshold"]
    return [row for row, again in zip(rows, close.tolist(), strict=True) if again] * (clean["factor"] - 1)


def _lists(csr) -> list[np.ndarray]:
    return np.split(csr[1], csr[0][1:-1])


def _padded(lists) -> torch.Tensor:
    width = max(map(len, lists), default=0)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in lists], dtype=torch.int64).view(len(lists), width)


def _context(stage, config):
    context = stage.get("context") or config["context"]
    return context_of(context, int(stage.get("history") or config["history"]), stage.get("window"))


# -- while a stage runs --------------------------------------------------------------------------------------------
class BestWeights(TrainerCallback):
    """Scores the model every few steps on validation and keeps the best weights, the starting ones included."""

    def __init__(self, lm, score, every: int | None):
        self.lm, self.score, self.every = lm, score, every
        self.curve: list[dict] = []
        self.best, self.weights = -1.0, None

    def on_train_begin(self, args, state, control, **kwargs):
        if self.every:
            self._look(0)

    def on_step_end(self, args, state, control, **kwargs):
        if self.every and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            self._look(state.global_step)

    def _look(self, step: int) -> None:
        training = self.lm.training
        value = self.score()
        self.lm.train(training)
        self.curve.append({"step": step, "valid": value})
        if value > self.best:
            self.best = value
            self.weights = {n: p.detach().clone() for n, p in self.lm.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def restore(self) -> None:
        if self.weights is not None:
            for name, parameter in self.lm.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])


class _Bar:
    """A progress bar that train_sft and train_grpo move."""

    def __init__(self, name: str, show: bool):
        self.bar = tqdm(desc=f"stage {name}", unit="step", disable=not show)

    def __call__(self, step: int, of: int, entry: dict) -> None:
        self.bar.total = of
        shown = {k: entry[k] for k in ("loss", "reward", "kl") if k in entry}
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(step - self.bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
