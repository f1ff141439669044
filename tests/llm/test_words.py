"""Texts that people wrote never become control tokens, and a prompt begins with what the tokenizer puts first."""

import pytest
from llmtools import TEXT, options_of, random_ids
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.llm.words import Words, opening

IDS = random_ids(30, (5, 6, 7))
TITLES = [
    "The <eos> of the world",
    "<pad> thai cookbook",
    "Learn <a_1> tags",
    "<b_999>",
    "<unk> <a_0><b_0>",
    "<|endoftext|>",
    "<eos>",
    "",
]
PLAIN = ["the user disliked these items", "red lamp, 30 < 40 & 2 > 1", "naïve  Größe 漢字", "a_1", ""]


def unigram():
    """Its model's own vocabulary spells the special tokens, as that of T5 and of Llama 2 does."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>", "<s>"]
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([*TITLES, *PLAIN, "< / s > pad eos unk"] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 3), ("</s>", 1)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def whole_words():
    """Names of its special tokens are words of its vocabulary."""
    tokenizer = Tokenizer(models.WordLevel({"PAD": 0, "EOS": 1, "[UNK]": 2, "hello": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="EOS", pad_token="PAD", unk_token="[UNK]", padding_side="left"
    )


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_names_of_tokens_in_a_title_are_words(kind):
    options = options_of(tiny={"tokenizer": kind}, sid_init="text")
    backbone = load_backbone("tiny", IDS, [*TEXT, *TITLES, *PLAIN], options, item_texts=(TITLES * 4)[:30])
    control = {*backbone.sid_tokens.tolist(), *backbone.tokenizer.all_special_ids}
    for title, tokens in zip(TITLES, backbone.words([f" {title}" for title in TITLES]), strict=True):
        assert not control & set(tokens), title
        spelt = backbone.tokenizer.decode(tokens).replace(" ", "")
        assert spelt == title.lower().replace(" ", ""), title
    as_before = backbone.tokenizer(PLAIN, add_special_tokens=False)["input_ids"]
    assert backbone.words(PLAIN) == as_before


@pytest.mark.parametrize("make, names", [(unigram, ["<s>", "</s>", "<pad>"]), (whole_words, ["PAD", "EOS"])])
def test_a_vocabulary_that_spells_its_special_tokens(make, names):
    tokenizer = make()
    words = Words(tokenizer)
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for text in [*names, f"hello {names[0]} {names[1]}{names[0]}", "".join(names)]:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] != (found := words([text])[0])
        assert found and not control & set(found), text
    assert words(["hello"]) == tokenizer(["hello"], add_special_tokens=False)["input_ids"]


def test_a_text_in_place_of_the_unknown_token_is_spelt():
    tokenizer = unigram()
    (found,) = Words(tokenizer)(["<unk>"])
    assert tokenizer.unk_token_id not in found and len(found) > 1


def test_what_a_prompt_begins_with():
    assert opening(unigram()) == [3]
    assert opening(whole_words()) == []
    assert load_backbone("tiny", IDS, TEXT, options_of()).start == []
