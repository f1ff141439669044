"""Language models over semantic IDs: backbones, decoding with one pass over the prompt, SFT and GRPO."""
