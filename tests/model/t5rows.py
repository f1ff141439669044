"""What the tests of TIGER and P5-CID share."""

import llmrows
import numpy as np

SMALL = {
    "t5": {"d_model": 32, "heads": 2, "d_kv": 16, "d_ff": 64, "layers": 2, "dropout": 0.0},
    "stages": [{"name": "next", "task": "next", "epochs": 30, "lr": 0.01, "batch_size": 10}],
    "history": 6,
}


def make_row(make_tiny, name: str, folder, **fixed):
    """As that of llmrows, of a small T5."""
    return llmrows.make_row(make_tiny, name, folder, SMALL, **fixed)


def item_tokens(model, item: int) -> list[int]:
    """The token ids of an item's ID, counted out level by level."""
    sizes, first = model.semantic_ids.sizes, int(model.backbone.sid_tokens[0])
    return [first + sum(sizes[:level]) + int(code) for level, code in enumerate(model.semantic_ids.codes[item])]


def check_prompts(model, data, expected) -> None:
    """Prompts of test instances against ``expected(user, [(item, feedback), ...]) -> tokens``."""
    log, test = data.log, data.build()[2]
    picked = np.random.default_rng(0).permutation(len(test))[:25]
    ids, mask = model.prompt(test[picked]).pair
    lengths = set()
    for n, row in enumerate(picked):
        user, t0 = test.instances.user[row], test.instances.time[row]
        events = [
            (int(i), int(f))
            for u, i, t, f in zip(log.user, log.item, log.time, log.feedback, strict=True)
            if u == user and t < t0 and f in model.context.kinds
        ][-6:]
        lengths.add(len(events))
        assert ids[n][mask[n].bool()].tolist() == expected(int(user), events)
        assert (ids[n][~mask[n].bool()] == 0).all()
    assert len(lengths) > 1
