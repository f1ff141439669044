"""`explain`: the prompt read back, answers and rewards against loops, the page, and the subcommand."""

import io

import numpy as np
import pytest
import tinylog
import torch
import yaml
from browser import HOSTILE, Parsed, assert_only_text, opened
from rich.console import Console

from recbole_conrec.cli import main
from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.study import explain_page, explain_report
from recbole_conrec.study.explain import ExplainOptions, explain
from recbole_conrec.study.item_names import ItemNames, moment
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

STAGES = [
    {"name": "warm-up", "task": "next", "epochs": 2, "lr": 0.005, "batch_size": 16},
    {
        "name": "grpo-9",
        "task": "grpo",
        "samples": 8,
        "steps": 1,
        "prompts_per_step": 4,
        "G": 2,
        "beta": 0.05,
        "lr": 1e-4,
        "gamma": 0.7,
        "reward": "negatives_minus_positives",
        "neighbours": 2,
    },
]
OPTIONS = {
    **read_by("CoNRec", tinylog.OPTIONS),
    "gpu_id": "",
    "topk": [5],
    "valid_metric": "HR@5",
    "valid_sample": 10,
    "history": 12,
    "show_progress": False,
    "stages": STAGES,
    "candidate_scores": "likelihood",
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
}


@pytest.fixture(scope="module")
def trained(tiny_path, tmp_path_factory):
    """(folder, options) of a run of CoNRec on the small log."""
    options = {**OPTIONS, "data_path": str(tiny_path), "checkpoint_dir": str(tmp_path_factory.mktemp("explain"))}
    return run("CoNRec", "tiny", options=options).run_dir, options


@pytest.fixture(scope="module")
def loaded(trained):
    return load_run(trained[0])


def busiest(loaded) -> tuple[str, np.ndarray]:
    """The user of most test instances, and their places."""
    part = loaded.data.splits["test"]
    user = np.bincount(part.user).argmax()
    return loaded.data.id2token("user_id", int(user)), np.flatnonzero(part.user == user)


def test_it_shows_what_the_model_saw_and_answered(loaded):
    user, places = busiest(loaded)
    data, log, model = loaded.data, loaded.data.log, loaded.model
    test = data.build()[2]
    for number in (1, len(places)):
        seen = explain(loaded, ExplainOptions(user=user, instance=number, k=15))
        at = places[number - 1]
        part = data.splits["test"][[at]]
        assert (seen.number, seen.of, seen.t0, seen.next) == (number, len(places), part.time[0], part.item[0])
        past = [row for row in range(part.begin[0], part.end[0]) if log.feedback[row] in (NEGATIVE, POSITIVE)][-12:]
        assert [item for _, item in seen.prompt] == [*log.item[past], 0]
        words = ["disliked" if log.feedback[row] == NEGATIVE else "liked" for row in past]
        assert [text.split()[-1] for text, _ in seen.prompt] == [*words, "disliked"]
        interaction = test[[at]]
        items = model.recommend(interaction, 15)
        assert [one.item for one in seen.answers] == items[0].tolist()
        likely = model.scores_by("likelihood", interaction, items)[0]
        torch.testing.assert_close(torch.tensor([one.likelihood for one in seen.answers]), likely)
        truth = data.truth("test")
        f = truth.f_items[truth.f_ptr[at] : truth.f_ptr[at + 1]].tolist()
        assert seen.f == f and set(f) <= set(seen.gts) and seen.next in f


def test_rewards_and_the_nearest_items_are_those_of_a_loop(loaded):
    user, places = busiest(loaded)
    vectors = loaded.model.semantic_ids.embeddings()
    hits = set()
    for number in range(1, len(places) + 1):
        seen = explain(loaded, ExplainOptions(user=user, instance=number, k=40))
        for one in seen.answers:
            cosine = {
                other: float(
                    vectors[one.item]
                    @ vectors[other]
                    / np.linalg.norm(vectors[one.item])
                    / np.linalg.norm(vectors[other])
                )
                for other in {*seen.gts, *seen.fps}
            }
            best = max(cosine[i] for i in seen.gts)
            worst = max((cosine[i] for i in seen.fps), default=0.0)
            assert (one.gts_cosine, one.fps_cosine) == (pytest.approx(best, abs=1e-5), pytest.approx(worst, abs=1e-5))
            assert one.gts in seen.gts and cosine[one.gts] == pytest.approx(best, abs=1e-5)
            assert one.fps == 0 if not seen.fps else cosine[one.fps] == pytest.approx(worst, abs=1e-5)
            assert one.reward == pytest.approx(best - 0.7 * worst, abs=1e-5)
            expected = (
                "next"
                if one.item == seen.next
                else "F"
                if one.item in seen.f
                else ("neighbour" if one.item in seen.gts else "")
            )
            assert one.hit == expected
            hits.add(one.hit)
    assert {"next", ""} < hits  # or the loop has seen too little


