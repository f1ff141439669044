"""GRPO: this project's trainer against TRL's defaults, same model, prompts, G and loss.

python benchmarks/grpo.py                         # tiny: forward and backward, and whole steps
python benchmarks/grpo.py --llm SmolLM2.gguf --G 16 --prompts-per-step 1 --prompt 256
"""

import tempfile

import torch
from datasets import Dataset
from llm_common import alternate, make_backbone, parser, random_prompts, report, seconds_of
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import sample
from recbole_conrec.llm.grpo import ConstrainedGRPOTrainer, GRPOOptions, train_grpo
from recbole_conrec.llm.training import Runtime


class Stock(GRPOTrainer):
    """TRL's trainer as it is, given token ids (SID prompts need no text) and without network traffic."""

    prompt_ids: list[list[int]]

    def _tokenize_prompts(self, prompts):
        return [self.prompt_ids[int(prompt)] for prompt in prompts], None, {}

    def _send_telemetry(self):
        pass


def stock_config(args, n: int, folder: str) -> GRPOConfig:
    on_cpu = args.device == "cpu"
    return GRPOConfig(
        folder,
        per_device_train_batch_size=args.prompts_per_step * n,
        num_generations=n,
        max_completion_length=3,
        max_steps=args.steps,
        use_cpu=on_cpu,
        bf16=not on_cpu,
        gradient_checkpointing=args.gradient_checkpointing,
        loss_type="grpo",
        beta=0.0,
        learning_rate=1e-6,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1000,
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
        generation_kwargs={"min_new_tokens": 3},
    )


def our_options(args, n: int, steps: int) -> GRPOOptions:
    return GRPOOptions(
        G=n,
        steps=steps,
        beta=0.0,
        lr=1e-6,
        prompts_per_step=args.prompts_per_step,
        bf16=args.device != "cpu",
        gradient_checkpointing=args.gradient_checkpointing,
    )


def reward(items):
    return (items % 7).float()


def stock_reward(completions, **_):
    return [float(len(text) % 7) for text in completions]


def trainers(args, backbone, prompts, n: int, folder: str):
    """(ours, TRL's), both around the same model."""
    examples = [{"input_ids": ids} for ids in prompts]
    trie = backbone.semantic_ids.trie.to(args.device)
    ours = ConstrainedGRPOTrainer(backbone, trie, examples, reward, our_options(args, n, 1), Runtime(folder))
    stock = Stock(
        backbone.model,
        stock_reward,
        args=stock_config(args, n, folder),
        processing_class=backbone.tokenizer,
        train_dataset=Dataset.from_dict({"prompt": [str(number) for number in range(len(prompts))]}),
    )
    stock.remove_callback(PrinterCallback)
    stock.prompt_ids = prompts
    return ours, stock


def forward_and_backward(args, backbone, prompts, n: int, length: int, folder: str) -> None:
    """One update on given completions: likelihoods, loss, gradients."""
    ours, stock = trainers(args, backbone, prompts, n, folder)
    ids, mask = left_pad(prompts[: args.prompts_per_step], backbone.pad_id, args.device)
    _, codes, _ = sample(backbone, ours.trie, ids, mask, n=n)
    tokens = torch.stack([t[codes[:, :, level]] for level, t in enumerate(ours.constraint.tokens)], 2).flatten(0, 1)
    batch = {
        "prompt_ids": ids.repeat_interleave(n, 0),
        "prompt_mask": mask.repeat_interleave(n, 0),
        "completion_ids": tokens,
        "completion_mask": torch.ones_like(tokens),
        "advantages": torch.randn(len(tokens), device=args.device),
        "num_items_in_batch": torch.tensor(tokens.numel(), device=args.device),
    }
    backbone.model.train()
    if args.gradient_checkpointing:
        backbone.model.gradient_checkpointing_enable({"use_reentrant": False})

    def update(trainer):
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(backbone.model, batch).backward()
        backbone.model.zero_grad()

    best = alternate({"ours": lambda: update(ours), "theirs": lambda: update(stock)}, args)
    report(
        args,
        {
            "what": "forward+backward",
            "G": n,
            "prompts": args.prompts_per_step,
            "prompt": length,
            "ratio": best["theirs"]["seconds"] / best["ours"]["seconds"],
            "seconds": best["ours"]["seconds"],
            "theirs seconds": best["theirs"]["seconds"],
            "MiB": best["ours"]["peak_mib"],
            "theirs MiB": best["theirs"]["peak_mib"],
        },
    )


def whole_steps(args, backbone, prompts, n: int, length: int, folder: str) -> None:
    """Generation, rewards, update and optimizer, as `train` runs them."""
    _, stock = trainers(args, backbone, prompts, n, folder)
    trie = backbone.semantic_ids.trie.to(args.device)
    examples, runtime = [{"input_ids": ids} for ids in prompts], Runtime(folder, logging_steps=1000)

    def ours(steps):
        return train_grpo(backbone, trie, examples, reward, our_options(args, n, steps), runtime)

    if not args.no_warm_up:
        ours(1)
    mine, theirs = float("inf"), float("inf")
    for _ in range(args.repeats):
        mine = min(mine, seconds_of(args, lambda: ours(4 * args.steps)) / (4 * args.steps))
        if not args.ours_only:
            theirs = min(theirs, seconds_of(args, stock.train) / args.steps)
    theirs = float("nan") if args.ours_only else theirs
    report(
        args,
        {
            "what": "whole step",
            "G": n,
            "prompts": args.prompts_per_step,
            "prompt": length,
            "ratio": theirs / mine,
            "steps/s": 1 / mine,
            "theirs steps/s": 1 / theirs,
        },
    )


if __name__ == "__main__":
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--G", type=int, nargs="+", default=[8, 16])
    arguments.add_argument("--prompts-per-step", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=2, help="of TRL's trainer per run")
    arguments.add_argument("--gradient-checkpointing", action="store_true", help="of both trainers")
    arguments.add_argument("--only", choices=["update", "step"])
    args = arguments.parse_args()
    backbone = make_backbone(args)
    with tempfile.TemporaryDirectory() as folder:
        for length in args.prompt:
            prompts = random_prompts(backbone, 4 * args.prompts_per_step, length)
            for n in args.G:
                if args.only != "step":
                    forward_and_backward(args, backbone, prompts, n, length, folder)
                if args.only != "update":
                    whole_steps(args, backbone, prompts, n, length, folder)
