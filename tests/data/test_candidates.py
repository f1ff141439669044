import numpy as np
import pytest
from randomlog import events_of, random_log

from recbole_conrec.data.candidates import CandidateLists, CandidateSources
from recbole_conrec.data.events import EventLog, Instances, RowStream, Window
from recbole_conrec.data.splits import SplitRule, first_dislikes, split_instances
from recbole_conrec.data.truth import future_items


def setting(log, rule=None, part="test", window=None):
    """(instances, CSR of F, popularity) of a log's part."""
    rows = first_dislikes(log)
    cuts = (rule or SplitRule(by="user")).cut(log, rows)
    instances = split_instances(log, rows, cuts)[part]
    mask = np.zeros(len(log), dtype=bool)
    mask[rows] = True
    ptr, items = future_items(log, cuts, window or Window(unit="days", length=2), instances, RowStream(mask))
    train = log.time < cuts.valid_start[log.user]
    return instances, ptr, items, np.bincount(log.item[train], minlength=log.n_items)


def drawn(log, instances, ptr, items, popularity, **options):
    """(all lists as an array, the true item's place in each)."""
    keys = {name: options.pop(name, None) for name in ("user_keys", "item_keys")}
    lists = CandidateLists(CandidateSources(log, popularity, **keys), instances, ptr, items, **options)[:]
    return lists, np.argmax(lists == instances.item[:, None], axis=1)


def big_log(seed=0):
    return random_log(seed, users=20, items=200, events=1500, moments=40)


def test_lists_hold_the_true_item_and_distinct_others():
    log = big_log()
    instances, ptr, items, popularity = setting(log)
    lists, answer = drawn(log, instances, ptr, items, popularity)
    assert lists.shape == (len(instances), 20) and (lists > 0).all()
    assert (lists[np.arange(len(lists)), answer] == instances.item).all()
    assert all(len(set(row)) == 20 for row in lists.tolist())


def test_no_distractor_is_in_f_or_was_reacted_to_before():
    log = big_log(1)
    for part in ("train", "valid", "test"):
        instances, ptr, items, popularity = setting(log, part=part)
        lists, answer = drawn(log, instances, ptr, items, popularity)
        for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
            others = set(lists[n]) - {lists[n, answer[n]]}
            reacted = {i for _, i, time, feedback in events_of(log, user) if feedback and time < t0}
            assert not others & (reacted | set(items[ptr[n] : ptr[n + 1]]))


