"""Nothing at or after an instance's t0 reaches its history, its features, Swing, the tail counts or its candidates.

Every event at or after t0 is changed (of the user for a split by user, of everybody for a split by time), and all that
an evaluation instance is predicted from and ranked against must stay as it was.
"""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tinylog
from randomlog import random_log

from recbole_conrec.data.candidates import CandidateLists, CandidateSources
from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog, FeedbackStream, RowStream, Window
from recbole_conrec.data.splits import SplitRule, first_dislikes, split_instances
from recbole_conrec.data.swing import swing
from recbole_conrec.data.truth import future_items, is_low_activity, long_tail_items
from recbole_conrec.runs.config import make_config


@pytest.mark.parametrize("by", ["user", "time"])
@pytest.mark.parametrize("seed", range(3))
def test_changing_items_and_feedback_from_t0_on_moves_nothing(by, seed):
    """On arrays: cuts and F are given, everything else is computed again from the changed log."""
    log = random_log(seed, users=15, items=60, events=900)
    rows = first_dislikes(log)
    cuts = SplitRule(by=by).cut(log, rows)
    splits = split_instances(log, rows, cuts)
    first = np.zeros(len(log), dtype=bool)
    first[rows] = True
    rng = np.random.default_rng(seed)

    def facts(log, one, ptr, items):
        train = log.time < cuts.valid_start[log.user]
        own = FeedbackStream(log, (NEGATIVE, POSITIVE)).last(one.begin, one.end, 20)[0]
        negative = train & (log.feedback == NEGATIVE)
        near = swing(log.user[negative], log.item[negative], log.n_users, log.n_items)
        popularity = np.bincount(log.item[train], minlength=log.n_items)
        return {
            "history": np.where(own >= 0, log.item[own], 0),
            "feedback": np.where(own >= 0, log.feedback[own], 0),
            "low activity": is_low_activity(log, one, 3),
            "long tail": long_tail_items(training_dislikes(SimpleNamespace(log=log, train_mask=train)), 5),
            "swing": near.matrix().toarray(),
            "candidates": CandidateLists(CandidateSources(log, popularity), one, ptr, items)[:],
        }

    changed_f = 0
    for part in ("valid", "test"):
        for n in rng.choice(len(splits[part]), 6, replace=False):
            one = splits[part][n : n + 1]
            late = (log.time >= one.time) & ((log.user == one.user) | (by == "time"))
            late[one.row] = False  # the instance itself stays: it is what is asked
            item = np.where(late, rng.integers(1, log.n_items, len(log)), log.item)
            feedback = np.where(late, rng.choice([-1, 0, 1], len(log)), log.feedback)
            other = EventLog.from_arrays(log.user, item, log.time, feedback, log.n_users, log.n_items)
            future = future_items(log, cuts, Window(unit="days", length=2), one, RowStream(first))
            for name, value in facts(log, one, *future).items():
                assert (facts(other, one, *future)[name] == value).all(), name
            mask = np.zeros(len(log), dtype=bool)
            mask[first_dislikes(other)] = True
            changed_f += len(future_items(other, cuts, Window(unit="days", length=2), one, RowStream(mask))[1]) != len(
                future[1]
            )
    assert changed_f  # the change did reach what lies in the future


@pytest.mark.parametrize("by", ["user", "time"])
def test_changing_the_files_from_t0_on_moves_nothing(by, tiny_path, tmp_path):
    """On atomic files, through the whole data set; items by their tokens, as internal ids may move.

    The user's own negatives from t0 on keep their items, since F may take items out of the candidates; with a split
    by user they also keep their feedback, since the cuts are shares of the user's negatives.
    """
    data = load(tiny_path, tmp_path, by)
    with (tiny_path / "tiny" / "tiny.inter").open() as file:
        header, *events = csv.reader(file, delimiter="\t")
    rng = np.random.default_rng(3)
    for part in ("valid", "test"):
        for n in rng.choice(len(data.splits[part]), 2, replace=False):
            one = data.splits[part][n : n + 1]
            user = data.id2token("user_id", int(one.user[0]))
            key = (user, data.id2token("item_id", int(one.item[0])), int(one.time[0]))
            changed = []
            for who, item, rating, time in events:
                mine = who == user
                if int(time) >= key[2] and (mine or by == "time") and not (mine and float(rating) <= 2):
                    item, rating = f"i{rng.integers(0, 120)}", str(rng.integers(3 if mine else 1, 6))
                changed.append((who, item, rating, time))
            assert sum(a != tuple(b) for a, b in zip(changed, events, strict=True)) > (10 if by == "time" else 0)
            folder = tmp_path / f"{by}-{part}-{n}" / "tiny"
            shutil.copytree(tiny_path / "tiny", folder)
            with (folder / "tiny.inter").open("w", newline="") as file:
                csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *changed])
            before, after = (snapshot(d, part, key) for d in (data, load(folder.parent, tmp_path, by)))
            for name, value in before.items():
                assert after[name] == value, name


def load(path, saved, by) -> NegativeFeedbackDataset:
    options = {**tinylog.OPTIONS, "split": {"by": by}, "context": "both", "data_path": str(path)}
    options["candidates"] = {"pool": "neutral"}  # the lists of the pool `day` hold what came later; no method sees them
    return NegativeFeedbackDataset(make_config("SASRec", "tiny", options={**options, "checkpoint_dir": str(saved)}))


def snapshot(data: NegativeFeedbackDataset, part: str, key: tuple) -> dict:
    """All that the instance (user, item, t0) is predicted from and ranked against, in tokens."""
    serving = dict(zip(("train", "valid", "test"), data.build(), strict=True))[part]
    names = data.field2id_token["item_id"]
    those = serving.instances
    users = data.id2token("user_id", those.user)
    (n,) = np.flatnonzero((users == key[0]) & (names[those.item] == key[1]) & (those.time == key[2]))
    batch, truth, near = serving[[n]], data.truth(part), data.swing()
    return {
        "history": names[batch["item_id_list"][0]].tolist(),
        "feedback": batch["feedback_list"].tolist(),
        "length": batch["item_length"].tolist(),
        "low activity": bool(truth.low_activity[n]),
        "long tail": set(names[truth.long_tail]),
        "swing": {
            names[i]: dict(zip(names[near.items[a:b]], near.scores[a:b].tolist(), strict=True))
            for i, (a, b) in enumerate(zip(near.ptr, near.ptr[1:], strict=False))
            if b > a
        },
        "candidates": names[truth.candidates[n]].tolist(),
        "text": dict(zip(names, data.item_text(), strict=True)),
    }
