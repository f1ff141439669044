"""The benchmarks of the language-model engine on one GPU, within a time limit (default: 8 minutes, loading included).

    python benchmarks/gpu.py --json gpu.jsonl

What does not fit into the time is left out, with a message. Needs no files: SmolLM2's sizes have random weights.
`--dry-run --device cpu` runs the same commands with the smallest sizes, to see that they run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from llm_common import SHAPE

HERE = Path(__file__).parent
RUNS = [  # the most important first
    ["decoding.py", "--llm", SHAPE, "--prompt", "64", "256", "--batch", "32"],
    ["grpo.py", "--llm", SHAPE, "--prompt", "256", "--G", "8", "16", "--prompts-per-step", "8"],
    ["decoding.py", "--prompt", "64", "256", "1024", "--batch", "64"],
    ["grpo.py", "--prompt", "64", "256", "--steps", "4"],
    ["decoding.py", "--constraint", "--llm", SHAPE],
    ["decoding.py", "--llm", SHAPE, "--prompt", "1024", "--batch", "16"],
    ["grpo.py", "--llm", SHAPE, "--prompt", "1024", "--G", "8", "--prompts-per-step", "4"],
    ["decoding.py", "--llm", SHAPE, "--dtype", "bfloat16", "--prompt", "256", "--batch", "64"],
]
DRY = ["--prompt", "8", "--repeats", "1", "--no-warm-up"]
DRY_OF = {"decoding.py": ["--batch", "1"], "grpo.py": ["--prompts-per-step", "1", "--G", "2", "--steps", "1"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=470)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--json", required=True)
    arguments.add_argument("--dry-run", action="store_true")
    args = arguments.parse_args()
    until, failed = time.monotonic() + args.seconds, 0
    for script, *options in RUNS:
        left = until - time.monotonic()
        if left < 20:
            print("no time left for", script, *options)
            continue
        options += DRY + DRY_OF[script] if args.dry_run else []
        command = [sys.executable, HERE / script, *options, "--device", args.device, "--json", args.json]
        try:
            subprocess.run([str(part) for part in command], check=True, timeout=left)
        except subprocess.TimeoutExpired:
            print("time was up during", script, *options)
        except subprocess.CalledProcessError:  # it has printed why; the others may run
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
