"""Nothing at or after an instance's t0 reaches CoNRec: neither its prompt nor the semantic IDs nor what it answers.

As in tests/data/test_leak.py every event at or after t0 is changed, here on arrays: of everybody for a split by time,
of the user for a split by user.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest

from recbole_conrec.data.events import FeedbackStream, Instances
from recbole_conrec.data.splits import first_dislikes
from recbole_conrec.model.conrec import CoNRec
from recbole_conrec.tokenizer.inputs import KINDS, from_dataset

OPTIONS = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf", "behaviour"]},
    "stages": [{"name": "warm-up", "task": "next", "epochs": 1, "lr": 0.005, "batch_size": 4}],
    "history": 30,
    "topk": [5],
    "valid_metric": "HR@5",
}


@pytest.fixture(params=["time", "user"])
def by(request):
    return request.param


@pytest.fixture
def made(make_tiny, tmp_path, by):
    """Config and data; each test has a folder of its own, so no IDs come from another one's cache."""
    return make_tiny("CoNRec", **OPTIONS, context="both", split={"by": by}, checkpoint_dir=str(tmp_path))


def with_log(data, item, feedback):
    """The data set with other items and feedback [E]; users and times, hence the given cuts, stay."""
    other = copy.copy(data)
    other._shared, other.log = {}, replace(data.log, item=item, feedback=feedback.astype(np.int8))
    other.first_dislike = np.isin(np.arange(len(item)), first_dislikes(other.log))
    other._history = FeedbackStream(other.log, other.options.kinds)
    return other


def facts(config, data, row: int) -> dict:
    """What an untrained CoNRec has on the instance of log row `row`, except for the target item."""
    model = CoNRec(config, data).eval()
    serving = copy.copy(data)
    serving.instances = Instances.of_rows(data.log, np.array([row]))
    batch = serving[[0]]
    ids, mask = model.prompt(batch).pair
    items = from_dataset(data)
    return {
        "prompt": ids[mask.bool()].tolist(),
        "behaviour": [items.interactions[kind].toarray().tolist() for kind in KINDS],
        "cache key": items.fingerprint(),
        "codes": model.semantic_ids.codes.tolist(),
        "codebooks": [book.tolist() for book in model.semantic_ids.codebooks],
        "vocabulary": model.backbone.tokenizer.get_vocab(),
        "answers": model.recommend(batch, 5).tolist(),
        "likelihoods": model.score_candidates(batch, batch["item_id"].new_tensor([[1, 2, 3, 4]])).tolist(),
    }


def some_rows(data, rng):
    """Evaluation instances with events before t0, one of each part."""
    for part in ("valid", "test"):
        those = data.splits[part]
        past = FeedbackStream(data.log, (-1, 1)).count(those.begin, those.end)
        yield those[np.array([rng.choice(np.flatnonzero(past > 5))])]


def test_changing_everything_from_t0_on_moves_nothing(made, by):
    config, data = made
    log, rng = data.log, np.random.default_rng(1)
    for one in some_rows(data, rng):
        late = (log.time >= one.time) & ((log.user == one.user) | (by == "time"))
        assert late[one.row] and not (late & data.train_mask).any()
        item = np.where(late, 1 + (log.item + rng.integers(0, log.n_items - 2, len(log))) % (log.n_items - 1), log.item)
        feedback = np.where(late, (log.feedback + rng.integers(2, 4, len(log))) % 3 - 1, log.feedback)  # always another
        assert (item != log.item)[late].any() and (feedback != log.feedback)[late].all()
        before, after = facts(config, data, one.row[0]), facts(config, with_log(data, item, feedback), one.row[0])
        for name, value in before.items():
            assert after[name] == value, name


def test_changing_an_event_before_t0_moves_the_prompt(made):
    """The same comparison notices what it should: an item, a feedback, and, in the IDs' inputs, a training event."""
    config, data = made
    log = data.log
    *_, one = some_rows(data, np.random.default_rng(2))
    last = one.begin[0] + np.flatnonzero(log.feedback[one.begin[0] : one.end[0]])[-1]
    assert not data.train_mask[last]  # so the IDs stay, and the prompt alone can move
    before = facts(config, data, one.row[0])
    item, feedback = log.item.copy(), log.feedback.copy()
    item[last] = item[last] % (log.n_items - 1) + 1
    feedback[last] = -feedback[last]
    for other in (with_log(data, item, log.feedback), with_log(data, log.item, feedback)):
        moved = facts(config, other, one.row[0])
        assert moved["prompt"] != before["prompt"] and moved["likelihoods"] != before["likelihoods"]
        assert moved["codes"] == before["codes"]
    busiest = np.bincount(log.user[data.train_mask]).argmax()
    trained = data.train_mask & (log.user == busiest)
    moved = facts(config, with_log(data, np.where(trained, 1, log.item), log.feedback), one.row[0])
    assert all(moved[name] != before[name] for name in ("behaviour", "cache key", "codebooks"))
