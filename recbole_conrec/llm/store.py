"""A trained backbone on disk: weights or adapter, tokenizer and semantic IDs, and a check that they belong together."""

import hashlib
import json
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from recbole_conrec.llm import loading
from recbole_conrec.llm.backbone import Backbone, set_pad_token
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.sid_tokens import sid_token_ids
from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.utils.errors import UserError

FORMAT = 1


def save_backbone(backbone: Backbone, folder) -> None:
    """Write `folder`: model/ (all weights, or the adapter alone), tokenizer/, semantic_ids/, sid_rows.safetensors (what
    the SID tokens' rows hold below an adapter) and backbone.json. An older folder is replaced once all is written."""
    adapter = isinstance(backbone.model, PeftModel)
    with loading.replacing_folder(folder) as new:
        if adapter:
            backbone.model.save_pretrained(new / "model", save_embedding_layers=False)
        else:
            backbone.model.save_pretrained(new / "model")
        if backbone.tokenizer is not None:
            backbone.tokenizer.save_pretrained(new / "tokenizer")
        backbone.semantic_ids.save(new / "semantic_ids")
        save_file(_base_rows(backbone), new / "sid_rows.safetensors")
        record = {
            "format": FORMAT,
            "adapter": adapter,
            "source": backbone.source,
            "semantic_ids": backbone.semantic_ids.fingerprint,
            "tokenizer": backbone.tokenizer and _vocabulary_hash(backbone.tokenizer),
            "first_sid": int(backbone.sid_tokens[0]),
            "sid_rows": _effective_rows_hash(backbone),
        }
        (new / "backbone.json").write_text(json.dumps(record, indent=2))


def restore_backbone(folder, *, semantic_ids=None, device="cpu", device_map=None, trainable: bool = True) -> Backbone:
    """The backbone that `save_backbone` wrote.

    Args:
        semantic_ids: IDs that the caller uses; they must be the ones it was saved with.
        device, device_map: where to put it.
        trainable: whether an adapter can be trained on.

    Raises UserError if the parts do not belong together, or an adapter's base model cannot be had.
    """
    folder = Path(folder)
    if not (folder / "backbone.json").is_file():
        raise UserError(f"{folder} holds no saved language model (no backbone.json); train one first")
    record = json.loads((folder / "backbone.json").read_text())
    if record.get("format") != FORMAT:
        raise UserError(f"{folder}: format {record.get('format')}, expected {FORMAT}; train the model anew")
    saved_ids = SemanticIds.load(folder / "semantic_ids")
    if saved_ids.fingerprint != record["semantic_ids"]:
        raise UserError(f"{folder}: its semantic IDs are not those that the model was trained with; train it anew")
    if semantic_ids is not None and semantic_ids.fingerprint != saved_ids.fingerprint:
        raise UserError(
            f"{folder}: the model was trained with other semantic IDs than the data set has now; train it anew, or use "
            f"the tokenizer saved in {folder / 'semantic_ids'}"
        )
    if record["tokenizer"] is None:  # prompts of ids alone; the codes are the last ids
        tokenizer, sid_tokens = None, record["first_sid"] + torch.arange(sum(saved_ids.sizes))
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        if _vocabulary_hash(tokenizer) != record["tokenizer"]:
            raise UserError(f"{folder}: its tokenizer is not the one that the model was trained with; train it anew")
        sid_tokens = sid_token_ids(tokenizer, saved_ids)
    source = record["source"]
    if record["adapter"]:
        model = _with_adapter(folder, source, tokenizer, sid_tokens, device, device_map, trainable)
    else:
        kind = AutoModelForSeq2SeqLM if _is_seq2seq(folder / "model") else AutoModelForCausalLM
        options = {"dtype": loading.dtype_of(source["dtype"]), "attn_implementation": source["attn_implementation"]}
        if device_map is not None:
            model = kind.from_pretrained(folder / "model", device_map=device_map, **options)
        else:
            model = kind.from_pretrained(folder / "model", **options).to(device)
    backbone = Backbone(model, tokenizer, sid_tokens, semantic_ids or saved_ids, source)
    if _effective_rows_hash(backbone) != record["sid_rows"]:
        raise UserError(f"{folder}: weights, tokenizer and semantic IDs do not belong together; train the model anew")
    return backbone


def _with_adapter(folder, source, tokenizer, sid_tokens, device, device_map, trainable):
    keys = ("dtype", "attn_implementation", "quantize", "cache_dir")
    options = {key: source[key] for key in keys}
    model, _ = loading.load(source["llm"], device=device, device_map=device_map, **options)
    set_pad_token(model, tokenizer, tokenizer.pad_token, source["llm"])
    if int(sid_tokens.max()) >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(int(sid_tokens.max()) + 1, mean_resizing=False)
    with torch.no_grad():
        for name, rows in load_file(folder / "sid_rows.safetensors").items():
            weight = (model.get_input_embeddings() if name == "input" else model.get_output_embeddings()).weight
            weight[sid_tokens.to(weight.device)] = rows.to(weight)
    return PeftModel.from_pretrained(model, folder / "model", is_trainable=trainable)


def _is_seq2seq(folder: Path) -> bool:
    return AutoConfig.from_pretrained(folder).is_encoder_decoder


def _base_rows(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The SID tokens' rows without an adapter's trained ones: 'input' and, if it is another matrix, 'output'."""
    model = unwrap(backbone.model)
    layers = {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}
    layers = {
        name: layer.token_adapter.get_base_layer() if hasattr(layer, "token_adapter") else layer
        for name, layer in layers.items()
    }
    if layers["output"].weight is layers["input"].weight:
        del layers["output"]
    return {name: layer.weight.detach()[backbone.sid_tokens].cpu().contiguous() for name, layer in layers.items()}


def _effective_rows_hash(backbone: Backbone) -> str:
    """sha256 of the rows with which the head predicts SID tokens: weights, tokenizer and IDs all enter it."""
    weight, _ = Head(backbone.model).parameters()
    rows = weight.detach()[backbone.sid_tokens].float().cpu().contiguous()
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()


def _vocabulary_hash(tokenizer) -> str:
    return hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
