"""LoRA with trained SID rows: what trains, merging, GRPO's reference."""

import pytest
import torch
from llmtools import SMALL, TEXT, prompts, random_ids, shake

from recbole_conrec.llm import tiny
from recbole_conrec.llm.adapters import merged
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.grpo import GRPOOptions, train_grpo
from recbole_conrec.llm.reference import Reference
from recbole_conrec.llm.sft import SFTOptions, train_sft
from recbole_conrec.llm.training import Runtime

pytestmark = pytest.mark.slow

IDS = random_ids(60, (5, 6, 7))
N_SIDS = 5 + 6 + 7


@pytest.fixture(scope="module", params=["tied", "untied"])
def base(request, tmp_path_factory):
    """A folder with a pretrained model whose vocabulary has no semantic IDs."""
    folder = tmp_path_factory.mktemp(request.param)
    sizes = tiny.TinyOptions(**SMALL)
    tokenizer = tiny.build_tokenizer(TEXT, sizes)
    model = tiny.build_model(len(tokenizer), sizes)
    shake(model)
    if request.param == "untied":
        model.config.tie_word_embeddings = False
        head = torch.nn.Linear(model.config.hidden_size, len(tokenizer), bias=False)
        head.weight.data = model.lm_head.weight.detach() + 0.1 * torch.randn(head.weight.shape)
        model.lm_head = head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def with_lora(base, **lora):
    return load_backbone(base, IDS, options=BackboneOptions(lora={"dropout": 0.0} | lora))


@pytest.fixture
def backbone(base):
    return with_lora(base, r=4)


def padded(backbone):
    return left_pad(prompts(backbone, (9, 1, 23, 4)), backbone.pad_id)


def sft(backbone, tmp_path, **options):
    examples = [
        {"input_ids": ids, "completion_mask": [0] * (len(ids) - 3) + [1] * 3}
        for ids in prompts(backbone, (9, 12, 23, 4))
    ]
    options = SFTOptions(**{"batch_size": 2, "lr": 1e-2, "epochs": 2} | options)
    return train_sft(backbone, examples, options, Runtime(str(tmp_path), logging_steps=4))


def beams(backbone):
    return beam_search(backbone, backbone.semantic_ids.trie, *padded(backbone), width=8)


def test_only_adapters_and_the_rows_of_sid_tokens_train(backbone):
    names = {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in names)
    rows = [p for name, p in names.items() if "trainable_tokens_delta" in name]
    tied = backbone.model.get_base_model().config.tie_word_embeddings
    assert [p.shape[0] for p in rows] == [N_SIDS] * (1 if tied else 2)
    assert any("lora_" in name for name in names)


def test_training_moves_the_rows_of_sid_tokens_and_no_other(backbone, tmp_path):
    def matrix():
        with merged(backbone.model):
            return backbone.model.get_input_embeddings().weight.detach().clone()

    before = matrix()
    log = sft(backbone, tmp_path, epochs=6)
    after = matrix()
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0]
    first = int(backbone.sid_tokens.min())
    assert torch.equal(before[:first], after[:first])
    used = {t for row in prompts(backbone, (9, 12, 23, 4)) for t in row if t >= first}
    assert all(not torch.equal(before[t], after[t]) for t in used)


def test_merging_changes_no_answer_and_no_weight(backbone, tmp_path):
    sft(backbone, tmp_path)
    before = {name: p.detach().clone() for name, p in backbone.model.named_parameters()}
    leaves, scores = beams(backbone)
    with merged(backbone.model):
        merged_leaves, merged_scores = beams(backbone)
    assert torch.equal(leaves, merged_leaves)
    torch.testing.assert_close(scores, merged_scores, atol=1e-4, rtol=0)
    for name, p in backbone.model.named_parameters():
        assert torch.equal(before[name], p), name
    assert torch.equal(beams(backbone)[1], scores)


def test_the_reference_is_where_training_began(backbone, tmp_path):
    sft(backbone, tmp_path)
    reference = Reference(backbone.model)
    start = beams(backbone)[1]
    sft(backbone, tmp_path)
    trained = beams(backbone)[1]
    assert not torch.allclose(start, trained, atol=1e-3)
    with reference.in_place():
        assert torch.equal(beams(backbone)[1], start)
    assert torch.equal(beams(backbone)[1], trained)


def test_grpo_trains_an_adapter_that_was_fine_tuned_before(backbone, tmp_path):
    sft(backbone, tmp_path)
    log = train_grpo(
        backbone,
        IDS.trie,
        [{"input_ids": ids} for ids in prompts(backbone, (9, 12, 23, 4))],
        lambda items: (items < 20).float(),
        GRPOOptions(G=4, prompts_per_step=4, steps=4, lr=1e-2, beta=0.1),
        Runtime(str(tmp_path), logging_steps=1),
    )
    assert abs(log[0]["kl"]) < 1e-6 < log[3]["kl"]
    assert log[0]["clip_ratio/region_mean"] == 0  # merged when sampling, not merged when training, and yet on-policy
    assert "ref" not in backbone.model.peft_config


def test_gradient_checkpointing_trains_the_same(base, tmp_path):
    plain, checkpointed = (with_lora(base) for _ in range(2))
    sft(plain, tmp_path)
    sft(checkpointed, tmp_path, gradient_checkpointing=True)
    torch.testing.assert_close(beams(plain)[1], beams(checkpointed)[1], atol=1e-4, rtol=0)
