"""The language-model head, applied to chosen hidden states and chosen rows of the vocabulary only."""

from typing import Any

import torch
import torch.nn.functional as F

from recbole_conrec.utils.errors import UserError


def unwrap(model) -> Any:
    """The transformers model inside `accelerate` and PEFT wrappers (LoRA layers stay in place inside it)."""
    while hasattr(model, "module"):  # DistributedDataParallel and friends
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class Head:
    """Logits of chosen rows of the vocabulary, as the model itself would compute them.

    logits = softcap(scale * (hidden @ weight.T + bias)), with the scale and the soft cap that some architectures put
    into their config.
    """

    def __init__(self, model):
        self.model = unwrap(model)
        config = self.model.config.get_text_config(decoder=True)
        self.softcap = getattr(config, "final_logit_softcapping", None)
        self.scale = getattr(config, "logit_scale", None) or 1.0  # Cohere
        if getattr(config, "logits_scaling", None):  # Granite
            self.scale /= config.logits_scaling
        if getattr(config, "scale_decoder_outputs", False):  # T5 with tied embeddings
            self.scale *= config.d_model**-0.5

    def parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(weight [V, H], bias [V] or None) in force now, trained token rows of PEFT included, with gradient."""
        layer = self.model.get_output_embeddings()
        adapter = getattr(layer, "token_adapter", None)  # PEFT's trainable_token_indices wraps the layer
        if adapter is None:
            return layer.weight, layer.bias
        base = adapter.get_base_layer()
        if adapter.disable_adapters or adapter.merged:
            return base.weight, getattr(base, "bias", None)
        return adapter.get_merged_weights(adapter.active_adapters), getattr(base, "bias", None)

    def logits(
        self, hidden: torch.Tensor, parameters: tuple[torch.Tensor, torch.Tensor | None] | None = None
    ) -> torch.Tensor:
        """Logits, float32 [..., n], of hidden states [..., H].

        `parameters`: n rows of the head as (weight [n, H], bias [n] or None); None for all, as they are now. Nothing is
        rounded on the way from the hidden states, whatever the type of the weights.
        """
        weight, bias = parameters or self.parameters()
        logits = _product(hidden.to(weight.device, weight.dtype), weight)
        if bias is not None:
            logits = logits + bias.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits

    @torch.no_grad()
    def check(self) -> None:
        """Raise UserError if the model computes its logits in a way that this class does not know.

        Compares the logits of one token.
        """
        token = torch.zeros((1, 1), dtype=torch.int64, device=self.model.device)
        extra = {"decoder_input_ids": token} if self.model.config.is_encoder_decoder else {}
        was_training = self.model.training
        self.model.eval()
        out = self.model(input_ids=token, output_hidden_states=True, **extra)
        self.model.train(was_training)
        hidden = (out.decoder_hidden_states if extra else out.hidden_states)[-1]
        expected = out.logits.float()
        tolerance = 1e-3 if expected.dtype == self.model.dtype else 5e-2
        if not torch.allclose(self.logits(hidden), expected, rtol=tolerance, atol=tolerance):
            raise UserError(
                f"llm: {type(self.model).__name__} post-processes its logits in a way that is not supported; "
                "use a Llama-, Qwen-, Mistral-, Gemma-, SmolLM- or T5-style model"
            )


def _product(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Hidden [..., H] @ weight.T [H, n] in float32, of factors of any type."""
    if weight.dtype == torch.float32:
        return F.linear(hidden, weight).float()  # under autocast the product is bfloat16
    if weight.is_cuda and not torch.is_grad_enabled():  # added up in float32 there, and kept so: no copy of the weight
        flat = torch.mm(hidden.flatten(0, -2), weight.T, out_dtype=torch.float32)
        return flat.unflatten(0, hidden.shape[:-1])
    return F.linear(hidden.float(), weight.float())
