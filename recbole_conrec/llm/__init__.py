"""Language models that speak semantic IDs: backbones, constrained decoding over one shared prompt, SFT and GRPO."""
