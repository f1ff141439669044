"""LoRA with trained SID rows: what trains and costs, merging, GRPO's reference, saving and the check on loading."""

import json
import shutil

import pytest
import torch
from llmtools import SMALL, TEXT, prompts, random_ids, shake
from safetensors.torch import load_file, save_file

from recbole_conrec.llm import tiny
from recbole_conrec.llm.adapters import merged
from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.grpo import train_grpo
from recbole_conrec.llm.reference import Reference
from recbole_conrec.llm.sft import train_sft
from recbole_conrec.llm.store import restore_backbone, save_backbone
from recbole_conrec.utils.errors import UserError

IDS = random_ids(60, (5, 6, 7))
N_SIDS = 5 + 6 + 7


@pytest.fixture(scope="module", params=["tied", "untied"])
def base(request, tmp_path_factory):
    """A folder with a pretrained model that has never heard of semantic IDs."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = tiny.build_tokenizer(TEXT)
    model = tiny.build_model(len(tokenizer), SMALL)
    shake(model)
    if request.param == "untied":
        model.config.tie_word_embeddings = False
        head = torch.nn.Linear(model.config.hidden_size, len(tokenizer), bias=False)
        head.weight.data = model.lm_head.weight.detach() + 0.1 * torch.randn(head.weight.shape)
        model.lm_head = head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def backbone(base):
    return load_backbone(base, IDS, lora={"r": 4, "dropout": 0.0})


def padded(backbone):
    return left_pad(prompts(backbone, (9, 1, 23, 4)), backbone.pad_id)


def sft(backbone, tmp_path, **options):
    rows = [
        {"input_ids": row, "completion_mask": [0] * (len(row) - 3) + [1] * 3}
        for row in prompts(backbone, (9, 12, 23, 4))
    ]
    return train_sft(backbone, rows, output_dir=str(tmp_path), batch_size=2, lr=1e-2, **{"epochs": 2} | options)


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
    log = sft(backbone, tmp_path, epochs=6, logging_steps=4)
    after = matrix()
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0]
    first = int(backbone.sid_tokens.min())
    assert torch.equal(before[:first], after[:first])
    used = {t for row in prompts(backbone, (9, 12, 23, 4)) for t in row if t >= first}
    assert all(not torch.equal(before[t], after[t]) for t in used)


def test_merging_changes_no_answer_and_wears_no_weight(backbone, tmp_path):
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
    rows = [{"input_ids": row} for row in prompts(backbone, (9, 12, 23, 4))]
    log = train_grpo(
        backbone,
        IDS.trie,
        rows,
        lambda items: (items < 20).float(),
        output_dir=str(tmp_path),
        G=4,
        prompts_per_step=4,
        steps=4,
        lr=1e-2,
        beta=0.1,
    )
    assert abs(log[0]["kl"]) < 1e-6 < log[3]["kl"]
    assert log[0]["clip_ratio/region_mean"] == 0  # merged when sampling, not merged when training, and yet on-policy
    assert "ref" not in backbone.model.peft_config


def test_gradient_checkpointing_trains_the_same(base, tmp_path):
    plain, checkpointed = (load_backbone(base, IDS, lora={"dropout": 0.0}) for _ in range(2))
    sft(plain, tmp_path)
    sft(checkpointed, tmp_path, gradient_checkpointing=True)
    torch.testing.assert_close(beams(plain)[1], beams(checkpointed)[1], atol=1e-4, rtol=0)


def test_an_adapter_comes_back_with_its_tokenizer_and_ids(backbone, tmp_path):
    sft(backbone, tmp_path / "run")
    save_backbone(backbone, tmp_path / "saved")
    leaves, scores = beams(backbone)
    again = restore_backbone(tmp_path / "saved", semantic_ids=IDS)
    assert torch.equal(beams(again)[0], leaves)
    torch.testing.assert_close(beams(again)[1], scores, atol=1e-5, rtol=0)
    assert again.semantic_ids is IDS and again.encode(["disliked " + IDS.text(3)]) == backbone.encode(
        ["disliked " + IDS.text(3)]
    )
    size = sum(file.stat().st_size for file in (tmp_path / "saved" / "model").iterdir() if "safetensors" in file.name)
    trained = sum(p.numel() for p in backbone.model.parameters() if p.requires_grad)
    assert size < 4 * trained + 20_000  # no copy of the embedding matrix
    sft(again, tmp_path / "run")  # and can be trained on


def test_a_full_model_comes_back_and_an_older_one_is_replaced(tmp_path):
    backbone = load_backbone("tiny", IDS, TEXT, tiny=SMALL)
    save_backbone(backbone, tmp_path / "saved")
    sft(backbone, tmp_path / "run")
    save_backbone(backbone, tmp_path / "saved")
    again = restore_backbone(tmp_path / "saved")
    assert torch.equal(beams(again)[1], beams(backbone)[1])
    assert again.semantic_ids.fingerprint == IDS.fingerprint
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def foreign_ids(folder):
    shutil.rmtree(folder / "semantic_ids")
    random_ids(60, (5, 6, 7), seed=1).save(folder / "semantic_ids")


def foreign_tokenizer(folder):
    backbone = load_backbone("tiny", IDS, [*TEXT, "another word"], tiny=SMALL)
    backbone.tokenizer.save_pretrained(folder / "tokenizer")


def foreign_weights(folder):
    file = folder / "model" / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({name: w + 1 if "trainable_tokens" in name else w for name, w in weights.items()}, file)


def old_format(folder):
    record = json.loads((folder / "backbone.json").read_text())
    (folder / "backbone.json").write_text(json.dumps(record | {"format": 0}))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (foreign_ids, "its semantic IDs are not those that the model was trained with"),
        (foreign_tokenizer, "its tokenizer is not the one"),
        (foreign_weights, "weights, tokenizer and semantic IDs do not belong together"),
        (old_format, "format 0, expected 1"),
        (lambda folder: (folder / "backbone.json").unlink(), "holds no saved language model"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(backbone, tmp_path, spoil, message):
    save_backbone(backbone, tmp_path / "saved")
    spoil(tmp_path / "saved")
    with pytest.raises(UserError, match=message):
        restore_backbone(tmp_path / "saved")


def test_other_ids_of_the_caller_are_named(backbone, tmp_path):
    save_backbone(backbone, tmp_path / "saved")
    with pytest.raises(UserError, match="trained with other semantic IDs than the data set has now"):
        restore_backbone(tmp_path / "saved", semantic_ids=random_ids(60, (5, 6, 7), seed=1))


def test_an_unknown_lora_option_is_named(base):
    with pytest.raises(UserError, match="lora: unknown option 'rank'; known are r, alpha"):
        load_backbone(base, IDS, lora={"rank": 4})
