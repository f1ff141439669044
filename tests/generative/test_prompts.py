"""Prompts against an oracle that writes them event by event, token by token."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from llmtools import random_ids

from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog, Instances, Window
from recbole_conrec.data.splits import first_dislikes
from recbole_conrec.generative.prompts import FEEDBACK, ID_TEXTS, INSTRUCTION, PromptBuilder, context_of
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.utils.errors import UserError

DAY = 86_400
WORD = {"layers": 1, "hidden": 8, "heads": 1, "kv_heads": 1, "intermediate": 8}
BPE = {**WORD, "tokenizer": "bpe", "vocab_size": 262}  # ' disliked' and ' liked' take different numbers of tokens
TIGHT = {"word": 60, "bpe": 170}  # max_tokens that hold a few events
NAMES = {"negative": (NEGATIVE,), "both": (NEGATIVE, POSITIVE)}


def random_log(seed: int, users=8, items=30, events=260, moments=50) -> EventLog:
    """Ties, repeated dislikes, and a last user without events."""
    rng = np.random.default_rng(seed)
    return EventLog.from_arrays(
        rng.integers(1, users, events),
        rng.integers(1, items + 1, events),
        rng.integers(0, moments, events) * DAY // 4,
        rng.choice([-1, 0, 1], events, p=[0.4, 0.2, 0.4]),
        users + 1,
        items + 1,
    )


@pytest.fixture(scope="module")
def make_builder():
    backbones = {}

    def make(log, max_tokens=4096, tiny=WORD):
        key = (log.n_items, tiny is BPE)
        if key not in backbones:
            backbones[key] = load_backbone(
                "tiny", random_ids(log.n_items, (6, 7, 16)), ID_TEXTS, BackboneOptions(tiny=tiny)
            )
        builder = PromptBuilder(backbones[key], log, max_tokens)
        builder.backbone = backbones[key]  # for the oracle
        return builder

    return make


class Reader:
    """The oracle's words: tokens of texts and of items, by their names."""

    def __init__(self, builder):
        self.tokenizer, self.ids = builder.tokenizer, builder.backbone.semantic_ids
        self.vocabulary = self.tokenizer.get_vocab()
        self.head = self.text(INSTRUCTION)
        self.marker = {kind: self.text(FEEDBACK[kind]) for kind in (NEGATIVE, POSITIVE)}
        self.widest = max(len(self.marker[NEGATIVE]), len(self.marker[POSITIVE])) + self.ids.depth

    def text(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def item(self, item):
        names = [f"<{'abc'[level]}_{code}>" for level, code in enumerate(self.ids.codes[item])]
        return [self.vocabulary[name] for name in names]

    def fits(self, max_tokens):
        """How many events go into a prompt that has room for its answer, if all of them are of the longer kind."""
        events = 0
        while len(self.head) + (events + 1) * self.widest + len(self.marker[NEGATIVE]) + self.ids.depth <= max_tokens:
            events += 1
        return events

    def prompt(self, log, rows):
        tokens = list(self.head)
        for row in rows:
            tokens += self.marker[int(log.feedback[row])]
            tokens += self.item(log.item[row])
        return tokens + self.marker[NEGATIVE]

    def read(self, row):
        """The events of a training example: (feedback, item tokens, how much loss they bear); no other token may."""
        tokens, mask = row["input_ids"], row["completion_mask"]
        assert len(tokens) == len(mask) and tokens[: len(self.head)] == self.head and not any(mask[: len(self.head)])
        at, events = len(self.head), []
        while at < len(tokens):
            kind = next(k for k, marker in self.marker.items() if tokens[at : at + len(marker)] == marker)
            start = at + len(self.marker[kind])
            assert not any(mask[at:start])
            at = start + self.ids.depth
            (bears,) = set(mask[start:at])
            events.append((kind, tuple(tokens[start:at]), bears))
        return events


def events_shown(log, begin, end, t0, kinds, window):
    """Rows of the history that a prompt may show, by looking at every event."""
    rows = []
    for row in range(begin, end):
        if window and window["unit"] == "days" and log.time[row] < t0 - window["length"] * DAY:
            continue
        if window and window["unit"] == "events" and row < end - window["length"]:
            continue
        if log.feedback[row] in kinds:
            rows.append(row)
    return rows


def unpadded(ids, mask):
    for row, there in zip(ids.tolist(), mask.tolist(), strict=True):
        assert there == sorted(there)  # padded on the left
        yield row[len(there) - sum(there) :]


@pytest.mark.parametrize("tiny", [WORD, BPE], ids=["word", "bpe"])
@pytest.mark.parametrize("name", ["negative", "both"])
@pytest.mark.parametrize(
    "window", [None, {"unit": "days", "length": 3}, {"unit": "events", "length": 7}], ids=["all", "days", "events"]
)
def test_histories_equal_the_oracle(make_builder, name, window, tiny):
    log = random_log(1)
    some = Instances.of_rows(log, first_dislikes(log))
    begin = some.begin.copy()
    begin[::3] = np.minimum(begin[::3] + 2, some.end[::3])  # a history may begin later than its user
    cut_some = 0
    for max_events, max_tokens in itertools.product((1, 4, 100), (TIGHT[tiny.get("tokenizer", "word")], 4096)):
        builder = make_builder(log, max_tokens, tiny)
        reader = Reader(builder)
        fits = reader.fits(max_tokens)
        assert builder.max_events == fits
        context = context_of(name, max_events, window and Window(**window))
        prompts = builder.history(begin, some.end, some.time, context)
        got = prompts.lists()
        for n, prompt in enumerate(got):
            rows = events_shown(log, begin[n], some.end[n], some.time[n], NAMES[name], window)
            assert prompt == reader.prompt(log, rows[-min(max_events, fits) :])
            assert len(prompt) + builder.depth <= max_tokens
            assert prompts.shortened[n] == (min(len(rows), max_events) > fits)
        cut_some += prompts.shortened.sum()
    assert cut_some or window  # the token limit was felt


def test_prompts_of_a_data_set_equal_the_oracle(make_tiny, make_builder):
    _, data = make_tiny(context="both")
    builder = make_builder(data.log)
    reader = Reader(builder)
    for split in ("train", "test"):
        some = data.splits[split][::7]
        prompts = builder.history(some.begin, some.end, some.time, context_of("both", 30), some.user)
        assert not prompts.shortened.any()
        for n, prompt in enumerate(prompts.lists()):
            assert prompt == reader.prompt(
                data.log, events_shown(data.log, some.begin[n], some.end[n], 0, (-1, 1), None)[-30:]
            )


def oracle_packed(reader, log, begin, end, kinds, events, targets):
    """Stretches one after the other, half a stretch further each time; what is not yet trained bears loss."""
    rows = []
    for a, b in zip(begin, end, strict=True):
        sequence, trained, start = events_shown(log, a, b, 0, kinds, None), set(), 0
        while True:
            tokens, mask = list(reader.head), [0] * len(reader.head)
            for row in sequence[start : start + events]:
                marker, item = reader.marker[int(log.feedback[row])], reader.item(log.item[row])
                loss = int(targets[row] and row not in trained)
                tokens, mask = tokens + marker + item, mask + [0] * len(marker) + [loss] * len(item)
                trained.add(row)
            if any(mask):
                rows.append({"input_ids": tokens, "completion_mask": mask})
            if start + events >= len(sequence):
                break
            start += max(events // 2, 1)
    return rows


@pytest.mark.parametrize("tiny", [WORD, BPE], ids=["word", "bpe"])
@pytest.mark.parametrize("name", ["negative", "both"])
@pytest.mark.parametrize("events", [1, 2, 5, 8, 500])
def test_packed_rows_equal_the_oracle(make_builder, name, events, tiny):
    log = random_log(2)
    targets = np.isin(np.arange(len(log)), first_dislikes(log))
    assert targets.sum() < (log.feedback == NEGATIVE).sum()  # some dislikes are repeated
    begin, end = log.start[:-1], log.start[1:] - np.arange(log.n_users) % 4
    end = np.maximum(end, begin)
    for max_tokens in (TIGHT[tiny.get("tokenizer", "word")], 4096):
        builder = make_builder(log, max_tokens, tiny)
        reader = Reader(builder)
        got = builder.packed(begin, end, context_of(name, 10), events, targets)
        assert got == oracle_packed(reader, log, begin, end, NAMES[name], min(events, reader.fits(max_tokens)), targets)
        assert all(len(row["input_ids"]) <= max_tokens for row in got)


def test_every_first_dislike_of_the_training_part_bears_loss_once(make_tiny, make_builder):
    _, data = make_tiny(context="both")
    log = data.log
    reader = Reader(builder := make_builder(log))
    item_of = {tuple(reader.item(item)): item for item in range(1, log.n_items)}
    begin, end = log.start[:-1], log.first_at_or_after(np.arange(log.n_users), data.cuts.valid_start)
    expected = sorted(log.item[data.first_dislike & data.train_mask].tolist())
    for rng in (None, np.random.default_rng(0)):
        rows = builder.packed(begin, end, context_of("both", 20), 20, data.first_dislike, rng)
        answers = [(kind, item_of[item]) for row in rows for kind, item, bears in reader.read(row) if bears]
        assert sorted(item for _, item in answers) == expected
        assert {kind for kind, _ in answers} == {NEGATIVE}


@pytest.mark.parametrize("name", ["negative", "both"])
@pytest.mark.parametrize("events", [2, 6, 7])
def test_targets_have_half_a_stretch_of_context_and_seconds_are_shuffled(make_builder, name, events):
    """Every event has its own item, so a training example reveals which events it shows."""
    log = random_log(3, events=300, moments=25)
    log = replace(log, item=np.random.default_rng(3).permutation(np.arange(1, 301)), n_items=301)
    row_of_item = {int(item): row for row, item in enumerate(log.item)}
    targets = (log.feedback == NEGATIVE) & (np.random.default_rng(4).random(300) < 0.8)
    begin, end = log.start[:-1] + 1, log.start[1:] - 2
    begin, end = np.minimum(begin, log.start[1:]), np.maximum(end, np.minimum(begin, log.start[1:]))
    inside = np.zeros(300, dtype=bool)
    for a, b in zip(begin, end, strict=True):
        inside[a:b] = True
    builder = make_builder(log)
    reader = Reader(builder)
    item_of = {tuple(reader.item(item)): item for item in range(1, 301)}

    def read(builder, rng):
        rows = builder.packed(begin, end, context_of(name, 99), events, targets, rng)
        return [[(row_of_item[item_of[item]], bears) for _, item, bears in reader.read(row)] for row in rows]

    shown = read(builder, np.random.default_rng(5))
    assert read(builder, np.random.default_rng(5)) == shown != read(builder, np.random.default_rng(6))
    assert sorted(row for rows in shown for row, bears in rows if bears) == np.flatnonzero(targets & inside).tolist()
    out_of_order = 0
    for rows in shown:
        assert len({log.user[row] for row, _ in rows}) == 1 and all(inside[row] for row, _ in rows)
        for (first, _), (second, _) in itertools.pairwise(rows):
            assert log.time[first] <= log.time[second]
            out_of_order += first > second
        for before, (row, bears) in enumerate(rows):
            same = inside & (log.user == log.user[row]) & np.isin(log.feedback, NAMES[name])
            earlier = int((same & (log.time < log.time[row])).sum())
            assert not bears or before >= min(earlier, events / 2)
    assert out_of_order

    outside = replace(log, item=np.where(inside, log.item, 1), feedback=np.where(inside, log.feedback, -log.feedback))
    assert read(make_builder(outside), np.random.default_rng(5)) == shown
    assert read(make_builder(outside), None) == read(builder, None)


def test_targets_bear_their_weights_and_dropped_events_are_gone(make_builder):
    log = random_log(3, events=300, moments=25)
    log = replace(log, item=np.random.default_rng(3).permutation(np.arange(1, 301)), n_items=301)
    row_of_item = {int(item): row for row, item in enumerate(log.item)}
    builder = make_builder(log)
    reader = Reader(builder)
    item_of = {tuple(reader.item(item)): item for item in range(1, 301)}
    weights = np.where(log.feedback == NEGATIVE, 1, np.where(log.feedback == POSITIVE, 0.25, 0))

    def read(drop):
        made = builder.packed(
            log.start[:-1], log.start[1:], context_of("both", 99), 20, weights, np.random.default_rng(5), drop
        )
        return [(row_of_item[item_of[item]], bears) for example in made for _, item, bears in reader.read(example)]

    whole = read(0)
    trained = {row: bears for row, bears in whole if bears}
    assert trained == {row: weights[row] for row in range(300) if log.feedback[row]}
    fewer = read(0.3)
    gone = {row for row, _ in whole} - {row for row, _ in fewer}
    assert 0.2 < len(gone) / len({row for row, _ in whole}) < 0.4
    assert {row: bears for row, bears in fewer if bears} == {r: w for r, w in trained.items() if r not in gone}


def test_nothing_at_or_after_t0_is_shown(make_builder):
    log = random_log(4)
    rng = np.random.default_rng(0)
    some = Instances.of_rows(log, first_dislikes(log))
    for n in rng.choice(len(some), 20, replace=False):
        one = some[n : n + 1]
        late = np.ones(len(log), dtype=bool)
        late[one.begin[0] : one.end[0]] = False  # all other events, those of other users, too
        other = replace(
            log,
            item=np.where(late, rng.integers(1, log.n_items, len(log)), log.item),
            feedback=np.where(late, rng.choice([-1, 1], len(log)), log.feedback),
        )
        for window in (None, {"unit": "days", "length": 4}):
            context = context_of("both", 50, window and Window(**window))
            before, after = (make_builder(x).history(one.begin, one.end, one.time, context) for x in (log, other))
            assert before.lists() == after.lists()


@pytest.mark.parametrize("tiny", [WORD, BPE], ids=["word", "bpe"])
def test_too_few_tokens_are_an_error(make_builder, tiny):
    log = random_log(5)
    with pytest.raises(UserError, match="give at least") as error:
        make_builder(log, 3, tiny)
    least = int(str(error.value).rsplit(" ", 1)[1])
    assert make_builder(log, least, tiny).max_events == 1
    with pytest.raises(UserError, match="max_tokens"):
        make_builder(log, least - 1, tiny)
