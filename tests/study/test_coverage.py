import itertools
import json
from collections import Counter

import numpy as np
import pytest
from scipy import sparse

from recbole_conrec.cli import main
from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.study.coverage import TOPS, CoverageOptions, another_user, cover, study_coverage
from recbole_conrec.study.interests import Interests, interests
from recbole_conrec.utils.errors import UserError


def covered(profile: Counter, reached: set, k: int) -> float:
    """The share of all orders of the tied interests in which one of the first k is covered, by trying all."""
    if not profile:
        return 0.0
    counts = sorted(profile.values(), reverse=True)
    last = counts[min(k, len(counts)) - 1]
    above = {interest for interest, count in profile.items() if count > last}
    tied = [interest for interest, count in profile.items() if count == last]
    choices = list(itertools.combinations(tied, min(k, len(counts)) - len(above)))
    return sum(bool((above | set(choice)) & reached) for choice in choices) / len(choices)


def test_cover_tries_all_orders_of_ties():
    rng = np.random.default_rng(4)
    profile = rng.integers(0, 4, (300, 9)) * (rng.random((300, 9)) < rng.random((300, 1)))
    reached = rng.random((300, 9)) < 0.2
    found = cover(sparse.csr_matrix(profile), sparse.csr_matrix(reached.astype(int)), TOPS)
    expected = [
        [covered(Counter({c: n for c, n in enumerate(row) if n}), set(np.flatnonzero(hit)), k) for k in TOPS]
        for row, hit in zip(profile, reached, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert ((found > 0) & (found < 1)).mean() > 0.1  # there are ties


def slow_study(dataset, groups: list[set], neighbours: int, min_dislikes: int):
    """Instance by instance, item by item: ([3, 4] shares, instances judged)."""
    log, near = dataset.log, dataset.swing()
    seconds = dataset.protocol.window.length * 86_400
    shares = []
    for user, t0, item in zip(*(getattr(dataset.splits["test"], f) for f in ("user", "time", "item")), strict=True):
        first = {}
        for row in range(log.start[user], log.start[user + 1]):
            if log.feedback[row] == NEGATIVE:
                first.setdefault(int(log.item[row]), log.time[row])
        window = {i for i, time in first.items() if t0 <= time <= t0 + seconds}
        assert item in window
        outside = set(first) - window
        if len(outside) < min_dislikes:
            continue
        profile = Counter(group for i in outside for group in groups[i])
        swing = {int(j) for i in window for j in near.items[near.ptr[i] : near.ptr[i + 1]][:neighbours]}
        sets = ({int(item)}, window, window | swing)
        shares.append([[covered(profile, {g for i in s for g in groups[i]}, k) for k in TOPS] for s in sets])
    return np.mean(shares, axis=0), len(shares)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["category", "sid-1", "sid-2"])
def test_the_study_equals_a_slow_one(make_tiny, kind):
    config, dataset = make_tiny()
    kinds = interests(kind, config, dataset)
    groups = [set(kinds.of_item[i].indices.tolist()) for i in range(dataset.item_num)]
    expected, instances = slow_study(dataset, groups, 3, 4)
    found = study_coverage(dataset, kinds, CoverageOptions(neighbours=3, min_dislikes=4), chunk=40)
    np.testing.assert_allclose(found.covered, expected, atol=1e-12)
    assert found.instances == instances > 50
    assert found.left_out == len(dataset.splits["test"]) - instances
    assert (found.low <= found.covered).all() and (found.covered <= found.high).all()
    assert (np.diff(found.covered, axis=0) >= 0).all() and (np.diff(found.covered, axis=1) >= 0).all()


def test_interests_are_the_categories_and_the_prefixes(make_tiny):
    config, dataset = make_tiny()
    genres = interests("category", config, dataset)
    ids, names = dataset.item_category()
    for item in range(1, dataset.item_num):
        assert {names[1:][c] for c in genres.of_item[item].indices} == {names[i] for i in ids[item] if i}
    from recbole_conrec.tokenizer import build

    codes = build(config, dataset).codes
    prefix = interests("sid-2", config, dataset).of_item
    assert prefix[0].nnz == 0 and (prefix[1:].sum(axis=1) == 1).all()
    same = prefix[1:].indices[:, None] == prefix[1:].indices
    assert (same == (codes[1:, None, :2] == codes[1:, :2]).all(axis=2)).all()


def test_sets_cover_their_own_user_better_than_another(make_tiny):
    """In `tiny` users dislike two of six genres: their own windows cover more than those of others."""
    config, dataset = make_tiny()
    found = study_coverage(dataset, interests("category", config, dataset), CoverageOptions(min_dislikes=4))
    assert (found.covered[0] > found.chance[0] + 0.1).all()


def test_another_user_is_another():
    user = np.random.default_rng(1).permutation(np.repeat([3, 4, 9], [500, 300, 1]))
    other = another_user(user, np.random.default_rng(0))
    assert (user[other] != user).all() and len(np.unique(other)) > 300
    assert another_user(np.array([2, 2]), np.random.default_rng(0)) is None


def test_mistakes_are_named(make_tiny):
    dataset = make_tiny()[1]
    with pytest.raises(UserError, match="'sid-3' needs IDs with at least 3 levels; these have 2"):
        two_levels = {"name": "rqkmeans", "depth": 2, "sizes": [16, 16], "encoder": ["tfidf"]}
        interests("sid-3", make_tiny(tokenizer=two_levels)[0], dataset)
    with pytest.raises(UserError, match="--min_dislikes"):
        one = Interests.from_codes("x", np.zeros((dataset.item_num, 1), int), 1)
        study_coverage(dataset, one, CoverageOptions(min_dislikes=10_000))


def test_the_command_prints_a_table_and_writes_a_picture(tiny_path, tmp_path, capsys):
    options = [f"--data_path={tiny_path}", "--dataset=tiny", f"--out={tmp_path}", f"--checkpoint_dir={tmp_path}"]
    rules = ["--feedback.negative=rating <= 2", "--item_text=[title]", "--item_category=genre", "--model=SASRec"]
    assert main(["study", "coverage", *options, *rules, "--interests=category, sid-1", "--neighbours=2"]) == 0
    text = capsys.readouterr().out
    assert "window + Swing" in text and "sid-1" in text and max(map(len, text.splitlines()[:-1])) <= 100
    assert (tmp_path / "coverage-tiny.png").read_bytes().startswith(b"\x89PNG")
    assert [s["interests"] for s in json.loads((tmp_path / "coverage-tiny.json").read_text())["studies"]] == [
        "category",
        "sid-1",
    ]
    for argv, words in (
        (["study"], "usage"),
        (["study", "cover"], "there is no 'cover'"),
        (["study", "coverage", "--neighbours=x"], "study coverage.neighbours: 'x'; expected a whole number of at lea"),
        (["study", "coverage", "--min_dislikes=-1"], "study coverage.min_dislikes: -1; expected a whole number of at"),
        (["study", "coverage", "--interests=genre"], "expected one of category, sid-1, sid-2, sid-3"),
    ):
        assert main(argv) == 2
        assert words in capsys.readouterr().err
