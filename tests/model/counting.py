"""A small random log, as the two counting models need it of a data set."""

from types import SimpleNamespace

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog
from recbole_conrec.data.side import SideInformation
from recbole_conrec.data.swing import SwingOptions, swing

N_USERS, N_ITEMS, CUT = 16, 20, 60


def make_dataset(seed=0, events=400, as_of="cut"):
    rng = np.random.default_rng(seed)
    log = EventLog.from_arrays(
        rng.integers(1, N_USERS, events),
        1 + (rng.integers(0, (N_ITEMS - 3) ** 2, events) ** 0.5).astype(np.int64),
        rng.integers(0, 100, events),
        rng.choice([NEGATIVE, POSITIVE], events),
        N_USERS,
        N_ITEMS,
    )
    sizes = {"user_id": N_USERS, "item_id": N_ITEMS}
    train = log.time < CUT
    rows = train & (log.feedback == NEGATIVE)
    options = SwingOptions(min_common=2, top=3)
    return SimpleNamespace(
        log=log,
        train_mask=train,
        side=SideInformation(log, train, CUT, as_of, options),
        num=sizes.__getitem__,
        swing=lambda: swing(log.user[rows], log.item[rows], N_USERS, N_ITEMS, options),
    )


def settings():
    return {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "item_length",
        "NEG_PREFIX": "neg_",
        "MAX_ITEM_LIST_LENGTH": 10,
        "device": torch.device("cpu"),
    }


def past(users, dataset, time=80):
    """Instances of these users at one time."""
    users = np.asarray(users)
    end = dataset.log.first_at_or_after(users, np.full(len(users), time))
    return Interaction(
        {
            "user_id": torch.from_numpy(users),
            "item_id": torch.ones(len(users), dtype=torch.int64),
            "history_begin": torch.from_numpy(dataset.log.start[users]),
            "history_end": torch.from_numpy(end),
            "t0": torch.full((len(users),), time),
        }
    )
