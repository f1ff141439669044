"""The table of subcommands."""

from collections.abc import Callable
from dataclasses import dataclass

from recbole_conrec import commands


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        run: the function; it gets the words after the command's name and returns the exit code.
        about: what it does, one line.
        example: one way to call it.
        positional: the words that come before its options, as in a usage.
        also: which options it takes besides its own, in words; '' for none.
    """

    run: Callable[[list[str]], int]
    about: str
    example: str
    positional: str = ""
    also: str = ""


RUN = "any option of a run (recbole-conrec run --help, docs/options.md)"
WHERE = "where to run: --data_path, --checkpoint_dir, --use_gpu, --gpu_id, --show_progress"
COMMANDS = {
    "run": Command(
        commands.run,
        "train a method and print its table, or run a leaderboard; the same as run_recbole_conrec.py",
        "recbole-conrec run --model=SASRec --dataset=ml-100k --window.length=10",
        also="any option of RecBole, of its model, and of the YAML files in properties/; dots reach into mappings",
    ),
    "tune": Command(
        commands.tune,
        "search a method's options by Optuna, decided on validation",
        "recbole-conrec tune --model=SASRec --trials=20 --jobs=2",
        also=RUN,
    ),
    "compare": Command(
        commands.compare,
        "where two methods of a leaderboard differ, instance by instance",
        "recbole-conrec compare SASRec CoNRec --leaderboard=paper",
        "A B",
        RUN,
    ),
    "publish": Command(
        commands.publish,
        "a leaderboard's records as files that may be passed on",
        "recbole-conrec publish --leaderboard=paper --out=records",
        also=RUN,
    ),
    "explain": Command(
        commands.explain,
        "one user's prompt, a run's answers to it, and how the reward judges them",
        "recbole-conrec explain --run=saved/ml-100k/CoNRec-HASH --user=42",
        also=f"without --run, {RUN}; with it, {WHERE}",
    ),
    "tokenize": Command(
        commands.tokenize,
        "make or load the semantic IDs of a data set, and report on them",
        "recbole-conrec tokenize --dataset=ml-100k --tokenizer=rqvae",
        also=RUN,
    ),
    "inspect": Command(
        commands.inspect,
        "what a data set holds under its protocol, with warnings and a picture",
        "recbole-conrec inspect ml-100k",
        "DATASET",
        RUN,
    ),
    "study coverage": Command(
        commands.study_coverage,
        "how much of a user's interests the window covers",
        "recbole-conrec study coverage --dataset=ml-100k --interests=[category]",
        also=RUN,
    ),
    "study metrics": Command(
        commands.study_metrics,
        "whether the metrics rank methods by their true quality, on simulated data",
        "recbole-conrec study metrics --dataset=sim-small",
        also=RUN,
    ),
    "study filter": Command(
        commands.study_filter,
        "what a filter by Predict Sets drops, and how often wrongly",
        "recbole-conrec study filter --run=saved/ml-100k/CoNRec-HASH",
        also=WHERE,
    ),
    "predict": Command(
        commands.predict,
        "write users' Predict Sets by a trained run, and calibrate the filter",
        "recbole-conrec predict --run=saved/ml-100k/CoNRec-HASH --users=all --out=sets",
        also=WHERE,
    ),
    "filter": Command(
        commands.filter_candidates,
        "drop candidates by Predict Sets, without the model",
        "recbole-conrec filter --sets=sets --candidates=candidates.csv --out=filtered.csv",
    ),
    "push": Command(
        commands.push,
        "put a run on the Hugging Face hub: weights, tokenizer, semantic IDs, record, a card made from it",
        "recbole-conrec push --run=saved/ml-100k/CoNRec-HASH --to=OWNER/NAME",
        also=WHERE,
    ),
    "pull": Command(
        commands.pull,
        "bring a run from the Hugging Face hub, to predict with it or to compare it",
        "recbole-conrec pull --repo=OWNER/NAME",
    ),
    "convert": Command(
        commands.convert,
        "an official download into RecBole's atomic files",
        "recbole-conrec convert ml-1m --raw=downloads/ml-1m",
        "NAME",
    ),
    "simulate": Command(
        commands.simulate,
        "write a log whose true dislikes are known",
        "recbole-conrec simulate --name=sim --users=500",
    ),
    "list": Command(
        commands.list_names,
        "the methods, data sets, boards, tokenizers, rewards or metrics that there are",
        "recbole-conrec list models",
        "models|datasets|boards|tokenizers|rewards|metrics",
    ),
}
