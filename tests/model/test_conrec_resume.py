"""A run that is killed anywhere and started again by the same command ends as one that was left alone.

The processes really die (SIGKILL) or are interrupted (SIGINT): before the first checkpoint of a stage, after one, and
while one is being written; and each run dies several times.
"""

import json
import signal

import killed
import pytest
import tinylog
import yaml

from recbole_conrec.runs.checks import read_by

STAGES = [
    {"name": "alignment", "task": "alignment", "samples": 32, "epochs": 1, "lr": 0.003, "batch_size": 16},
    {
        "name": "sft",
        "task": "next",
        "epochs": 3,
        "likes": 0.5,
        "drop": 0.1,
        "ema": 0.8,
        "lr": 0.005,
        "batch_size": 16,
        "evaluate_every": 3,
        "save_every": 4,
    },
    {
        "name": "grpo",
        "task": "grpo",
        "context": "both",
        "samples": 24,
        "steps": 8,
        "prompts_per_step": 4,
        "G": 4,
        "beta": 0.05,
        "gamma": 0.5,
        "lr": 0.001,
        "reward": "negatives_minus_positives",
        "neighbours": 5,
        "save_every": 3,
        "evaluate_every": 2,
        "select": "last",
        "ema": 0.5,
        "clean": {"threshold": 0.6, "factor": 2},
    },
]
TINY = {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}}


@pytest.fixture
def command(tmp_path):
    """Function (llm_options) -> the command, and (folder) -> what it left behind there."""
    tinylog.write_tiny(tmp_path, users=20)

    def write(llm_options):
        (tmp_path / "run.yaml").write_text(
            yaml.safe_dump(
                {
                    **read_by("CoNRec", tinylog.OPTIONS),
                    "data_path": str(tmp_path),
                    "gpu_id": "",
                    "topk": [5],
                    "valid_metric": "HR@5",
                    "valid_sample": 20,
                    "history": 8,
                    "stages": STAGES,
                    "llm_options": llm_options,
                    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
                }
            )
        )
        return ["--model=CoNRec", "--dataset=tiny", f"--config_files={tmp_path / 'run.yaml'}", "--show_progress=False"]

    return write


def outcome(folder) -> dict:
    """All figures of a run but those of time and memory, and the bytes of its weights."""
    (run,) = (folder / "saved" / "tiny").glob("CoNRec-*")
    record = json.loads((run / "result.json").read_text())
    measured = ("seconds", "peak_mb", "curve")
    stages = [{k: v for k, v in stage.items() if k not in measured} for stage in record["stages"]]
    curves = [
        [
            {k: v for k, v in entry.items() if k in ("step", "loss", "reward", "kl", "grad_norm", "learning_rate")}
            for entry in stage["curve"]
        ]
        for stage in record["stages"]
    ]
    return {
        "metrics": record["metrics"],
        "stages": stages,
        "curves": curves,
        "weights": (run / "model.safetensors").read_bytes(),
    }


KILL, INT = signal.SIGKILL, signal.SIGINT
DEATHS = {
    "all weights": (
        TINY,
        [("sft", "step", 3, KILL), ("sft", "step", 6, INT), ("grpo", "step", 2, INT), ("grpo", "save", 6, KILL)],
    ),
    "LoRA": (TINY | {"lora": {"r": 4}}, [("sft", "save", 8, KILL), ("grpo", "step", 4, INT)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEATHS)
def test_a_run_that_dies_again_and_again_ends_as_if_it_had_not(command, tmp_path, name):
    llm_options, deaths = DEATHS[name]
    argv = command(llm_options)
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    assert killed.run(argv, None, folders[0]) == 0, (folders[0] / "terminal.log").read_text()
    for death in deaths:
        code = killed.run(argv, death, folders[1])
        assert code == (-KILL if death[3] == KILL else 130), (folders[1] / "terminal.log").read_text()
        assert not list(folders[1].glob("saved/tiny/CoNRec-*/result.json"))
    assert list(folders[1].glob("saved/tiny/stages/*/checkpoint-*"))  # what the last start goes on from
    assert killed.run(argv, None, folders[1]) == 0, (folders[1] / "terminal.log").read_text()
    whole, again = map(outcome, folders)
    assert again == whole
    assert [stage["validation"] for stage in whole["stages"]][1:] and whole["stages"][2]["steps"] == 8
    assert not list(folders[1].glob("saved/tiny/stages/*/checkpoint-*"))
