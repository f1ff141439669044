"""What the tests of TIGER and P5-CID share."""

import copy
from types import SimpleNamespace

import numpy as np
import torch
from test_conrec_leak import some_rows, with_log

from recbole_conrec import registry
from recbole_conrec.config import merge
from recbole_conrec.data.events import Instances

SMALL = {
    "t5": {"d_model": 32, "heads": 2, "d_kv": 16, "d_ff": 64, "layers": 2, "dropout": 0.0},
    "stages": [{"name": "next", "task": "next", "epochs": 30, "lr": 0.01, "batch_size": 10}],
    "history": 6,
}


def make_row(make_tiny, name: str, folder, **fixed):
    """Function (**options) -> (config, data, model); IDs are cached in `folder`, which is the test's own."""

    def make(**options):
        config, data = make_tiny(name, **merge(merge(SMALL, fixed), options), checkpoint_dir=str(folder))
        return config, data, registry.find_model(name)(config, data)

    return make


def items_told(model, item: int) -> list[int]:
    """The token ids of an item's ID, counted out level by level."""
    sizes, first = model.semantic_ids.sizes, int(model.backbone.sid_tokens[0])
    return [first + sum(sizes[:level]) + int(code) for level, code in enumerate(model.semantic_ids.codes[item])]


def check_prompts(model, data, tell) -> None:
    """Prompts of test instances against ``tell(user, [(item, feedback), ...]) -> tokens``."""
    log, test = data.log, data.build()[2]
    picked = np.random.default_rng(0).permutation(len(test))[:25]
    ids, mask = model.prompt(test[picked])
    lengths = set()
    for n, row in enumerate(picked):
        user, t0 = test.instances.user[row], test.instances.time[row]
        events = [(int(i), int(f)) for u, i, t, f in zip(log.user, log.item, log.time, log.feedback, strict=True)
                  if u == user and t < t0 and f in model.context.kinds][-6:]
        lengths.add(len(events))
        assert ids[n][mask[n].bool()].tolist() == tell(int(user), events)
        assert (ids[n][~mask[n].bool()] == 0).all()
    assert len(lengths) > 1


def check_learns(made) -> None:
    """Overfits 50 instances, its loss falls, and what it says follows the history."""
    config, data, model = made
    train, valid, _ = data.build()
    train.instances = train.instances[:50]
    trainer = registry.find_trainer(config["model"], type(model))(config, model)
    trainer.fit(SimpleNamespace(_dataset=train), valid)
    losses = [entry["loss"] for entry in trainer.stages[0]["curve"] if "loss" in entry]
    assert losses[-1] < losses[0] / 2
    batch = train[np.arange(50)]
    items = model.recommend(batch, 20)
    assert (items == batch["item_id"][:, None]).any(1).float().mean() > 0.9
    other = copy.copy(batch)
    other.interaction = dict(batch.interaction) | {"history_end": (batch["history_begin"] + batch["history_end"]) // 2}
    shortened = batch["history_end"] - batch["history_begin"] > 3
    moved = (model.recommend(other, 20) != items).any(1)
    assert moved[shortened].float().mean() > 0.8


def check_no_leak(made, by: str) -> None:
    """Everything at or after t0 is changed: of everybody for a split by time, of the user for a split by user."""
    config, data, model = made
    log, rng = data.log, np.random.default_rng(1)

    def facts(data, one):
        torch.manual_seed(0)
        model = registry.find_model(config["model"])(config, data).eval()
        serving = copy.copy(data)
        serving.instances = Instances.of_rows(data.log, one.row)
        batch = serving[[0]]
        ids, mask = model.prompt(batch)
        return (ids[mask.bool()].tolist(), model.semantic_ids.fingerprint, model.recommend(batch, 5).tolist(),
                model.score_candidates(batch, torch.tensor([[1, 2, 3, 4]])).tolist())

    for one in some_rows(data, rng):
        late = (log.time >= one.time) & ((log.user == one.user) | (by == "time"))
        item = np.where(late, 1 + (log.item + 1) % (log.n_items - 1), log.item)
        feedback = np.where(late, -log.feedback, log.feedback)
        assert facts(data, one) == facts(with_log(data, item, feedback), one)
        early = ~late & (log.user == one.user) & ~data.train_mask  # so that the IDs stay, and the prompt alone can move
        if early.any():
            other = with_log(data, np.where(early, 1 + log.item % (log.n_items - 1), log.item), log.feedback)
            before, moved = facts(data, one), facts(other, one)
            assert moved[1] == before[1] and moved[0] != before[0] and moved[3] != before[3]
