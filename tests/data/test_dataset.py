import shutil

import numpy as np
import pytest
import tinylog
import torch

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError


def tokens(dataset, field, ids):
    return dataset.field2id_token[field][np.asarray(ids)]


def lines(tiny_path):
    """The events of the file: (user, item, feedback, time)."""
    rows = [line.split("\t") for line in (tiny_path / "tiny" / "tiny.inter").read_text().splitlines()[1:]]
    return [(u, i, -1 if int(r) <= 2 else int(int(r) >= 4), int(t)) for u, i, r, t in rows]


def test_the_log_is_the_file(tiny_dataset, tiny_path):
    log = tiny_dataset.log
    users, items = tokens(tiny_dataset, "user_id", log.user), tokens(tiny_dataset, "item_id", log.item)
    found = list(zip(users, items, log.feedback.tolist(), log.time.tolist(), strict=True))
    expected = lines(tiny_path)
    assert sorted(found) == sorted(expected)
    for user in set(users):  # in time order, and ties in the file's order
        assert [e for e in found if e[0] == user] == sorted((e for e in expected if e[0] == user), key=lambda e: e[3])


@pytest.mark.slow
@pytest.mark.parametrize("context,kinds", [("negative", (-1,)), ("both", (-1, 1))])
@pytest.mark.parametrize("by", ["user", "time"])
def test_batches_equal_a_look_at_the_file(make_tiny, tiny_path, context, kinds, by):
    _, dataset = make_tiny(context=context, split={"by": by}, MAX_ITEM_LIST_LENGTH=7)
    events = lines(tiny_path)
    for part in dataset.build():
        batch = part[:]
        assert len(batch) == len(part) == len(part.instances) == len(dataset.splits[part.split])
        for n in range(0, len(part), 13):
            user = tokens(dataset, "user_id", batch["user_id"][n])
            t0 = int(batch["t0"][n])
            past = sorted((e for e in events if e[0] == user and e[3] < t0), key=lambda e: e[3])
            shown = [(i, f) for _, i, f, _ in past if f in kinds][-7:]
            pad = 7 - len(shown)
            listed = tokens(dataset, "item_id", batch["item_id_list"][n]).tolist()
            assert listed == [i for i, _ in shown] + ["[PAD]"] * pad
            assert batch["feedback_list"][n].tolist() == [f for _, f in shown] + [0] * pad
            assert batch["item_length"][n] == max(1, len(shown))
            assert (user, tokens(dataset, "item_id", batch["item_id"][n]), -1, t0) in events
            begin, end = batch["history_begin"][n], batch["history_end"][n]
            assert end - begin == len(past)
            assert batch["instance_id"][n] == n
        assert all(batch[field].dtype == torch.int64 for field in batch)


def test_any_kind_of_index_gives_the_same_instances(tiny_dataset):
    whole = tiny_dataset[:]
    mask = np.zeros(len(tiny_dataset), dtype=bool)
    mask[[3, 5]] = True
    for index in ([3, 5], np.array([3, 5]), torch.tensor([3, 5]), slice(3, 6, 2), mask, torch.from_numpy(mask)):
        batch = tiny_dataset[index]
        for field in whole:
            assert torch.equal(batch[field], whole[field][[3, 5]])
    assert tiny_dataset[4]["instance_id"].tolist() == [4]
    assert tiny_dataset[-1]["instance_id"].tolist() == [len(tiny_dataset) - 1]


def test_training_events_lie_strictly_before_validation(make_tiny):
    for by in ("user", "time"):
        _, dataset = make_tiny(split={"by": by})
        log, cuts = dataset.log, dataset.cuts
        expected = [t < cuts.valid_start[u] for u, t in zip(log.user, log.time, strict=True)]
        assert dataset.train_mask.tolist() == expected
        assert not dataset.train_mask[dataset.splits["valid"].row].any()
        assert dataset.train_mask[dataset.splits["train"].row].all()


def test_no_instance_was_disliked_before_and_the_dropped_are_counted(tiny_dataset):
    log = tiny_dataset.log
    count = 0
    for part in tiny_dataset.splits.values():
        count += len(part)
        for user, item, end, begin in zip(part.user, part.item, part.end, part.begin, strict=True):
            past = log.item[begin:end][log.feedback[begin:end] == NEGATIVE]
            assert item not in past and (log.user[begin:end] == user).all()
    assert count + tiny_dataset.repeats == (log.feedback == NEGATIVE).sum() and tiny_dataset.repeats > 0