def test_sources_are_taken_in_order():
    """First the day's exposures, then the nearest before, then popular items."""
    log = random_log(2, users=12, items=200, events=3000, moments=40)
    instances, ptr, items, popularity = setting(log, SplitRule(by="user", ratio=(0.05, 0.05, 0.9)))
    size = 6  # short lists, so that every source has its turn
    lists, answer = drawn(log, instances, ptr, items, popularity, size=size)
    seen = {"day full": 0, "day and before": 0, "popular": 0}
    for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
        others = set(lists[n]) - {lists[n, answer[n]]}
        events = [e for e in events_of(log, user) if e[2] < t0]
        banned = {i for _, i, _, feedback in events if feedback} | set(items[ptr[n] : ptr[n + 1]])
        shown = [(i, time) for _, i, time, feedback in reversed(events) if feedback == 0 and i not in banned]
        today = {i for i, time in shown if time // 86_400 == t0 // 86_400}
        nearest = list(dict.fromkeys(i for i, _ in shown if i not in today))
        if len(today) >= size - 1:
            seen["day full"] += 1
            assert others <= today
        elif len(today) + len(nearest) >= size - 1:
            seen["day and before"] += 1
            assert others == today | set(nearest[: size - 1 - len(today)])
        else:
            seen["popular"] += 1
            assert others >= today | set(nearest)
            assert all(popularity[i] > 0 for i in others - today - set(nearest))
    assert min(seen.values()) > 0, seen


def test_the_pool_of_a_day_holds_likes_and_what_comes_later_in_the_part():
    log = random_log(2, users=12, items=200, events=3000, moments=40)
    instances, ptr, items, popularity = setting(log, SplitRule(by="user", ratio=(0.3, 0.3, 0.4)), part="train")
    rows = first_dislikes(log)
    cuts = SplitRule(by="user", ratio=(0.3, 0.3, 0.4)).cut(log, rows)
    until = log.first_at_or_after(instances.user, cuts.part_end(instances.user, instances.time))
    size = 6
    lists, answer = drawn(log, instances, ptr, items, popularity, until=until, size=size, pool="day")
    seen = {"day full": 0, "day and near": 0, "later": 0, "liked": 0}
    for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
        others = set(lists[n]) - {lists[n, answer[n]]}
        end = cuts.valid_start[user]
        events = [e for e in events_of(log, user) if e[2] < end]  # a training list holds nothing of the evaluation
        banned = {i for _, i, time, feedback in events if feedback == -1 and time < t0} | set(
            items[ptr[n] : ptr[n + 1]]
        )
        near = [e for e in events if e[1] not in banned]
        today = {i for _, i, time, _ in near if time // 86_400 == t0 // 86_400}
        assert not others & banned
        if len(today) >= size - 1:
            seen["day full"] += 1
            assert others <= today
            seen["later"] += bool(others - {i for _, i, time, _ in near if time < t0})
            seen["liked"] += bool(others & {i for _, i, _, feedback in near if feedback == 1})
        elif len({i for _, i, _, _ in near}) >= size - 1:
            seen["day and near"] += 1
            assert others >= today
            distance = {i: min(abs(time - t0) for _, j, time, _ in near if j == i) for _, i, _, _ in near}
            furthest = max(distance[i] for i in others - today)
            assert all(i in others for i, far in distance.items() if i not in today and far < furthest)
    assert min(seen.values()) > 0, seen


def test_the_matched_pool_holds_items_as_popular_as_the_true_one():
    log = random_log(7, users=60, items=400, events=6000, moments=40)
    instances, ptr, items, popularity = setting(log)
    popularity = np.random.default_rng(0).permutation(np.arange(log.n_items) ** 2)  # no ties
    lists, _ = drawn(log, instances, ptr, items, popularity, pool="matched")
    assert (lists > 0).all() and all(len(set(row)) == 20 for row in lists.tolist())
    order = np.argsort(-popularity[1:]) + 1
    rank = {item: place for place, item in enumerate(order.tolist())}
    width = 2 * 40 + 1  # twice the length of a list to either side, as half a decile (20) is less
    above = 0
    for row, true in zip(lists.tolist(), instances.item, strict=True):
        first = min(max(rank[true] - 40, 0), len(order) - width)
        assert all(first <= rank[item] < first + width for item in row)
        above += sum(rank[item] < rank[true] for item in row)
    assert 0.45 < above / (19 * len(lists)) < 0.55  # popularity alone says nothing


@pytest.mark.parametrize("log", [big_log(3), random_log(3, users=8, items=45, events=400)], ids=["big", "scarce"])
def test_a_list_does_not_depend_on_other_instances_nor_on_the_chunk(log):
    instances, ptr, items, popularity = setting(log)
    lists, answer = drawn(log, instances, ptr, items, popularity, seed=5)
    again, _ = drawn(log, instances, ptr, items, popularity, seed=5, chunk=7)
    assert (again == lists).all()
    n = 13
    own = items[ptr[n] : ptr[n + 1]]
    alone = drawn(log, instances[n : n + 1], np.array([0, len(own)]), own, popularity, seed=5)
    assert (alone[0] == lists[n]).all() and alone[1] == answer[n]
    other, _ = drawn(log, instances, ptr, items, popularity, seed=6)
    assert (other != lists).mean() > 0.3


def test_only_what_is_read_is_drawn(monkeypatch):
    log = big_log()
    instances, ptr, items, popularity = setting(log)
    every, _ = drawn(log, instances, ptr, items, popularity)
    draw, begun = CandidateLists._draw, []
    monkeypatch.setattr(CandidateLists, "_draw", lambda self, low: (begun.append(low), draw(self, low))[1])
    lists = CandidateLists(CandidateSources(log, popularity), instances, ptr, items, chunk=4)
    assert (lists[5] == every[5]).all() and (lists[4:7] == every[4:7]).all() and begun == [4]
    picked = np.array([9, 2, 6])
    assert (lists[picked] == every[picked]).all() and begun == [4, 0, 8]
    assert (lists[-1] == every[-1]).all() and lists.shape == every.shape and len(lists) == len(every)
    mask = np.arange(len(every)) == 13
    assert (lists[mask] == every[mask]).all()
    assert (lists[:] == every).all() and len(begun) == len(set(begun)) == -(-len(every) // 4)


def test_lists_do_not_depend_on_internal_ids():
    log = big_log(4)
    keys = np.random.default_rng(0).integers(0, 2**63, 400).astype(np.uint64)
    instances, ptr, items, popularity = setting(log)
    options = {"user_keys": keys[: log.n_users], "item_keys": keys[100 : 100 + log.n_items]}
    lists, _ = drawn(log, instances, ptr, items, popularity, **options)
    before = instances
    shift = np.concatenate([[0], np.random.default_rng(1).permutation(log.n_items - 1) + 1])  # old id -> new id
    moved = EventLog.from_arrays(log.user, shift[log.item], log.time, log.feedback, log.n_users, log.n_items)
    instances, ptr, items, popularity = setting(moved)
    options["item_keys"] = options["item_keys"][np.argsort(shift)]
    found, _ = drawn(moved, instances, ptr, items, popularity, **options)
    keys = zip(before.user, shift[before.item], before.time, strict=True)
    expected = dict(zip(keys, shift[lists].tolist(), strict=True))
    keys = zip(instances.user, instances.item, instances.time, strict=True)
    assert dict(zip(keys, found.tolist(), strict=True)) == expected


def test_answers_are_everywhere_and_popular_items_come_in_proportion():
    n = 4000
    rng = np.random.default_rng(0)
    # Every user has one dislike and no exposure, so that all distractors are popular items.
    log = EventLog.from_arrays(np.arange(1, n + 1), rng.integers(1, 50, n), np.arange(n), np.full(n, -1), n + 1, 120)
    instances, ptr, items, _ = setting(log, SplitRule(by="time"))
    popularity = np.zeros(120, dtype=np.int64)
    popularity[60:120] = np.arange(1, 61)
    lists, answer = drawn(log, instances, ptr, items, popularity, size=4)
    counts = np.bincount(answer, minlength=4) / len(answer)
    assert abs(counts - 0.25).max() < 0.06
    others = lists[np.arange(4) != answer[:, None]]
    assert others.min() >= 60
    share = np.bincount(others, minlength=120)[60:] / len(others)
    assert abs(np.corrcoef(share, popularity[60:])[0, 1]) > 0.9 and share[30:].sum() > 2 * share[:30].sum()


def test_a_small_catalogue_is_used_up_and_padded():
    log = random_log(0, users=6, items=12, events=120, moments=30)
    instances, ptr, items, popularity = setting(log)
    lists, answer = drawn(log, instances, ptr, items, popularity)
    for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
        events = [e for e in events_of(log, user) if e[2] < t0]
        banned = {i for _, i, _, feedback in events if feedback} | set(items[ptr[n] : ptr[n + 1]])
        possible = {i for _, i, _, feedback in events if feedback == 0} | set(np.flatnonzero(popularity))
        expected = (possible - banned) | {instances.item[n]}
        listed = lists[n].tolist()
        assert set(listed) - {0} == expected
        assert listed[len(expected) :] == [0] * (20 - len(expected))
        assert listed[answer[n]] == instances.item[n]


@pytest.mark.parametrize("look_back", [1, 5])
def test_only_the_last_exposures_are_looked_at(look_back):
    n = 30
    times = [*range(n), n, n + 1]
    log = EventLog.from_arrays([1] * (n + 2), [*range(1, n + 1), 40, 41], times, [0] * n + [-1, -1], 2, 50)
    instances, ptr = Instances.of_rows(log, np.array([n])), np.array([0, 1])
    lists, _ = drawn(log, instances, ptr, np.array([40]), np.zeros(50), look_back=look_back)
    assert set(lists[0]) - {0, 40} == set(range(n - look_back + 1, n + 1))
