"""A model and its tokenizer from the hub, a folder or a GGUF file, with one-line errors where that fails."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import HF_HOME
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from recbole_conrec.llm.fields import Attention, Dtype
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing_folder
from recbole_conrec.utils.memory import out_of_memory
from recbole_conrec.utils.model_files import revision


def load(
    llm: str,
    *,
    dtype: Dtype,
    device: str | torch.device,
    device_map: str | dict[str, int | str] | None,
    attn_implementation: Attention,
    quantize: str | None,
    cache_dir: str | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) of a hub id (`Qwen/Qwen3-0.6B`), a folder or a `.gguf` file; see `BackboneOptions`."""
    if str(llm).endswith(".gguf"):
        llm = str(unpack_gguf(Path(llm), cache_dir))
    commit = revision(llm) or "main"  # the one that names the run, though the hub may have a newer one
    try:
        config = AutoConfig.from_pretrained(llm, revision=commit)
        tokenizer = AutoTokenizer.from_pretrained(llm, padding_side="left", revision=commit)
    except (OSError, ValueError) as error:
        raise UserError(
            f"llm: {llm!r} is neither 'tiny', nor a .gguf file, nor a folder with a model, nor a hub id that can be "
            f"reached ({str(error).splitlines()[0]})"
        ) from error
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    options: dict[str, Any] = {"dtype": dtype_of(dtype), "attn_implementation": attn_implementation}
    if quantize is not None:
        options["quantization_config"] = _quantization(quantize)
        device_map = device_map or "auto"
    if device_map is not None:
        options["device_map"] = device_map
    with out_of_memory(f"loading {llm}", "use a smaller llm, dtype: bfloat16, quantize: 4bit or device_map: auto"):
        try:
            model = kind.from_pretrained(llm, revision=commit, **options)
        except ValueError as error:
            raise UserError(f"llm: {llm} with device_map: {device_map} cannot be loaded ({error})") from error
        if device_map is None:
            model = model.to(device)  # type: ignore[arg-type]  # the decorator of `to` hides its arguments
    return model, tokenizer


def unpack_gguf(path: Path, cache_dir: str | None = None) -> Path:
    """A GGUF file as a folder with dequantised weights, made once and kept under `cache_dir`.

    The default is Hugging Face's cache. Reading the file itself takes 100 times longer, and transformers refuses to
    save what it read.
    """
    if not path.is_file():
        raise UserError(f"llm: there is no file {path}; name an existing .gguf file")
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = Path(cache_dir or Path(HF_HOME) / "recbole-conrec") / f"{path.stem}-{key}"
    if folder.is_dir():
        return folder
    if find_spec("gguf") is None:
        raise UserError(f"llm: reading {path} needs the package gguf; install it with: pip install gguf")
    try:
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except ValueError as error:
        raise UserError(f"llm: {path} cannot be read: {error} Use a GGUF of a Llama, Qwen or Mistral") from error
    with out_of_memory(f"reading {path}", "use a smaller model"):
        read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(read.state_dict())
    with replacing_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


def dtype_of(name: Dtype) -> torch.dtype | str:
    """The torch dtype of that name, or 'auto'."""
    return name if name == "auto" else getattr(torch, name)


def _quantization(name: str) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise UserError(f"llm_options.quantize: {name} needs the package bitsandbytes; install it, or leave it out")
    if name == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
