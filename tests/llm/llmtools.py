"""Random catalogues and random models, small enough to compare with slow and obvious computations."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from recbole_conrec.llm.backbone import Backbone, BackboneOptions, load_backbone
from recbole_conrec.tokenizer.semantic_ids import SemanticIds

TEXT = ["the user disliked these items in this order", "which one comes next", "Name the disliked one ?"]
SMALL = {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "intermediate": 48, "max_length": 256}


def random_ids(n_items: int, sizes: tuple[int, ...], seed: int = 0) -> SemanticIds:
    """`n_items` (the padding item 0 counted) distinct random IDs with random codebooks."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(int(np.prod(sizes)), n_items - 1, replace=False)
    codes = np.vstack([np.full(len(sizes), -1), np.stack(np.unravel_index(flat, sizes), 1)])
    return SemanticIds(codes, [rng.normal(size=(size, 8)).astype(np.float32) for size in sizes])


def shake(model: torch.nn.Module, seed: int = 0, scale: float = 0.15) -> None:
    """Larger random weights: a fresh model is close to uniform, and then any order of beams looks right."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def options_of(**given) -> BackboneOptions:
    """Options with the sizes of a small `tiny` backbone."""
    return BackboneOptions.read(given | {"tiny": SMALL | given.get("tiny", {})}, "llm_options")


def tiny_backbone(ids: SemanticIds, seed: int = 0, **options) -> Backbone:
    backbone = load_backbone("tiny", ids, TEXT, options_of(**options), seed=seed)
    shake(backbone.model, seed)
    backbone.model.eval()
    return backbone


def bare_backbone(model_type: str, ids: SemanticIds, attn: str = "sdpa", **config) -> Backbone:
    """A model of any architecture without a tokenizer: ids 0..9 are words, then come the SID tokens."""
    common = {
        "vocab_size": 10 + sum(ids.sizes),
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    if model_type == "t5":
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
        start = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
        model = T5ForConditionalGeneration(T5Config(vocab_size=common["vocab_size"], **shape, **start, **config))
        model.set_attn_implementation(attn)
    else:
        model = AutoModelForCausalLM.from_config(
            CONFIG_MAPPING[model_type](**common | config), attn_implementation=attn
        )
    shake(model)
    model.eval()
    return Backbone(model, None, torch.arange(10, common["vocab_size"]), ids)


def prompts(backbone: Backbone, lengths, seed: int = 0) -> list[list[int]]:
    """Random prompts of the given lengths, of any tokens but padding and the end."""
    vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
    rng = np.random.default_rng(seed)
    return [rng.integers(2, vocabulary, size=length).tolist() for length in lengths]


def allowed_tokens(backbone: Backbone, prompt_length: int):
    """The `prefix_allowed_tokens_fn` of transformers, from a dict of prefixes."""
    levels = [tokens.tolist() for tokens in backbone.level_tokens]
    following = {}
    for codes in backbone.semantic_ids.codes[1:]:
        tokens = tuple(level[code] for level, code in zip(levels, codes, strict=True))
        for at in range(len(tokens)):
            following.setdefault(tokens[:at], set()).add(tokens[at])
    return lambda _, sequence: sorted(following.get(tuple(sequence[prompt_length:].tolist()), {1}))


def leaf_tokens(backbone: Backbone, leaves: torch.Tensor) -> torch.Tensor:
    """Leaves [n] -> vocabulary ids [n, depth]."""
    codes = backbone.semantic_ids.trie.leaf_codes[leaves]
    return torch.stack([t[codes[:, level]] for level, t in enumerate(backbone.level_tokens)], 1)


@torch.no_grad()
def teacher_forced(backbone: Backbone, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probability over the whole vocabulary of each answer token, one plain forward -> [len(answer)]."""
    model = backbone.model
    if model.config.is_encoder_decoder:
        decoder = torch.tensor([[model.config.decoder_start_token_id, *answer[:-1]]])
        logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder).logits[0]
    else:
        logits = model(input_ids=torch.tensor([prompt + answer[:-1]])).logits[0, len(prompt) - 1 :]
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]


def even_items(items, **_):
    """A reward that takes no columns, to be named by its path."""
    return (items % 2 == 0).float()


@torch.no_grad()
def next_token_logps(backbone: Backbone, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    """Log-probability over the whole vocabulary of single tokens [n] right after a prompt, one plain forward -> [n]."""
    return backbone.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)[tokens]
