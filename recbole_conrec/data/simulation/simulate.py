"""``simulate``: write a log whose true dislikes are known (see the parts in :mod:`recbole_conrec.data.simulation`).

Use it to see whether a metric ranks models by what they really know: HR sees the one item that the recommender chose
to show next, the truth knows them all.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from recbole_conrec.data.convert.writing import AtomicFile, new_dataset, write_rows, write_yaml
from recbole_conrec.data.simulation.catalogue import ATTRIBUTES, Catalogue, make_catalogue
from recbole_conrec.data.simulation.exposure import Response, Shown, run_sessions
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.simulation.tastes import DAY, Tastes, make_tastes, make_visits, make_voice
from recbole_conrec.utils.errors import UserError

EPOCH = 1_735_689_600  # 2025-01-01 00:00 UTC, the log's first second
BLOCK = 50_000_000  # users x items of which the recommender remembers the answers at a time
SLICE = 1_000_000  # rows written at a time
INTER = ("user_id:token", "item_id:token", "feedback:float", "timestamp:float")

PROTOCOL = {
    "feedback": {"negative": "feedback < 0", "positive": "feedback > 0"},
    "item_text": ["title"],
    "item_category": "category",
    "split": {"by": "time", "ratio": [0.7, 0.1, 0.2]},
    "window": {"unit": "days", "length": 7},
}


def simulate(
    out: Path,
    *,
    name: str = "sim-small",
    users: int = 150,
    items: int = 300,
    days: int = 56,
    sessions: float = 12.0,
    shown: int = 16,
    negative_ratio: float = 0.18,
    noise: float = 0.1,
    drift: float = 0.3,
    new_items: float = 0.15,
    seed: int = 2026,
    overwrite: bool = False,
) -> dict:
    """Write ``out/name``: the .inter and .item files, the YAML and ``name.truth.npz`` (:class:`Oracle`).

    The same options give the same bytes. Users are played in blocks, so memory holds the events and one block.

    Args:
        out: folder of data sets, e.g. ``dataset/``.
        name: of the data set.
        users, items: how many.
        days: length of the log.
        sessions: mean sessions of a user.
        shown: the most items that one session shows.
        negative_ratio: negatives per positive, at most, in expectation.
        noise: share of negatives that interest does not explain.
        drift: share of a user's tastes that are other ones at the end.
        new_items: share of items that appear during the log.
        seed: of everything.
        overwrite: replace a data set of that name.

    Returns:
        counts: users, items, events, negatives, positives, noise.

    Raises:
        UserError: for an option outside its range, or an existing data set.
    """
    _check(
        users=(users, 1, 10**8),
        items=(items, 20, 10**8),
        days=(days, 2, 10**4),
        shown=(shown, 1, 100),
        seed=(seed, 0, 2**63 - 1),
        sessions=(sessions, 1.0, 1e4),
        negative_ratio=(negative_ratio, 0.001, 1.0),
        noise=(noise, 0.0, 1.0),
        drift=(drift, 0.0, 1.0),
        new_items=(new_items, 0.0, 0.9),
    )
    seconds = days * DAY
    rng = np.random.default_rng(seed)
    catalogue = make_catalogue(rng, items, seconds, new_items)
    appeal, annoyance = rng.random((2, len(ATTRIBUTES))) + 0.15
    size = max(1, min(users, BLOCK // items))
    tastes, events = [], []
    for first in tqdm(range(0, users, size), desc="simulate", unit="block", disable=users <= size):
        block = np.random.default_rng([seed, first])
        count = min(size, users - first)
        tastes.append(make_tastes(block, count, appeal, annoyance, drift))
        visits = make_visits(block, count, seconds, sessions, shown)
        played = run_sessions(
            block, catalogue, tastes[-1], make_voice(block, count), visits, seconds, Response(negative_ratio, noise)
        )
        played.user[:] += first
        events.append(played)
    events = Shown.concatenate(events)
    order = np.argsort(events.time, kind="stable")
    events = Shown(*(getattr(events, field)[order] for field in Shown.__annotations__))
    with new_dataset(out, name, overwrite) as folder:
        _write(folder, name, catalogue, tastes, events, seconds)
    return {
        "users": len(np.unique(events.user)),
        "items": len(np.unique(events.item)),
        "events": len(order),
        "negatives": int((events.feedback < 0).sum()),
        "positives": int((events.feedback > 0).sum()),
        "noise": int(events.noise.sum()),
    }


def _check(**ranges) -> None:
    """Each option is (value, lowest, highest); it must be whole where the lowest is an int."""
    for option, (value, low, high) in ranges.items():
        whole = isinstance(low, int)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise UserError(f"simulate: {option} = {value}; expected a {'whole ' * whole}number from {low} to {high}")


def _write(folder: Path, name: str, catalogue: Catalogue, tastes: list[Tastes], events: Shown, seconds: int) -> None:
    user_id = np.array([f"u{k + 1}" for k in range(sum(len(part.like_start) for part in tastes))])
    item_id = np.array([f"i{k + 1}" for k in range(len(catalogue.titles))])
    with AtomicFile(folder / f"{name}.inter", list(INTER)) as file:
        for first in range(0, len(events.user), SLICE):
            part = slice(first, first + SLICE)
            file.write(
                pa.table(
                    [
                        user_id[events.user[part]],
                        item_id[events.item[part]],
                        events.feedback[part],
                        events.time[part] + EPOCH,
                    ],
                    names=list(INTER),
                )
            )
    write_rows(
        folder / f"{name}.item",
        {
            "item_id:token": pa.array(item_id),
            "title:token_seq": pa.array(catalogue.titles),
            "category:token": pa.array(catalogue.words("category")),
            "brand:token": pa.array(catalogue.words("brand")),
        },
    )
    truth = {
        field: np.concatenate([getattr(part, field) for part in tastes]).astype(np.float16)
        for field in Tastes.__annotations__
    }
    Oracle(
        user_id=user_id,
        item_id=item_id,
        attribute=np.array(ATTRIBUTES),
        item_attributes=catalogue.attributes.astype(np.int16),
        **truth,
        span=np.array([EPOCH, EPOCH + seconds]),
        event_dislike=events.dislike,
        event_noise=events.noise,
    ).save(folder / f"{name}.truth.npz")
    write_yaml(folder / f"{name}.yaml", PROTOCOL, "Simulated by `recbole-conrec simulate`; its truth is beside it.")
