"""Top-20 beams under a trie: this project's decoder against transformers' generate, same model and prompts.

python benchmarks/decoding.py                          # tiny
python benchmarks/decoding.py --llm SmolLM2.gguf
python benchmarks/decoding.py --constraint             # what the trie costs with a million IDs
"""

import torch
from llm_common import alternate, make_backbone, parser, random_prompts, report, seconds_of

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.decoding import beam_search, sample
from recbole_conrec.llm.shared_prompt import open_prompt


def prefix_function(backbone, prompt_length: int):
    """`prefix_allowed_tokens_fn` as public implementations write it: a dict of prefixes."""
    levels = [tokens.tolist() for tokens in backbone.level_tokens]
    following = {}
    for codes in backbone.semantic_ids.codes[1:].tolist():
        tokens = tuple(level[code] for level, code in zip(levels, codes, strict=True))
        for at in range(len(tokens)):
            following.setdefault(tokens[:at], {})[tokens[at]] = None
    following = {prefix: list(tokens) for prefix, tokens in following.items()}
    return lambda _, sequence: following.get(tuple(sequence[prompt_length:].tolist()), [backbone.eos_id])


def compare(args, backbone) -> None:
    trie = backbone.semantic_ids.trie.to(args.device)
    for length in args.prompt:
        ids, mask = left_pad(random_prompts(backbone, args.batch, length), backbone.pad_id, args.device)
        allowed = prefix_function(backbone, length)
        found = {"theirs": float("nan")}

        def ours(ids=ids, mask=mask, found=found):
            found["ours"] = beam_search(backbone, trie, ids, mask, width=args.width)

        @torch.no_grad()
        def theirs(ids=ids, mask=mask, allowed=allowed, found=found):
            out = backbone.model.generate(
                input_ids=ids,
                attention_mask=mask,
                num_beams=args.width,
                num_return_sequences=args.width,
                max_new_tokens=3,
                min_new_tokens=3,
                do_sample=False,
                length_penalty=0.0,
                output_scores=True,
                prefix_allowed_tokens_fn=allowed,
                return_dict_in_generate=True,
            )
            found["theirs"] = out.sequences_scores.view(len(ids), -1)

        @torch.no_grad()
        def sampled(ids=ids, mask=mask):
            sample(backbone, trie, ids, mask, n=args.width)

        best = alternate({"ours": ours, "sample": sampled, "theirs": theirs}, args)
        gap = (found["ours"][1] - found["theirs"]).abs().max().item()
        report(
            args,
            {
                "beams": args.width,
                "batch": args.batch,
                "prompt": length,
                "ratio": best["theirs"]["seconds"] / best["ours"]["seconds"],
                "users/s": args.batch / best["ours"]["seconds"],
                "theirs users/s": args.batch / best["theirs"]["seconds"],
                "MiB": best["ours"]["peak_mib"],
                "theirs MiB": best["theirs"]["peak_mib"],
                "samples users/s": args.batch / best["sample"]["seconds"],
                "score gap": gap,
            },
        )


@torch.no_grad()
def constraint_cost(args) -> None:
    """The time that the trie adds to a step of unconstrained beams (forward, head, softmax, top-k), for 10^6 IDs."""
    backbone = make_backbone(args, items=1_000_000)
    trie = backbone.semantic_ids.trie.to(args.device)
    constraint = Constraint(backbone, trie)
    length = args.prompt[0] if len(args.prompt) == 1 else 256
    ids, mask = left_pad(random_prompts(backbone, args.batch, length), backbone.pad_id, args.device)
    states = torch.arange(args.batch * args.width, device=args.device).view(args.batch, -1)
    total, walk, found = float("inf"), float("inf"), {}
    for _ in range(args.repeats + 1):
        prompt = open_prompt(backbone.model, ids, mask)
        tokens = constraint.tokens[0][trie.code[0][states]]

        def free_step(prompt=prompt, tokens=tokens, found=found):
            hidden = prompt.extend(tokens, torch.zeros_like(states))
            found["logps"] = constraint.head.logits(hidden).log_softmax(-1)
            found["logps"].flatten(1).topk(args.width)

        def constrain(found=found):
            codes, _, valid = trie.children(1, states)
            found["logps"][:, :, constraint.rows[1]].gather(2, codes).masked_fill(~valid, -torch.inf)

        total = min(total, seconds_of(args, free_step))
        walk = min(walk, seconds_of(args, constrain))
    report(
        args,
        {
            "catalogue": 1_000_000,
            "beams": args.width,
            "batch": args.batch,
            "prompt": length,
            "constraint ms": 1e3 * walk,
            "free step ms": 1e3 * total,
            "share": walk / total,
        },
    )


if __name__ == "__main__":
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--width", type=int, default=20)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--constraint", action="store_true")
    args = arguments.parse_args()
    if args.constraint:
        constraint_cost(args)
    else:
        compare(args, make_backbone(args))