def test_truth_is_aligned_and_shared_by_the_copies(make_tiny):
    _, dataset = make_tiny()
    for part in dataset.build():
        truth = part.truth()
        assert truth is dataset.truth(part.split)
        assert (truth.next == part[:]["item_id"].numpy()).all()
        assert len(truth.candidates) == len(truth.f_ptr) - 1 == len(truth.low_activity) == len(part)
        for n, item in enumerate(truth.next):
            assert item in truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]]
            assert truth.candidates[n][truth.answer[n]] == item
    assert dataset.swing() is dataset.build()[2].swing()


def test_future_of_both_kinds(tiny_dataset):
    part = tiny_dataset.splits["train"]
    negative, positive = (tiny_dataset.future(part, (kind,)) for kind in (NEGATIVE, POSITIVE))
    both = tiny_dataset.future(part, (NEGATIVE, POSITIVE))
    for n in range(len(part)):
        one, two, all_ = (items[ptr[n] : ptr[n + 1]].tolist() for ptr, items in (negative, positive, both))
        assert all_ == sorted({*one, *two})
    some = tiny_dataset.future(part[10:12], (NEGATIVE,))
    assert some[1].tolist() == negative[1][negative[0][10] : negative[0][12]].tolist()


def test_item_texts_and_categories(tiny_dataset):
    names = tiny_dataset.field2id_token["item_id"]
    text = tiny_dataset.item_text()
    assert text[0] == "" and len(text) == tiny_dataset.item_num
    for item in (1, 7, 50):
        n = int(names[item][1:])
        title = tiny_dataset.item_text(["title"])[item]
        assert title.endswith(f" {n}") and text[item].startswith(f"{title}. {1980 + n % 30}. ")
        ids, categories = tiny_dataset.item_category()
        genres = [categories[i] for i in ids[item] if i]
        assert genres == text[item].rsplit(". ", 1)[1].split()
    with pytest.raises(UserError, match="no field 'plot'; it has title, year, genre"):
        tiny_dataset.item_text(["plot"])
    with pytest.raises(UserError, match="item_category: there is no field 'plot' of tokens"):
        tiny_dataset.item_category("plot")


