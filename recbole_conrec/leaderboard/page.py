"""A board's standings as one HTML page that needs no network: data inside, tables and charts drawn by its script."""

import importlib.resources
import json
import math
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_conrec.evaluation.registry import smaller
from recbole_conrec.leaderboard import stages, tables
from recbole_conrec.leaderboard.board import Board
from recbole_conrec.leaderboard.distribution import distributions
from recbole_conrec.leaderboard.section import Cell, Line, Section, looks
from recbole_conrec.runs.records import Record

EXCLUSIONS = {
    "disliked": "items that the user disliked before t0 never appear in a list; nothing else is excluded",
    "reacted": "items that the user disliked or liked before t0 never appear in a list",
    "exposed": "items that the user met before t0, with any feedback or none, never appear in a list",
}
AS_OF = {
    "cut": "counts, Swing and the like read the training part alone",
    "t0": "counts, Swing and the like read all events strictly before the time of the instance",
}


def content(board: Board, sections: list[Section], folder: Path) -> str:
    """All figures as JSON, to be written into ``folder``; its links to records are relative to that."""
    found = {"title": board.title, "lead": _lead(sections), "sections": [_section(s, folder) for s in sections]}
    return json.dumps(_finite(found), default=str, allow_nan=False)


def page(data: str) -> str:
    """The page. ``data``: what :func:`content` gives."""
    folder = importlib.resources.files("recbole_conrec.leaderboard")
    # the JSON in it holds no '<', so that no text of a record can end the script element
    parts = {name: (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    parts |= {"charts": (folder / "charts.js").read_text(encoding="utf-8"), "data": data.replace("<", "\\u003c")}
    template = (folder / "page.html").read_text(encoding="utf-8")
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], template)


def _finite(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON lacks: a browser would show nothing."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lead(sections: list[Section]) -> str:
    results = [record.result for s in sections for line in s.lines for record in line.records.values()]
    if not results:
        return "No run has ended yet."
    machines = sorted(
        {
            f"{r['hardware']['gpu'] or 'CPU'}, {r['hardware']['cpus']} cores, {r['hardware']['threads']} threads"
            for r in results
        }
    )
    hours = sum(r["cost"]["fit_s"] + r["cost"]["eval_s"] for r in results) / 3600
    versions = sorted(
        {f"recbole-conrec {r['versions']['recbole-conrec']}, torch {r['versions']['torch']}" for r in results}
    )
    return (
        f"{len(results)} runs, {hours:.1f} hours of training and evaluation on {'; '.join(machines)} "
        f"({'; '.join(versions)})."
    )


def _section(section: Section, folder: Path) -> dict:
    first = next((record for line in section.lines for record in line.records.values()), None)
    return {
        "dataset": section.dataset,
        "columns": section.columns,
        "usual_n": section.usual_n,
        "users": {column: tables.users(section, column) for column in section.columns},
        "key": tables.key(section),
        "above": tables.above(section),
        "improved": tables.improved(section),
        "improvement": {c: tables.improvement(section, c) for c in section.columns if c in section.improvement},
        "methods": [_method(line, folder) for line in section.lines],
        "smaller": [column for column in section.columns if smaller(column)],
        "stages": _stages(section),
        "distributions": distributions(section),
        "valid_metrics": list(_selected_by(section)),
        "protocol": protocol(first, section) if first else [],
    }


def _stages(section: Section) -> dict | None:
    """The table "after each stage"; None where no method measures alignment."""
    rows = stages.after_stages(section)
    return {"names": stages.stage_names(rows), "rows": rows, "key": stages.KEY} if rows else None


def _selected_by(section: Section) -> dict[str, list[str]]:
    """valid_metric -> the methods that it selects, the metric of most methods first."""
    methods: dict[str, list[str]] = {}
    for line in section.lines:
        if (metric := _valid_metric(line)) is not None:
            methods.setdefault(metric, []).append(line.method.name)
    return dict(sorted(methods.items(), key=lambda item: -len(item[1])))


def _valid_metric(line: Line) -> str | None:
    return next((record.config.valid_metric for record in line.records.values()), None)


def _method(line: Line, folder: Path) -> dict:
    return {
        "valid_metric": _valid_metric(line),
        "name": line.method.name,
        "group": line.method.group,
        "label": tables.name(line),
        "rising": line.rising,
        "search": line.search,
        "note": tables.note(line),
        "cost": line.cost if line.records else None,
        "cells": {name: _cell(cell) for name, cell in line.cells.items()},
        "curves": [curve for record in line.records.values() if (curve := _curve(record.result))],
        "records": [
            {"seed": seed, "href": Path(os.path.relpath(record.file, folder)).as_posix()}
            for seed, record in line.records.items()
        ],
    }


def _cell(cell: Cell) -> dict:
    return {**asdict(cell), "marked": cell.marked, "interval": tables.interval(cell)}


def _curve(result: dict) -> list[float]:
    """The validation figures of a run; of one with stages, all stages in a line."""
    return looks(result["curve"] or [entry for stage in result["stages"] for entry in stage.get("validation", [])])


def protocol(record: Record, section: Section) -> list[tuple[str, str]]:
    """What makes figures comparable, in words, from the options of a run."""
    config = record.config
    split, window, feedback = config.split, config.window, config.feedback
    length = "no limit" if window.length is None else f"{window.length} {window.unit}"
    configs = [record.config for line in section.lines for record in line.records.values()]
    normalise = sorted({str(one.normalise) for one in configs if one.normalise})
    cut = f"cuts {split.cuts}" if split.cuts else f"shares {split.ratio}"
    parts = ", ".join(f"{part} {n:,}" for part, n in record.result["instances"].items())
    return [
        ("feedback", f"negative: {feedback.negative}; positive: {feedback.positive or 'none'}"),
        ("split", f"by {split.by}, {cut}"),
        ("instances", f"{parts} (test: {section.users:,} users)"),
        ("window", f"{length} from t0 on"),
        ("exclusion", EXCLUSIONS.get(config.exclude, config.exclude)),
        ("side information", AS_OF.get(config.as_of, config.as_of)),
        (
            "candidates",
            f"{config.candidates.size} of the pool {config.candidates.pool}, drawn by seed {config.candidate_seed}",
        ),
        ("low activity", f"fewer than {config.low_activity} dislikes before t0 (LUF)"),
        ("long tail", f"fewer than {config.long_tail} training dislikes (LIF)"),
        (
            "normalisation",
            f"generative methods: probabilities over the {' / '.join(normalise)} codes"
            if normalise
            else "no generative method",
        ),
        (
            "model selection",
            "on the validation instances by "
            + "; ".join(
                metric + (f" ({', '.join(methods)})" if n else "")
                for n, (metric, methods) in enumerate(_selected_by(section).items())
            ),
        ),
        ("search", tables.searches(section)),
        ("data", record.result["data_fingerprint"][:16]),
    ]
