"""What the tests of the language models share: a small model, what it answers, and three checks of it."""

import copy
from types import SimpleNamespace

import numpy as np
import torch
from test_conrec_leak import some_rows, with_log

from recbole_conrec import registry
from recbole_conrec.data.events import Instances
from recbole_conrec.options.layers import merge
from recbole_conrec.runs.trainer import find_trainer

SMALL = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": 8, "encoder": ["tfidf", "behaviour"]},
    "history": 6,
}


def make_row(make_tiny, name: str, folder, small: dict = SMALL, **fixed):
    """Function (**options) -> (config, data, model); IDs are cached in `folder`, which is the test's own."""

    def make(**options):
        config, data = make_tiny(name, **merge(merge(small, fixed), options), checkpoint_dir=str(folder))
        return config, data, registry.find_model(name)(config, data)

    return make


def train_on(made, instances: int | None = None):
    """The trainer and the training part (only its first instances, if a number is given) after training."""
    config, data, model = made
    train, valid, _ = data.build()
    if instances is not None:
        train.instances = train.instances[:instances]
        train.splits = train.splits | {"train": train.instances}
        train.first_dislike = np.isin(np.arange(len(data.log)), train.instances.row)
        train._shared = {}
    trainer = find_trainer(config["model"], type(model))(config, model)
    trainer.fit(SimpleNamespace(_dataset=train), valid)
    return trainer, train


def check_learns(made, right=None) -> None:
    """Overfits 50 instances above 0.9, its loss falls, and its answers follow the history.

    `right`: (model, training part, batch) -> bool [50]; default HR@20.
    """
    model = made[2]
    trainer, train = train_on(made, 50)
    losses = [entry["loss"] for entry in trainer.stages[0]["curve"] if "loss" in entry]
    assert losses[-1] < losses[0] / 2
    batch = train[np.arange(50)]
    right = right or (lambda model, train, batch: (model.recommend(batch, 20) == batch["item_id"][:, None]).any(1))
    assert (share := right(model, train, batch).float().mean()) > 0.9, share

    def says(batch):
        some = torch.arange(1, 21).expand(len(batch), -1)
        return model.recommend(batch, 20) if hasattr(model, "recommend") else model.score_candidates(batch, some)

    other = copy.copy(batch)
    other.interaction = dict(batch.interaction) | {"history_end": (batch["history_begin"] + batch["history_end"]) // 2}
    shortened = batch["history_end"] - batch["history_begin"] > 3
    assert (says(other) != says(batch)).any(1)[shortened].float().mean() > 0.8


def check_no_leak(made, by: str, prompt) -> None:
    """Everything at or after t0 is changed, of everybody for a split by time, of the user for a split by user: nothing
    moves. `prompt`: (model, batch) -> (input_ids, attention_mask).
    """
    config, data, _ = made
    log, rng = data.log, np.random.default_rng(1)

    def facts(data, one):
        model = registry.find_model(config["model"])(config, data).eval()
        serving = copy.copy(data)
        serving.instances = Instances.of_rows(data.log, one.row)
        batch = serving[[0]]
        ids, mask = prompt(model, batch).pair
        return ids[mask.bool()].tolist(), model.score_candidates(batch, torch.tensor([[1, 2, 3, 4]])).tolist()

    for one in some_rows(data, rng):
        late = (log.time >= one.time) & ((log.user == one.user) | (by == "time"))
        item = np.where(late, 1 + (log.item + 1) % (log.n_items - 1), log.item)
        feedback = np.where(late, -log.feedback, log.feedback)
        before = facts(data, one)
        assert facts(with_log(data, item, feedback), one) == before
        early = ~late & (log.user == one.user) & ~data.train_mask  # so that the IDs stay, and the prompt alone can move
        if early.any():
            item = np.where(early, 1 + log.item % (log.n_items - 1), log.item)
            moved = facts(with_log(data, item, log.feedback), one)
            assert moved[0] != before[0] and moved[1] != before[1]
