"""A tokenizer that puts a token first gets it first, once, in every prompt and every training example."""

from types import SimpleNamespace

import numpy as np
import pytest
from llmtools import random_ids
from test_prompts import random_log
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GemmaConfig, GemmaForCausalLM, PreTrainedTokenizerFast

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances
from recbole_conrec.data.splits import first_dislikes
from recbole_conrec.generative.prompts import ID_TEXTS, context_of
from recbole_conrec.generative.tasks import questions, translation_examples
from recbole_conrec.generative.text_prompts import TITLE_TEXTS, TextPrompts
from recbole_conrec.llm.backbone import load_backbone

BOS = 2
TITLES = ["", *(f"red lamp {n}" for n in range(30))]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(prompt builder, its backbone, instances) on a Gemma in a folder."""
    folder, log = tmp_path_factory.mktemp("gemma"), random_log(0)
    splitter = pre_tokenizers.Whitespace()
    words = {word for text in (*ID_TEXTS, *TITLE_TEXTS, *TITLES) for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = {word: n for n, word in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    names = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = GemmaConfig(vocab_size=len(vocabulary), num_key_value_heads=2, head_dim=8, pad_token_id=0, **sizes)
    GemmaForCausalLM(config).save_pretrained(folder)
    backbone = load_backbone(str(folder), random_ids(log.n_items, (6, 7, 16)))
    return TextPrompts(backbone, log, 400, TITLES), backbone, Instances.of_rows(log, first_dislikes(log))


def test_every_prompt_and_example_begins_with_it(made):
    builder, backbone, part = made
    both, log = context_of("both", 6), builder.log
    columns = (part.begin, part.end, part.time)
    candidates = np.tile(np.arange(1, 6), (len(part), 1))
    run = SimpleNamespace(
        model=SimpleNamespace(prompts=builder, backbone=backbone), data=SimpleNamespace(item_text=lambda: TITLES)
    )
    packed = builder.packed(log.start[:-1], log.start[1:], both, 6, log.feedback == NEGATIVE)
    found = {
        "history": builder.history(*columns, both).lists(),
        "titles": builder.title_history(*columns, part.user, both).lists(),
        "liking": builder.liking(*columns, part.user, both).lists(),
        "ranking": builder.ranking(*columns, part.user, both, candidates, 0).lists(),
        "packed": [one["input_ids"] for one in packed],
        "translation": [one["input_ids"] for both_ways in translation_examples(run) for one in both_ways],
        "alignment": questions(builder, np.array([[1, 2, 3, 4]])),
    }
    assert {POSITIVE, NEGATIVE} <= set(log.feedback.tolist())
    for name, prompts in found.items():
        assert prompts, name
        for tokens in prompts:
            assert tokens[0] == BOS and tokens.count(BOS) == 1, name


def test_prompts_stay_within_their_limit(made):
    _, backbone, part = made
    builder = TextPrompts(backbone, random_log(0), 60, TITLES)
    prompts = builder.history(part.begin, part.end, part.time, context_of("both", 50))
    assert max(map(len, prompts.lists())) + builder.depth <= 60 and prompts.shortened.any()
