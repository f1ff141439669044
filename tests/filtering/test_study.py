"""The study's measures against loops, and the whole subcommand."""

import csv

import numpy as np
import pytest

from recbole_conrec.cli import main
from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.filtering.online import NegativeFilter
from recbole_conrec.study.filter_facts import Facts, Judged


@pytest.fixture(scope="module")
def facts(trained):
    return Facts(trained, lists=30, shown=6)


def test_measures_are_those_of_loops(trained, facts):
    rng = np.random.default_rng(0)
    data = trained.data
    dropped = Judged(*(rng.random(part.shape) < 0.3 for part in (facts.dislikes[0], facts.likes[0], facts.lists)))
    members = rng.random(data.log.n_users) < 0.7
    found = facts.measure(dropped, members)

    for name, pairs, gone in (
        ("dislikes_removed", facts.dislikes, dropped.dislikes),
        ("likes_lost", facts.likes, dropped.likes),
    ):
        chosen = [gone[n] for n, user in enumerate(pairs[0]) if members[user]]
        assert found[name] == pytest.approx(np.mean(chosen))
    tail = [
        dropped.dislikes[n]
        for n, (u, i) in enumerate(zip(*facts.dislikes, strict=True))
        if members[u] and facts.long_tail[i]
    ]
    assert found["tail_removed"] == pytest.approx(np.mean(tail))

    vectors = trained.semantic_ids.embeddings().astype(float)
    categories = [set(row) - {0} for row in data.item_category()[0]]
    rates, everything, diversity, entropy, short = [], set(), [], [], []
    for row, user in enumerate(facts.users):
        items = [i for i in facts.lists[row] if i]
        if not members[user]:
            continue
        gone = [dropped.lists[row][n] for n, i in enumerate(facts.lists[row]) if i]
        rates += gone
        shown = [i for i, g in zip(items, gone, strict=True) if not g][:6]
        everything |= set(shown)
        short.append(len(shown) < min(6, len(items)))
        if len(shown) > 1:
            cosines = [
                vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
                for n, a in enumerate(shown)
                for b in shown[n + 1 :]
            ]
            diversity.append(1 - np.mean(cosines))
        if shown:
            share = {}
            for i in shown:
                for c in categories[i]:
                    share[c] = share.get(c, 0) + 1 / len(categories[i])
            p = np.array(list(share.values())) / sum(share.values())
            entropy.append(-(p * np.log2(p)).sum())
    assert found["filter_rate"] == pytest.approx(np.mean(rates))
    assert found["coverage"] == pytest.approx(len(everything) / (data.item_num - 1))
    assert found["short"] == pytest.approx(np.mean(short))
    assert found["diversity"] == pytest.approx(np.mean(diversity), abs=1e-5)
    assert found["entropy"] == pytest.approx(np.mean(entropy))


def test_references_are_those_of_loops(trained, facts, sets_folder):
    sets = NegativeFilter.load(sets_folder).sets
    rules = {rule.name: rule.dropped for rule in facts.references(sets)}
    log, categories = trained.data.log, trained.data.item_category()[0]
    assert not rules["nothing"].dislikes.any() and not rules["nothing"].lists.any()
    for n, (user, item) in enumerate(zip(*facts.dislikes, strict=True)):
        before = (log.user == user) & (log.time < facts.t0[user]) & (log.feedback == NEGATIVE)
        counts = np.bincount(categories[log.item[before]].reshape(-1), minlength=20)
        counts[0] = 0
        top = [c for c in np.argsort(-counts, kind="stable")[:2] if counts[c]]
        assert rules["top 2 categories"].dislikes[n] == bool(set(top) & set(categories[item]))
        predicted = sets.rows[sets.ptr[user - 1] : sets.ptr[user]] + 1
        assert rules["predicted items"].dislikes[n] == (item in predicted)
    assert rules["top 2 categories"].dislikes.any() and rules["predicted items"].likes.any()


def test_auc_counts_pairs(facts):
    rng = np.random.default_rng(1)
    scores = Judged(*(np.round(rng.random(len(pairs[0])), 1) for pairs in (facts.dislikes, facts.likes)), None)
    scores.likes[:3] = np.nan  # no score: below all
    members = facts.populations["all users"]
    likes = np.nan_to_num(scores.likes, nan=-9)
    wins = (scores.dislikes[:, None] > likes).mean() + 0.5 * (scores.dislikes[:, None] == likes).mean()
    assert facts.auc(scores, members) == pytest.approx(wins)


@pytest.mark.slow
def test_study_filter_end_to_end(run_folder, tmp_path, capsys):
    command = ["study", "filter", f"--run={run_folder}", f"--out={tmp_path}", "--size=8", "--show_progress=False"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "theta chosen on validation" in printed and "predicted items" in printed
    tables = [line for line in printed.splitlines() if not line.startswith("written to")]
    assert max(map(len, tables)) <= 100 and "…" not in printed
    with open(tmp_path / "filter.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["population"] for row in rows} == {"all users", "users with fewer than 3 dislikes"}
    curve = [row for row in rows if row["population"] == "all users" and row["rule"] == "filter" and row["size"] == "8"]
    removed = [float(row["dislikes_removed"]) for row in curve]
    assert removed == sorted(removed, reverse=True) and removed[0] > removed[-1]  # theta from low to high
    calibrated = [row for row in rows if row["target"]]
    assert all(float(row["validation"]) <= float(row["target"]) for row in calibrated)
    for name in ("trade-off.png", "thresholds.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert "| nothing |" in (tmp_path / "filter.md").read_text()