@pytest.fixture
def edited(tiny_path, tmp_path):
    """Function (edit, **options) -> data set, after edit(folder of the copied files)."""

    def load(edit=lambda folder: None, **options):
        shutil.rmtree(tmp_path / "tiny", ignore_errors=True)
        shutil.copytree(tiny_path / "tiny", tmp_path / "tiny")
        edit(tmp_path / "tiny")
        options = {**tinylog.OPTIONS, "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path), **options}
        return NegativeFeedbackDataset(make_config("SASRec", "tiny", options=options))

    return load


def replace_line(name, number, text):
    def edit(folder):
        rows = (folder / name).read_text().splitlines()
        rows[number - 1] = text
        (folder / name).write_text("\n".join(rows) + "\n")

    return edit


@pytest.mark.slow
def test_the_fingerprint_follows_files_and_protocol(edited):
    same = edited().fingerprint
    assert len(same) == 64 and same == edited().fingerprint
    assert same == edited(context="both", MAX_ITEM_LIST_LENGTH=3, seed=99, item_text=["title"]).fingerprint
    others = [
        edited(split={"by": "user"}),
        edited(window={"unit": "days", "length": 6}),
        edited(feedback={"negative": "rating <= 1", "positive": "rating >= 4"}),
        edited(candidate_seed=1),
        edited(long_tail=4),
        edited(replace_line("tiny.item", 5, "i3\tAnother Title\t1999\tHorror")),
        edited(replace_line("tiny.inter", 5, "u3\ti3\t2\t1000000000")),
    ]
    assert len({same, *(other.fingerprint for other in others)}) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "edit,options,words",
    [
        (lambda folder: (folder / "tiny.inter").unlink(), {}, ["tiny.inter: there is no such file", "data_path"]),
        (replace_line("tiny.inter", 9, "u1\ti2\tgood\t5"), {}, ["tiny.inter: row 9: rating is 'good'", "a number"]),
        (replace_line("tiny.inter", 9, "u1\ti2\t3\tlate"), {}, ["tiny.inter: row 9: timestamp is 'late'"]),
        (replace_line("tiny.inter", 9, "u1\ti2\t3"), {}, ["tiny.inter: row 9 has 3 fields instead of 4"]),
        (replace_line("tiny.inter", 9, "u1\t\t3\t5"), {}, ["tiny.inter: row 9: item_id is ''"]),
        (replace_line("tiny.item", 3, "i1\ttitle\t1999"), {}, ["tiny.item: row 3 has 3 fields instead of 4"]),
        (
            lambda folder: (folder / "tiny.inter").write_text(
                "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            ),
            {},
            ["tiny.inter: it has a header but no rows"],
        ),
        (
            None,
            {"feedback": {"negative": "stars <= 2", "positive": "rating >= 4"}},
            ["no field 'stars'", "'stars <= 2'", "it has user_id, item_id, rating, timestamp"],
        ),
        (
            None,
            {"feedback": {"negative": "rating <= 0", "positive": "rating >= 4"}},
            ["negative rule 'rating <= 0'", "tiny.inter", "'rating' runs from 1 to 5"],
        ),
        (None, {"feedback": {"negative": "rating <= 3", "positive": "rating >= 3"}}, ["both match"]),
        (None, {"feedback": {"negativ": "rating <= 3"}}, ["feedback: unknown option 'negativ'", "'negative'"]),
        (None, {"feedback": {"positive": "rating >= 3"}}, ["feedback.negative is needed"]),
        (None, {"feedback": "rating <= 3"}, ["feedback: 'rating <= 3'; expected a mapping of negative, positive"]),
        (None, {"item_text": ["plot"]}, ["tiny.item: there is no field 'plot', which item_text names"]),
        (None, {"item_category": "plot"}, ["no field 'plot', which item_category names"]),
        (None, {"TIME_FIELD": "when"}, ["no field 'when', which TIME_FIELD names"]),
        (None, {"context": "all"}, ["context: 'all'; expected one of negative, both"]),
        (None, {"low_activity": "few"}, ["low_activity: 'few'"]),
        (None, {"candidates": 1}, ["candidates: 1; expected a whole number of at least 2"]),
        (None, {"window": {"unit": "days", "length": -3}}, ["window.length: -3; expected a number above 0"]),
        (
            None,
            {"split": {"by": "time", "cuts": ["1999-01-01", "2000-01-01"]}},
            ["no negative event is left for train"],
        ),
    ],
)
def test_a_mistake_is_one_line(edited, edit, options, words):
    with pytest.raises(UserError) as error:
        edited(edit or (lambda folder: None), **options)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_the_order_of_rows_and_the_spelling_of_times_change_nothing(edited):
    def rewrite(folder):
        head, *rows = (folder / "tiny.inter").read_text().splitlines()
        rows = [row + ".0" for row in sorted(rows, key=lambda row: row.split("\t")[0])]
        (folder / "tiny.inter").write_text("\n".join([head, *rows]) + "\n")

    one, two = edited(), edited(rewrite)
    assert two.log.time.dtype == np.int64
    for name in ("train", "valid", "test"):
        lists = []
        for dataset in (one, two):
            part, truth = dataset.splits[name], dataset.truth(name)
            users, items = tokens(dataset, "user_id", part.user), tokens(dataset, "item_id", part.item)
            keys = zip(users, items, part.time, strict=True)
            lists.append(dict(zip(keys, tokens(dataset, "item_id", truth.candidates[:]).tolist(), strict=True)))
        assert lists[0] == lists[1]


def test_recboles_filters_still_apply(edited):
    dataset = edited(item_inter_num_interval="[40,inf)", val_interval={"rating": "[1,4]"})
    assert 0 < len(dataset.log) < len(edited().log)
    assert np.bincount(dataset.log.item)[1:].min() >= 1


def test_without_an_item_file_there_are_ids_but_no_words(edited):
    dataset = edited(lambda folder: (folder / "tiny.item").unlink(), item_text=None, item_category=None)
    assert dataset.item_feat is None and len(dataset.truth("test").next)
    assert dataset.item_text() == [""] * dataset.item_num
    with pytest.raises(UserError, match="tiny.item: there is no such file.*TALLRec"):
        dataset.need_texts("TALLRec", "choose another")
    with pytest.raises(UserError, match="item_category"):
        dataset.item_category("genre")


def test_milliseconds_are_refused_by_a_run_not_only_by_inspect(edited):
    def rewrite(folder):
        head, *rows = (folder / "tiny.inter").read_text().splitlines()
        (folder / "tiny.inter").write_text("\n".join([head, *(row + "000" for row in rows)]) + "\n")

    with pytest.raises(UserError) as error:
        edited(rewrite)
    assert "tiny.inter: row 2: timestamp is '10" in str(error.value) and "in ms: divide all by 1,000" in str(
        error.value
    )


def test_items_that_are_there_twice_are_counted_and_move_no_other(edited):
    def rewrite(folder):
        head, *rows = (folder / "tiny.item").read_text().splitlines()
        other = rows[3].split("\t")[0] + "\t" + "\t".join(rows[4].split("\t")[1:])
        (folder / "tiny.item").write_text("\n".join([head, *rows[:5], other, *rows[5:], rows[0]]) + "\n")

    clean = edited()
    with pytest.warns(UserWarning, match="tiny.item: 2 rows are left out .* their item_id; the first is row 7"):
        twice = edited(rewrite)
    assert twice.item_text() == clean.item_text()
    for one, two in zip(twice.item_category(), clean.item_category(), strict=True):
        assert one.tolist() == two.tolist()
