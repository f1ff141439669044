"""LoRA adapters, and the embedding rows of SID tokens that train with them, without a copy of the matrix."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.tuners_utils import BaseTunerLayer

from recbole_conrec.llm.fields import Dropout
from recbole_conrec.options.schema import Count, Options, Positive, Several
from recbole_conrec.utils.errors import UserError


class LoraOptions(Options):
    """LoRA (Hu et al. 2021, arXiv:2106.09685): low-rank adapters train, and the model's own weights do not."""

    r: Count = 8
    """Rank of the adapters."""
    alpha: Positive = 32
    """The adapters' output is multiplied by alpha / r."""
    dropout: Dropout = 0.05
    """Dropout of the adapters' input."""
    target: str | Several[str] = "all-linear"
    """The layers with an adapter: all-linear (all but the head), or a list of their names, e.g. [q_proj, v_proj]."""
    train_sids: bool = True
    """Train the SID tokens' rows of the embedding, and of an untied head, as well."""


def add_lora(model, sid_tokens: torch.Tensor, options: LoraOptions, *, quantized: bool = False) -> PeftModel:
    """`model` inside PEFT, with only the adapters and the SID tokens' rows to train.

    The rows are trained through PEFT's trainable_token_indices: a delta of those rows and no copy of the matrix. Tied
    embeddings stay tied.

    Raises UserError for options that do not fit the model.
    """
    if quantized:
        model = prepare_model_for_kbit_training(model)
    rows = None
    if options.train_sids:
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        trained = [embedding] if head.weight is embedding.weight else [embedding, head]
        names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
        rows = {names[id(module)]: sid_tokens.tolist() for module in trained}
    try:
        config = LoraConfig(
            r=options.r,
            lora_alpha=options.alpha,  # type: ignore[arg-type]  # PEFT takes fractions, too
            lora_dropout=options.dropout,
            target_modules=options.target if isinstance(options.target, str) else list(options.target),
            trainable_token_indices=rows,
            task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        )
        return get_peft_model(model, config)
    except (TypeError, ValueError) as error:  # e.g. no module of that name
        raise UserError(f"lora: {options} does not fit this model ({str(error).splitlines()[0]})") from error


@contextlib.contextmanager
def merged(model: torch.nn.Module) -> Iterator[None]:
    """Inside, adapters are part of the weights, which makes generation about twice as fast.

    Does nothing for a model without adapters, or with quantised weights. Afterwards the weights are put back by
    pointer, not by subtraction, so that thousands of rollouts leave them exactly as they were.
    """
    layers: list[Any] = [m for m in model.modules() if isinstance(m, BaseTunerLayer) and not m.merged]
    weights = [layer.get_base_layer().weight for layer in layers]
    if not layers or any(not weight.is_floating_point() for weight in weights):
        yield
        return
    before = [weight.data for weight in weights]
    with torch.no_grad():
        for layer in layers:
            layer.merge(safe_merge=True)  # safe: into new tensors
    try:
        yield
    finally:
        for layer, weight, data in zip(layers, weights, before, strict=True):
            weight.data = data
            layer.merged_adapters.clear()
