"""The card of a run's repository on the hub, Markdown with YAML in front; every figure in it is the record's."""

from typing import Any

import yaml

TEMPLATE = """\
---
{head}---

# {model} on {dataset}

{model}, trained by [recbole-conrec](https://pypi.org/project/recbole-conrec/) {version} to say which items a user will
explicitly dislike.

| metric | value | instances |
| --- | --- | --- |
{figures}

| | |
| --- | --- |
{facts}

## Use

```bash
pip install recbole-conrec=={version}
recbole-conrec pull --repo={name}
recbole-conrec predict --run=saved/{dataset}/{folder} --data_path=dataset --users=all --out=sets
```

The data set `{dataset}` is not in this repository; it is needed to load the run, and its fingerprint has to be that of
the record. `result.json` is the record: all options, the curve of training, versions and hardware. `outcomes.parquet`
has every metric of every test instance, without items and times. The weights are safetensors.

## Options

```yaml
{options}```
"""
SHOWN = 14  # figures in the table; the record has all


def card(result: dict[str, Any], name: str) -> str:
    """The card of the repository ``name``.

    Args:
        result: the content of result.json.
    """
    counted = {key: figure for key, figure in result["metrics"].items() if figure["value"] is not None and figure["n"]}
    figures = list(counted.items())[:SHOWN]
    cost, hardware = result["cost"], result["hardware"]
    feedback, window = result["config"]["feedback"], result["config"]["window"]
    facts = {
        "dislike": f"`{feedback['negative']}`",
        "window": f"{window['length']} {window['unit']}",
        "seed": result["seed"],
        "training": f"{cost['fit_s']:.0f} s on {hardware['gpu'] or 'a CPU'}, {hardware['threads']} threads",
        "parameters": f"{int(cost['parameters']):,}",
        "identity": f"`{result['identity'][:12]}`",
        "data": f"`{result['data_fingerprint'][:12]}`",
    }
    head = {
        "library_name": "recbole-conrec",
        "tags": ["recommendation", "negative-feedback", "recbole", result["model"]],
        "model-index": [
            {
                "name": result["model"],
                "results": [
                    {
                        "task": {"type": "recommendation", "name": "negative-feedback recommendation"},
                        "dataset": {"type": result["dataset"], "name": result["dataset"]},
                        "metrics": [{"type": key, "value": round(one["value"], 6)} for key, one in figures],
                    }
                ],
            }
        ],
    }
    given = result["config"]
    options = {key: given[key] for key in ("context", "llm", "tokenizer", "stages", "valid_metric") if key in given}
    return TEMPLATE.format(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        model=result["model"],
        dataset=result["dataset"],
        version=result["versions"]["recbole-conrec"],
        figures="\n".join(f"| {key} | {one['value']:.4f} | {one['n']:,} |" for key, one in figures),
        facts="\n".join(f"| {key} | {value} |" for key, value in facts.items()),
        name=name,
        folder=f"{result['model'].replace('/', '_')}-{result['identity'][:12]}",
        options=yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=100),
    )
