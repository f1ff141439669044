"""LoRA adapters whose SID rows train with them, without a copy of the embedding matrix."""

import contextlib

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.tuners_utils import BaseTunerLayer

from recbole_conrec.utils.errors import UserError

# Every key of the option `lora:`, with its default
DEFAULTS = {
    "r": 8,
    "alpha": 32,
    "dropout": 0.05,
    "target": "all-linear",  # or a list of module names, e.g. [q_proj, v_proj]
    "train_sids": True,  # the SID tokens' rows of the embedding (and of an untied head)
}


def add_lora(model, sid_tokens: torch.Tensor, options: dict, *, quantized: bool = False):
    """`model` inside PEFT, with only the adapters and the SID tokens' rows to train. `options`: see DEFAULTS.

    The rows are trained through PEFT's trainable_token_indices: a delta of those rows and no copy of the matrix. Tied
    embeddings stay tied.
    """
    unknown = set(options) - set(DEFAULTS)
    if unknown:
        raise UserError(f"lora: unknown option {sorted(unknown)[0]!r}; known are {', '.join(DEFAULTS)}")
    options = DEFAULTS | options
    if quantized:
        model = prepare_model_for_kbit_training(model)
    rows = None
    if options["train_sids"]:
        modules = dict(model.named_modules())
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        names = [name.rpartition(".")[2] for name, module in modules.items() if module is embedding]
        if head.weight is not embedding.weight:
            names += [name.rpartition(".")[2] for name, module in modules.items() if module is head]
        rows = {name: sid_tokens.tolist() for name in names}
    try:
        config = LoraConfig(
            r=options["r"],
            lora_alpha=options["alpha"],
            lora_dropout=options["dropout"],
            target_modules=options["target"],
            trainable_token_indices=rows,
            task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        )
        return get_peft_model(model, config)
    except (TypeError, ValueError) as error:  # no such module, a rank that is no number
        raise UserError(f"lora: {options} does not fit this model ({str(error).splitlines()[0]})") from error


@contextlib.contextmanager
def merged(model: torch.nn.Module):
    """Inside, adapters are part of the weights, which makes generation about twice as fast. For a model without
    adapters this does nothing, and so for a quantised one.

    The weights are put back by pointer, not by subtraction, so that thousands of rollouts do not wear them.
    """
    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer) and not m.merged]
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
