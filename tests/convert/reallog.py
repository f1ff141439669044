"""What the tests of real inputs share: a small log by a mapping, with changes."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rawfiles import convert, read, rows, write

from recbole_conrec.utils.errors import UserError

EVENTS = {"files": "ev.*", "user": "u", "item": "i", "time": "t", "fields": {"stars": "float"}}
ITEMS = {"files": "it.*", "item": "id", "fields": {"title": "token_seq", "price": "float"}}
LOG = "u,i,stars,t\na,x,1,100\nb,x,5,101\na,y,4,102\n"


def run(tmp_path, files, events=None, items=None, **options):
    """Convert raw files by EVENTS and ITEMS with changes; items=None: no section `items`. Returns the counts."""
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    for name, content in files.items():
        if isinstance(content, dict):
            pq.write_table(pa.table(content), raw / name)
        else:
            write(raw, {name: content})
    mapping = {"events": EVENTS | (events or {}), "feedback": {"negative": "stars <= 2", "positive": "stars >= 4"}}
    if items is not None:
        mapping["items"] = ITEMS | items
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    given = {"dataset": "d", "mapping": str(tmp_path / "m.yaml"), "overwrite": True, **options}
    return convert("generic", raw, tmp_path / "out", **given)


def events(tmp_path):
    return rows(read(tmp_path / "out", "d", "inter"))


def times(tmp_path):
    return [row[-1] for row in events(tmp_path)]


def items(tmp_path):
    return rows(read(tmp_path / "out", "d", "item"))


def fails(tmp_path, *args, **kwargs):
    """The message of a conversion that fails, and leaves nothing."""
    before = sorted(tmp_path.glob("out/**/*"))
    with pytest.raises(UserError) as error:
        run(tmp_path, *args, **kwargs)
    assert "\n" not in str(error.value) and sorted(tmp_path.glob("out/**/*")) == before
    return str(error.value)


def log(**columns):
    return {"u": ["a", "b"], "i": ["x", "y"], "stars": [1.0, 5.0], "t": [100, 200]} | columns
