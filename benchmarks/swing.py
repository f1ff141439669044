"""Swing of negatives at scale, and against other implementations.

    python benchmarks/swing.py scale [--events 10e6 --users 1e6 --items 1e5]
    python benchmarks/swing.py compare [--events 1e5 ...]      # needs: pip install --no-deps recfarm

`scale` runs the defaults of properties/overall.yaml on generated negatives. `compare` runs one smaller input through
our implementation, the formula as nested loops in Python, and recfarm (the Rust core of LibRecommender's Swing).
recfarm computes the special case alpha1 = alpha2 = 0, theta = 1/2, once for each pair of users and without the factor 1
/ sqrt(|U(j)|), in 32 bits. All three must agree. Seconds are CPU time of one thread.
"""

import argparse
import time
from itertools import combinations
from types import SimpleNamespace

import numpy as np
from scipy import sparse

from recbole_conrec.data.swing import SwingOptions, swing
from recbole_conrec.utils.resources import peak_mb

OPTIONS = {
    "alpha1": 0.0,
    "alpha2": 0.0,
    "theta": 0.5,
    "min_common": 1,
    "max_user_items": 10**9,
    "max_item_users": 10**9,
}


def negatives(events: int, n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of random events, int64 [events] each.

    Activity is skewed (the most active tenth of users has 30 % of the events), and so is popularity.
    """
    rng = np.random.default_rng(0)
    users = (n_users * rng.random(events) ** 2).astype(np.int64)
    return users, (n_items * rng.random(events) ** 2).astype(np.int64)


def timed(name: str, function, *arguments, **options):
    begin = time.process_time()
    found = function(*arguments, **options)
    seconds = time.process_time() - begin
    print(f"{name:<12} {seconds:9.2f} s, peak of the process so far {peak_mb():,.0f} MB", flush=True)
    return found, seconds


def straightforward(users, items, n_items: int) -> sparse.csr_matrix:
    """The formula with OPTIONS as loops over items and pairs of users."""
    of_user: dict[int, set[int]] = {}
    of_item: dict[int, set[int]] = {}
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        of_user.setdefault(user, set()).add(item)
        of_item.setdefault(item, set()).add(user)
    scores: dict[tuple[int, int], float] = {}
    for i, disliked_by in of_item.items():
        for u, v in combinations(disliked_by, 2):
            common = of_user[u] & of_user[v]
            share = 2.0 * (len(of_user[u]) * len(of_user[v])) ** -0.5 / len(common)
            for j in common:
                if j != i:
                    scores[i, j] = scores.get((i, j), 0.0) + share * len(of_item[j]) ** -0.5
    row, column = np.array(list(scores)).T
    return sparse.csr_matrix((list(scores.values()), (row, column)), shape=(n_items, n_items))


def recfarm_model(users, items, n_users: int, n_items: int, top: int):
    """Swing by recfarm: (model, CPU seconds).

    It returns predictions, not similarities. So for each item a user is added who dislikes only that item: the
    predictions for this user are the similarities of the item, and the user forms no pair.
    """
    import recfarm

    def lists(matrix):
        return SimpleNamespace(
            sparse_indices=matrix.indices.tolist(),
            sparse_indptr=matrix.indptr.tolist(),
            sparse_data=matrix.data.tolist(),
        )

    users, items = np.append(users, n_users + np.arange(n_items)), np.append(items, np.arange(n_items))
    table = sparse.csr_matrix((np.ones(len(users)), (users, items)), shape=(n_users + n_items, n_items))
    table.sum_duplicates()
    table.data[:] = 1.0
    disliked = {
        user: table.indices[a:b].tolist()
        for user, (a, b) in enumerate(zip(table.indptr[:-1], table.indptr[1:], strict=True))
    }
    model = recfarm.Swing(
        top, 1.0, 10**8, n_users + n_items, n_items, lists(table), lists(table.T.tocsr()), disliked, 0.0
    )
    return model, timed("recfarm", model.compute_swing, 1)[1]


def compare(users, items, n_users: int, n_items: int) -> None:
    found, ours = timed("ours", swing, users, items, n_users, n_items, SwingOptions(top=n_items, **OPTIONS))
    found = found.matrix()
    model, theirs = recfarm_model(users, items, n_users, n_items, n_items)
    expected, slow = timed("loops", straightforward, users, items, n_items)
    print(
        f"{found.nnz:,} scores; ours is {slow / ours:.1f} times as fast as the loops, and {theirs / ours:.1f} times as "
        "fast as recfarm"
    )
    assert found.nnz == expected.nnz
    print(f"largest relative difference from the loops: {np.abs((found / expected)[found.nonzero()] - 1).max():.1e}")
    row, column = (part[:: max(1, found.nnz // 100_000)] for part in found.nonzero())
    n = np.bincount(np.unique(users * n_items + items) % n_items, minlength=n_items)
    other = 2 * np.array(model.predict((n_users + row).tolist(), column.tolist())) / np.sqrt(n[column])
    print(f"largest relative difference from recfarm: {np.abs(np.asarray(found[row, column]) / other - 1).max():.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scale", "compare"))
    for name in ("events", "users", "items"):
        parser.add_argument(f"--{name}", type=float)
    options = parser.parse_args()
    defaults = {"scale": (10e6, 1e6, 1e5), "compare": (1e5, 1e4, 1e3)}[options.what]
    sizes = (
        int(given or default)
        for given, default in zip((options.events, options.users, options.items), defaults, strict=True)
    )
    events, n_users, n_items = sizes
    users, items = negatives(events, n_users, n_items)
    print(f"{events:,} negatives, {n_users:,} users, {n_items:,} items")
    if options.what == "compare":
        compare(users, items, n_users, n_items)
        return
    found, _ = timed("ours", swing, users, items, n_users, n_items)
    print(f"{len(found.items):,} neighbours of {int((np.diff(found.ptr) > 0).sum()):,} items")


if __name__ == "__main__":
    main()