def test_the_command_by_folder_and_by_options(trained, loaded, capsys, tmp_path):
    folder, options = trained
    user, _ = busiest(loaded)
    page = tmp_path / "page.html"
    assert main(["explain", f"--run={folder}", f"--user={user}", "--k=3", f"--out={page}"]) == 0
    printed = capsys.readouterr().out
    seen = explain(loaded, ExplainOptions(user=user, k=3))
    titles, ids = loaded.data.item_text(), loaded.model.semantic_ids
    for text in (
        f"user {user}, test instance 1 of",
        "grpo-9",
        "gamma 0.7",
        titles[seen.next][:20],
        ids.text(seen.answers[0].item),
        ids.text(seen.prompt[0][1]),
    ):
        assert text in printed
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>") and "<script" not in html and "http" not in html
    assert titles[seen.prompt[0][1]] in html and "@media (prefers-color-scheme: dark)" in html
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(options))
    named = ["--model=CoNRec", "--dataset=tiny", f"--config_files={tmp_path / 'tiny.yaml'}"]
    assert main(["explain", *named, f"--user={user}", "--k=3"]) == 0
    assert capsys.readouterr().out == printed.replace(f"page: {page}\n", "")


@pytest.fixture
def hostile(loaded, monkeypatch):
    """(run, explanation) of a data set whose titles are markup of HTML and of rich."""
    titles = [f"{HOSTILE}[red]x[/blue] {number}" for number in range(loaded.data.item_num)]
    monkeypatch.setattr(loaded.data, "item_text", lambda: titles)
    return loaded, explain(loaded, ExplainOptions(user=busiest(loaded)[0], k=6))


def test_titles_are_text_on_the_page(hostile):
    shown = Parsed(explain_page.page(*hostile))
    assert_only_text(shown, least=12)
    assert "script" not in shown.tags and shown.tags.count("tr") == 7  # the head, and the answers


def test_titles_are_text_in_a_browser(hostile, tmp_path):
    file = tmp_path / "explain.html"
    file.write_text(explain_page.page(*hostile), encoding="utf-8")
    assert_only_text(opened(file, width=390), least=12)


@pytest.mark.parametrize("width", [100, 160])
def test_the_terminal_shows_whole_lines(hostile, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(explain_report.view(*hostile, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    seen = hostile[1]
    (head,) = (line for line in lines if "log p" in line)
    assert " ".join(head.split()) == "item log p reward nearest of GTS nearest of FPS hit"
    for place, one in enumerate(seen.answers, start=1):
        (line,) = (line for line in lines if line.startswith(f"{place} ") and f"{one.likelihood:.2f}" in line)
        assert f"{one.reward:+.3f}" in line and line.rstrip().endswith(one.hit)
    ids = [hostile[0].semantic_ids.text(item) for item in (*(one.item for one in seen.answers), seen.prompt[0][1])]
    assert all(any(sid in line for line in lines) for sid in ids)
    assert '"><img src=x' in " ".join(lines)


def test_the_page_marks_hits_and_rewards(loaded):
    user, places = busiest(loaded)
    for number in range(1, len(places) + 1):
        seen = explain(loaded, ExplainOptions(user=user, instance=number, k=40))
        text = explain_page.page(loaded, seen)
        found = [one for one in seen.answers if one.hit]
        for kind in ("next", "F", "neighbour"):
            assert text.count(f'<tr class="{kind}">') == sum(one.hit == kind for one in found)
            assert text.count(f'<mark class="{kind}">') == sum(one.hit == kind for one in found)
        assert text.count('class="bar minus"') == sum(one.reward < 0 for one in seen.answers)
        answered = {one.item for one in seen.answers}
        groups = dict(seen.future())
        assert text.count('<li class="fault">') == len(answered & set(groups["FPS"]))
        assert text.count('<li class="found">') == sum(
            item in answered for name, items in groups.items() if name != "FPS" for item in items
        )


def test_items_and_times_have_names(loaded):
    names = ItemNames(loaded)
    assert names.both(0) == "-" and len(names.both(1, 12)) <= 12 and names.both(1, 12).endswith(f"({names.id(1)})")
    assert moment(881250949) == "881250949 (1997-12-04 15:55 UTC)" and moment(7) == "7"


def test_more_answers_than_items_are_all_items(loaded):
    seen = explain(loaded, ExplainOptions(user=busiest(loaded)[0], k=100_000))
    assert len({one.item for one in seen.answers}) == len(seen.answers) <= 120


@pytest.mark.parametrize(
    "options, words",
    [
        ({"user": "nobody"}, "explain.user: there is no user 'nobody' in tiny"),
        ({"instance": 999}, "explain.instance: 999; user"),
        ({"k": 0}, "explain.k: 0; expected a whole number of at least 1"),
        ({"split": "future"}, "explain.split: 'future'; expected one of train, valid, test"),
        ({"stage": "warm-up"}, "explain.stage: 'warm-up' has no reward of GTS and FPS; expected one of grpo-9"),
        ({"run": "saved/x", "model": "CoNRec"}, "explain: run is given, which decides model and dataset"),
    ],
)
def test_mistakes_are_named(loaded, options, words):
    with pytest.raises(UserError) as error:
        explain(loaded, ExplainOptions.read({"user": busiest(loaded)[0], **options}, "explain"))
    assert words in str(error.value)


def test_a_run_that_was_not_made_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "--model=CoNRec", "--user=1", "--seed=77"]) == 2
    assert "there is no finished run of these options" in capsys.readouterr().err
    assert main(["explain", "--model=CoNRec"]) == 2
    assert "explain.user is needed; expected text" in capsys.readouterr().err
    assert main(["explain", "--run=saved/x", "--user=1", "--instanc=2"]) == 2
    assert "explain: unknown option 'instanc'; did you mean 'instance'" in capsys.readouterr().err
    assert main(["explain", "--run=saved/x", "--user=1", "--config_files=a.yaml"]) == 2
    assert "--run decides the options" in capsys.readouterr().err
