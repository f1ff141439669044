"""``recbole-conrec explain``: one user's prompt, what a trained run answers to it, and how CoNRec's reward judges that.

The view one needs to find out why a run is as it is. It looks at the future of the instance (GTS, FPS, hits), which the
model has not seen.
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.generative.rewards import REWARDS
from recbole_conrec.generative.tasks import targets
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_text

DEFAULT = {"name": "default", "reward": "negatives_minus_positives", "gamma": 0.5, "neighbours": 1}


@dataclass(frozen=True)
class Answer:
    """One generation: item and log-likelihood, the nearest items (0: none) of GTS and FPS with their cosines, the
    reward, and what was hit: 'next', 'F' (of the window), 'neighbour' (of GTS by Swing alone) or ''."""

    item: int
    likelihood: float
    gts: int
    gts_cosine: float
    fps: int
    fps_cosine: float
    reward: float
    hit: str


@dataclass(frozen=True)
class Explanation:
    """What :func:`explain` gives.

    Attributes:
        user: token. number, of: this instance of so many of the split. t0: seconds.
        prompt: (words, item) in the order of the prompt; item 0 after the last words, where the answer follows.
        tokens: how many the prompt has.
        next, f, gts, fps: items of the truth and of the reward.
        stage: the reward's options. answers: best first.
    """

    user: str
    split: str
    number: int
    of: int
    t0: int
    prompt: list[tuple[str, int]]
    tokens: int
    next: int
    f: list[int]
    gts: list[int]
    fps: list[int]
    stage: dict
    answers: list[Answer]


@torch.no_grad()
def explain(
    run, user: str, *, instance: int = 1, split: str = "test", stage: str | None = None, k: int = 20
) -> Explanation:
    """Look at one instance of a trained run.

    Args:
        run: :class:`recbole_conrec.runs.restore.TrainedRun` of a model that answers with semantic IDs.
        user: id as in the data files. instance: which of his instances in the split, from 1 on.
        stage: whose reward, GTS and FPS; by default the last GRPO stage's, or for a run without one CoNRec's defaults.
        k: generations.

    Raises UserError for a model that generates nothing, an unknown user or stage, or an instance that is not there.
    """
    model, data = run.model, run.data
    if not isinstance(model, GenerativeRecommender):
        raise UserError(f"explain: {run.config['row']} answers with no semantic IDs; give a run of CoNRec, LCRec, ...")
    for name, value in (("instance", instance), ("k", k)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"explain: --{name}={value!r} must be a whole number of at least 1")
    judge = _stage(run.config["stages"], stage)
    parts = {part.split: part for part in data.build()}
    if split not in parts:
        raise UserError(f"explain: --split={split!r} is none of {', '.join(parts)}")
    number = data.field2token_id[data.uid_field].get(str(user), 0)
    if not number:
        raise UserError(f"explain: there is no user '{user}' in {data.dataset_name}")
    serving = parts[split]
    mine = np.flatnonzero(serving.instances.user == number)
    if instance > len(mine):
        raise UserError(
            f"explain: user '{user}' has {len(mine)} instances in {split}, and --instance={instance} was "
            "asked for; see --split"
        )
    at = mine[instance - 1]
    part, interaction = serving.instances[[at]], serving[[at]].to(run.config["device"])

    gts, fps = (one[0] for one in targets(data, part, judge, run.config))
    _, future = data.future(part, (NEGATIVE,))
    items = model.recommend(interaction, k)
    likely = model.scores_by("likelihood", interaction, items)[0].tolist()
    ids, mask = model.prompt(interaction)
    tokens = ids[0][mask[0].bool()].tolist()
    asked, items = int(part.item[0]), items[0][items[0] > 0].cpu()
    return Explanation(
        user=str(user),
        split=split,
        number=instance,
        of=len(mine),
        t0=int(part.time[0]),
        tokens=len(tokens),
        prompt=read_prompt(model, tokens),
        next=asked,
        f=future.tolist(),
        gts=gts.tolist(),
        fps=fps.tolist(),
        stage=judge,
        answers=_judge(model, items, likely, gts, fps, judge, asked, set(future.tolist())),
    )


def _stage(stages, name: str | None) -> dict:
    able = {stage["name"]: stage for stage in stages if stage.get("reward") in REWARDS and "neighbours" in stage}
    if name is None:
        return list(able.values())[-1] if able else DEFAULT
    if name not in able:
        raise UserError(f"explain: --stage={name} has no reward of GTS and FPS; there are {', '.join(able) or 'none'}")
    return able[name]


def _judge(model, items, likely, gts, fps, stage, asked: int, future: set[int]) -> list[Answer]:
    vectors = model.vectors.cpu()
    codes = torch.from_numpy(np.array(model.semantic_ids.codes))
    wanted, unwanted = (torch.from_numpy(np.asarray(one, dtype=np.int64))[None] for one in (gts, fps))
    rewards = REWARDS[stage["reward"]](items[None], wanted, unwanted, vectors, codes, stage["gamma"])[0].tolist()
    near, far = _nearest(items, wanted[0], vectors), _nearest(items, unwanted[0], vectors)
    answers = []
    for n, item in enumerate(items.tolist()):
        hit = "next" if item == asked else "F" if item in future else "neighbour" if item in gts else ""
        answers.append(Answer(item, likely[n], *near[n], *far[n], rewards[n], hit))
    return answers


def _nearest(items, targets, vectors) -> list[tuple[int, float]]:
    if not len(targets):
        return [(0, 0.0)] * len(items)
    cosine, at = (vectors[items] @ vectors[targets].T).max(1)
    return list(zip(targets[at].tolist(), cosine.tolist(), strict=True))


def read_prompt(model, tokens: list[int]) -> list[tuple[str, int]]:
    """Token ids -> (words, item) pairs: the words before each item, and last the words after all of them with item 0.

    Words of a model without a tokenizer are its numbers. Tokens of an ID that no item has are left as they read.
    """
    backbone, depth = model.backbone, model.semantic_ids.depth
    place = {int(token): n for n, token in enumerate(backbone.sid_tokens.tolist())}
    offsets = model.semantic_ids.level_offset.tolist()
    names = model.semantic_ids.tokens()
    out, words, at = [], [], 0
    while at < len(tokens):
        run = [place.get(token, -1) for token in tokens[at : at + depth]]
        codes = [n - offset for n, offset in zip(run, offsets, strict=False)]
        item = 0
        if len(run) == depth and all(0 <= c < size for c, size in zip(codes, model.semantic_ids.sizes, strict=True)):
            found = model.semantic_ids.items_of(np.array(codes))
            item = int(found[0]) if len(found) else 0
        if item:
            out.append((_words(backbone, words, place, names), item))
            words, at = [], at + depth
        else:
            words.append(tokens[at])
            at += 1
    return [*out, (_words(backbone, words, place, names), 0)]


def _words(backbone, tokens, place, names) -> str:
    if backbone.tokenizer is None:
        return " ".join(names[place[t]] if t in place else f"[{t}]" for t in tokens)
    return backbone.tokenizer.decode(tokens).strip()


# -- as text and as a page -----------------------------------------------------------------------------------------
def view(run, seen: Explanation) -> Group:
    """The explanation for the terminal (or, through a recording console, as HTML)."""
    titles, ids = run.data.item_text(), run.model.semantic_ids
    token = run.data.field2id_token[run.data.iid_field]

    def named(item: int, width: int = 10**6) -> str:
        title = titles[item] or "item"
        return f"{title[:width]}{'…' * (len(title) > width)} ({token[item]})" if item else "-"

    prompt = [
        Text.assemble(f"{words} ", (ids.text(item), "cyan"), (f"  {named(item)}" if item else "?", "dim"))
        for words, item in seen.prompt
    ]
    future = {
        "next": [seen.next],
        "F": seen.f,
        "GTS beyond F": [item for item in seen.gts if item not in seen.f],
        "FPS": seen.fps,
    }
    truth = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for name, items in future.items():
        titled = "; ".join(map(named, items))
        truth.add_row(Text(f"{name} ({len(items)})", style="bold"), Text(titled or "-"))
    answers = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("", "generation", "item", "log p", "reward", "GTS", "nearest of it", "FPS", "nearest of it", "hit"):
        right = column in ("", "log p", "reward", "GTS", "FPS")
        answers.add_column(column, justify="right" if right else "left", no_wrap=right or column == "generation")
    for n, one in enumerate(seen.answers, start=1):
        answers.add_row(
            str(n),
            Text(ids.text(one.item), style="cyan"),
            Text(named(one.item, 24)),
            f"{one.likelihood:.2f}",
            f"{one.reward:+.3f}",
            f"{one.gts_cosine:.2f}",
            Text(named(one.gts, 24)),
            f"{one.fps_cosine:.2f}",
            Text(named(one.fps, 24)),
            one.hit,
            style="bold green" if one.hit in ("next", "F") else "",
        )
    judge = seen.stage
    head = (
        f"{run.config['row']} on {run.config['dataset']}: user {seen.user}, {seen.split} instance {seen.number} of "
        f"{seen.of}, t0 = {seen.t0}"
    )
    reward = (
        f"reward of stage {judge['name']}: {judge['reward']}, gamma {judge['gamma']}, {judge['neighbours']} "
        "Swing neighbours"
    )
    lines = [
        f"\nThe prompt ({seen.tokens} tokens), with titles that the model does not see",
        "\nWhat follows, which the model does not see either",
        f"\nThe {len(seen.answers)} likeliest answers; {reward}",
    ]
    lines = [Text(line, style="bold") for line in lines]
    return Group(Panel(Text(head, style="bold"), box=box.SQUARE), lines[0], *prompt, lines[1], truth, lines[2], answers)


def write_html(run, seen: Explanation, file) -> None:
    """The same view as one page that needs nothing else."""
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(view(run, seen))
    page = console.export_html(inline_styles=True)
    write_text(file, page)
