import io
import json

import numpy as np
import pytest
from rich.console import Console

from recbole_conrec.tokenizer import Items, SemanticIds, build, parse
from recbole_conrec.tokenizer.diagnostics import diagnose
from recbole_conrec.tokenizer.pipeline import assemble, catalogue, encode_items
from recbole_conrec.tokenizer.report import TokenizeOptions, tokenize
from recbole_conrec.tokenizer.stability import under_another_seed, under_noise
from recbole_conrec.utils.errors import UserError


def measured(options, items, **more):
    features, vectors = encode_items(options, items)
    ids = assemble(options, items, features, vectors)
    return {m.name: m for m in diagnose(ids, options, items, vectors, **more)}


def genres(n=120):
    rng = np.random.default_rng(0)
    words = [f"{g}{w}" for g in "abcd" for w in range(6)]
    texts = [" ".join(rng.choice(words[6 * (i % 4) : 6 * (i % 4) + 6], 4, replace=False)) for i in range(n)]
    return Items(["", *texts]), np.array([[0], *([i % 4 + 1] for i in range(n))])


def mixed(n):
    rng = np.random.default_rng(0)
    return Items(["", *(" ".join(f"w{w}" for w in rng.integers(0, 200, 6)) for _ in range(n))])


def test_a_good_tokenizer_passes_and_its_prefixes_follow_categories():
    items, categories = genres()
    found = measured(parse({"name": "rqkmeans", "sizes": 8}), items, categories=categories)
    assert found["purity of categories, per length"].value[0] > 0.9 > found["the same by chance"].value[0]
    assert found["collision rate"].value == 0 and found["collision rate"].good
    assert found["codes kept at 1% noise, per level"].good
    assert all(len(m.value) == 3 for name, m in found.items() if name.endswith("per level"))


@pytest.mark.parametrize(
    ("block", "texts", "name"),
    [
        ({"sizes": 5}, "mixed", "reconstruction error, share of variance"),
        ({"sizes": 8}, ["same text"] * 80 + [f"word{i}" for i in range(40)], "collision rate before"),
        ({"sizes": 8}, [""] * 20 + [f"a b word{i}" for i in range(100)], "items without content"),
        (
            {"sizes": 8, "centre": False},
            [f"{'all begin with these many words alike ' * 3} word{i}" for i in range(120)],
            "mean cosine of random items",
        ),
    ],
)
def test_each_fault_is_warned_of_with_advice(block, texts, name):
    items = mixed(120) if texts == "mixed" else Items(["", *texts])
    found = measured(parse({"name": "rqkmeans", **block}), items, stability=False)[name]
    assert found.good is False and found.advice


def test_stability_falls_with_noise_and_an_exact_refit_keeps_everything():
    items = mixed(300)
    options = parse({"name": "rqkmeans", "sizes": 16})
    features, vectors = encode_items(options, items)
    ids = assemble(options, items, features, vectors)
    kept = under_noise(ids, options, items, vectors, np.random.default_rng(0))
    means = [np.mean(kept[p]) for p in (0.01, 0.05, 0.10)]
    assert 1 >= means[0] > means[2] > 0.5
    same = options.model_copy(update={"seed": options.seed - 1})  # its next seed is the one that was used
    assert under_another_seed(ids, same, items, vectors) == [1, 1, 1]
    assert under_another_seed(ids, options, items, vectors)[2] < 1


def test_collaborative_ids_are_shaken_by_leaving_events_out(make_tiny):
    config, dataset = make_tiny(tokenizer={"name": "collaborative", "collaborative": {"clusters": 4, "leaf": 30}})
    options = parse(config["tokenizer"])
    found = measured(options, catalogue(options, dataset))
    shares = [found[f"codes kept at {p} events left out, per level"].value[0] for p in ("1%", "10%")]
    assert 0.2 < shares[1] <= 1 and 0.2 < shares[0] <= 1
    assert found["reconstruction error, share of variance"].good is None


@pytest.mark.slow
def test_tokenize_reports_and_a_second_time_reads(make_tiny, tmp_path):
    config, dataset = make_tiny(tokenizer={"name": "rqkmeans", "sizes": 8}, checkpoint_dir=str(tmp_path / "saved"))
    console = Console(width=100, record=True, file=io.StringIO())
    options = TokenizeOptions(out=str(tmp_path / "out"))
    ids = tokenize(config, dataset, options, console)
    text = console.export_text()
    assert "made in" in text and "codes in use, per level" in text and "pass" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fingerprint"] == ids.fingerprint == SemanticIds.load(tmp_path / "out").fingerprint
    assert {m["group"] for m in report["measures"]} == {"codes", "prefixes", "vectors", "stability"}
    for picture in ("codes.png", "map.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    tokenize(config, dataset, options, console)
    assert "read from" in console.export_text()
    assert build(config, dataset).fingerprint == ids.fingerprint


@pytest.mark.slow
def test_the_report_without_stability_is_beside_the_cached_ids(make_tiny, tmp_path):
    config, dataset = make_tiny(tokenizer={"name": "rqkmeans", "sizes": 8}, checkpoint_dir=str(tmp_path))
    tokenize(config, dataset, TokenizeOptions(stability=False), Console(file=io.StringIO()))
    (file,) = (tmp_path / "tokenizers").glob("*/report.json")
    groups = {m["group"] for m in json.loads(file.read_text())["measures"]}
    assert groups == {"codes", "prefixes", "vectors"}


def test_options_of_the_subcommand_are_checked():
    with pytest.raises(UserError, match="tokenize.stability: 'no way'; expected true or false"):
        TokenizeOptions.read({"stability": "no way"}, "tokenize")
    own, others = TokenizeOptions.take({"out": 2024, "tokenizer.name": "opq"}, "tokenize")
    assert own.out == "2024" and others == {"tokenizer.name": "opq"}
