"""``simulate``: write a log whose true dislikes are known (see the modules of :mod:`recbole_conrec.data.simulation`).

With it one can see whether a metric ranks methods by what they really know: HR sees only the one item that the
recommender chose to show next, the truth has all.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field
from tqdm import tqdm

from recbole_conrec.data.convert.options import DatasetName
from recbole_conrec.data.convert.writing import AtomicFile, new_dataset, protocol_options, write_rows, write_yaml
from recbole_conrec.data.simulation.catalogue import ATTRIBUTES, Catalogue, make_catalogue
from recbole_conrec.data.simulation.exposure import Response, Shown, run_sessions
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.simulation.tastes import DAY, Tastes, make_tastes, make_visits, make_voice
from recbole_conrec.options.schema import Options, Share, Text

EPOCH = 1_735_689_600  # 2025-01-01 00:00 UTC, the log's first second
BLOCK = 50_000_000  # users x items of which the recommender remembers the answers at a time
SLICE = 1_000_000  # rows written at a time
INTER = ("user_id:token", "item_id:token", "feedback:float", "timestamp:float")

PROTOCOL = {
    **protocol_options("feedback < 0", "feedback > 0", ["title"], "category", days=7),
    "exclude": "reacted",  # simulated users react to an item once
}


class SimulateOptions(Options):
    """The options of ``recbole-conrec simulate``."""

    out: Text = "dataset"
    """Folder of data sets, in which a folder for the new one is made."""
    name: DatasetName = "sim-small"
    """Name of the data set."""
    users: Annotated[int, Field(ge=1, le=10**8)] = 150
    """Number of users."""
    items: Annotated[int, Field(ge=20, le=10**8)] = 300
    """Number of items."""
    days: Annotated[int, Field(ge=2, le=10**4)] = 56
    """Length of the log, in days."""
    sessions: Annotated[int | float, Field(ge=1, le=10**4)] = 12.0
    """Mean number of sessions of a user."""
    shown: Annotated[int, Field(ge=1, le=100)] = 16
    """The most items that one session shows."""
    negative_ratio: Annotated[int | float, Field(ge=0.001, le=1)] = 0.18
    """Negatives per positive, at most, in expectation."""
    noise: Share = 0.1
    """Share of the negatives that interest does not explain."""
    drift: Share = 0.3
    """Share of a user's tastes that differ at the end."""
    new_items: Annotated[int | float, Field(ge=0, le=0.9)] = 0.15
    """Share of the items that appear during the log."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2026
    """Seed of all draws."""
    overwrite: bool = False
    """Replace a data set of that name."""


def simulate(options: SimulateOptions) -> dict[str, int]:
    """Write ``out/name``: the .inter and .item files, the YAML and ``name.truth.npz`` (:class:`Oracle`).

    The same options give the same bytes. Users are simulated in blocks, so memory holds the events and one block.

    Returns:
        counts: users, items, events, negatives, positives, noise.

    Raises:
        UserError: if there is a data set of that name, and ``overwrite`` is false.
    """
    seconds = options.days * DAY
    rng = np.random.default_rng(options.seed)
    catalogue = make_catalogue(rng, options.items, seconds, options.new_items)
    appeal, annoyance = rng.random((2, len(ATTRIBUTES))) + 0.15
    size = max(1, min(options.users, BLOCK // options.items))
    response = Response(options.negative_ratio, options.noise)
    tastes, parts = [], []
    for first in tqdm(range(0, options.users, size), desc="simulate", unit="block", disable=options.users <= size):
        block = np.random.default_rng([options.seed, first])
        count = min(size, options.users - first)
        tastes.append(make_tastes(block, count, appeal, annoyance, options.drift))
        visits = make_visits(block, count, seconds, options.sessions, options.shown)
        played = run_sessions(block, catalogue, tastes[-1], make_voice(block, count), visits, seconds, response)
        played.user[:] += first
        parts.append(played)
    events = Shown.concatenate(parts)
    order = np.argsort(events.time, kind="stable")
    events = Shown(*(getattr(events, field)[order] for field in Shown.__annotations__))
    with new_dataset(options.out, options.name, overwrite=options.overwrite) as folder:
        _write(folder, options.name, catalogue, tastes, events, seconds)
    return {
        "users": len(np.unique(events.user)),
        "items": len(np.unique(events.item)),
        "events": len(order),
        "negatives": int((events.feedback < 0).sum()),
        "positives": int((events.feedback > 0).sum()),
        "noise": int(events.noise.sum()),
    }


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
