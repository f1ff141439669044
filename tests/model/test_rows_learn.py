"""Every dense method learns on the small log: it overfits 50 instances, its predictions follow the history, and nothing
at or after t0, or the user's validation, reaches it.
"""

import copy
from functools import cache

import numpy as np
import pytest
import tinylog
import torch
from recbole.data.utils import get_dataloader
from recbole.utils import init_seed
from test_conrec_leak import with_log

from recbole_conrec import registry
from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.evaluation.ranking import recommend
from recbole_conrec.runs.runner import run

pytestmark = pytest.mark.slow

TRANSFORMER = {"n_layers": 1, "hidden_size": 32, "inner_size": 64, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
ROWS = {  # method: its own options
    "SASRec": TRANSFORMER,
    "Caser": {"embedding_size": 32, "dropout_prob": 0.0},
    "BERT4Rec": TRANSFORMER,
    "FDSA": TRANSFORMER,
    "S3Rec": TRANSFORMER,
    "PNFRec": TRANSFORMER,
    "NotToRecommend": {**TRANSFORMER, "not_to_recommend": 1000.0},  # -log(1 - p) alone is flat long before p is least
    "DislikeDIN": {"dropout_prob": 0.0},
    "HSTU": {"n_layers": 1, "hidden_size": 32, "hidden_dropout_prob": 0.0},
    "ReversedSASRec": TRANSFORMER,  # learns likes, see test_reversedsasrec.py
}
LEARNERS = [name for name in ROWS if name != "ReversedSASRec"]
TRAINING = {"BERT4Rec": (120, 0.01), "NotToRecommend": (80, 0.003), "DislikeDIN": (60, 0.01)}  # epochs, learning rate


@pytest.fixture(scope="module")
def made(make_tiny):
    """Function (method, **options) -> (config, data set)."""

    @cache
    def make(name, **options):
        return make_tiny(name, MAX_ITEM_LIST_LENGTH=10, train_batch_size=50, **ROWS[name], **options)

    return make


def network(config, data, name, seed=0):
    """An untrained model that takes next-negative instances, and a loader of the instances that `data` serves."""
    loader = get_dataloader(config, "train")(config, data, None, shuffle=True)  # before the model: it names fields
    torch.manual_seed(seed)
    model = registry.find_model(name)(config, data)
    if name == "S3Rec":  # as S3RecTrainer leaves it after the pre-training
        model.train_stage, model.loss_fct = "finetune", torch.nn.CrossEntropyLoss()
    return model, loader


def losses(model, loader, epochs: int, lr: float) -> list[float]:
    optimizer, seen = torch.optim.Adam(model.parameters(), lr=lr), []
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
    model.eval()
    return seen


def serving(data, instances):
    other = copy.copy(data)
    other.instances = instances
    return other


def fifty(data, name):
    """(instances to train on, positions of 50 among them). RecBole trains BERT4Rec on masked items of the histories,
    never on the first place: so it is asked only for targets that a later instance has in its history, and with two
    dislikes before them.
    """
    train = data.splits["train"]
    if name != "BERT4Rec":
        return train[:50], np.arange(50)
    followed = (train.user[:-1] == train.user[1:]) & (train.time[:-1] < train.time[1:])
    known = FeedbackStream(data.log, (NEGATIVE,)).count(train.begin, train.end)[:-1] >= 2
    asked = np.flatnonzero(followed & known)[:50]
    return train[: asked[-1] + 2], asked


@pytest.mark.parametrize(
    "name, context",
    [
        (name, context)
        for name in LEARNERS
        for context in ("negative", "both")
        if (name, context) != ("BERT4Rec", "both")
    ],
)  # it learns masked likes, too
def test_a_row_overfits_50_instances(made, name, context):
    config, data = made(name, context=context)
    assert data.item_num > 100  # or a list of 20 would mean little
    instances, asked = fifty(data, name)
    few = serving(data, instances)
    model, loader = network(config, few, name)
    curve = losses(model, loader, *TRAINING.get(name, (40, 0.01)))
    assert np.mean(curve[-3:]) < 0.5 * np.mean(curve[:3])
    batch = few[asked]
    hits = (recommend(model, batch, 20, few) == batch["item_id"][:, None]).any(dim=1)
    assert len(hits) == 50 and hits.float().mean() > 0.9


def scores(model, data, one):
    return model.full_sort_predict(serving(data, one)[[0]]).reshape(-1)


@torch.no_grad()
@pytest.mark.parametrize("name", list(ROWS))
def test_predictions_follow_the_history_and_nothing_from_t0_on(made, name):
    config, data = made(name, context="both")
    log, rng = data.log, np.random.default_rng(0)
    likely = FeedbackStream(log, (NEGATIVE,)).count(data.splits["valid"].begin, data.splits["valid"].end) > 5
    one = data.splits["valid"][np.flatnonzero(likely)[:1]]
    model, _ = network(config, data, name)
    before = scores(model.eval(), data, one)

    def after(changed):
        others = 1 + (log.item + rng.integers(0, log.n_items - 2, len(log))) % (log.n_items - 1)
        other = with_log(data, np.where(changed, others, log.item), log.feedback)
        again, _ = network(config, other, name)
        again.load_state_dict(model.state_dict())
        return scores(again.eval(), other, one)

    assert torch.equal(after(log.time >= one.time), before)
    mine = (log.user == one.user) & (log.time < one.time) & (log.feedback == NEGATIVE)
    assert not torch.allclose(after(mine), before)


@pytest.mark.parametrize("name", list(ROWS))
def test_training_sees_nothing_from_validation_on(made, name):
    config, data = made(name, context="both")
    log = data.log
    late = ~data.train_mask
    assert late.any()
    item = np.where(late, log.item % (log.n_items - 1) + 1, log.item)
    feedback = np.where(late, -log.feedback, log.feedback)
    earlier = np.where(late, log.item, log.item[::-1])
    seen = []
    for dataset in (data, with_log(data, item, feedback), with_log(data, earlier, log.feedback)):
        few = serving(dataset, data.splits["train"][-200:])  # near the cut
        model, loader = network(config, few, name)
        init_seed(0, True)  # RecBole masks by Python's generator
        seen.append(losses(model, loader, 1, 0.01))
    assert seen[0] == seen[1] and seen[0] != seen[2]  # the third log differs before validation


@pytest.mark.parametrize("name", ["PNFRec", "NotToRecommend", "ReversedSASRec", "DislikeDIN", "HSTU"])
def test_a_run_fills_every_column(tiny_path, tmp_path, monkeypatch, name):
    """Through the harness: early stopping by the method's own metric, saved and loaded weights, test instances."""
    monkeypatch.chdir(tmp_path)
    small = TRANSFORMER if TRANSFORMER.items() <= ROWS[name].items() else ROWS[name]
    record = run(
        name,
        "tiny",
        options={
            **tinylog.OPTIONS,
            "data_path": str(tiny_path),
            "gpu_id": "",
            "epochs": 2,
            "show_progress": False,
            **small,
        },
    ).record
    metrics = {name: figure for name, figure in record["metrics"].items() if not name.startswith(("Delta", "Average"))}
    assert not [name for name, figure in metrics.items() if not (figure["n"] > 0 and 0 <= figure["value"] <= 1)]
    assert set(record["valid"]) == {"FRecall@20" if name in ("PNFRec", "HSTU") else "CandAcc"}
    assert record["curve"][1]["loss"] < record["curve"][0]["loss"] and record["cost"]["parameters"] > 1000
