"""Runs on the hub: pushed to a folder and to a stub of the hub's server, pulled, loaded, and asked again."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
import numpy as np
import pytest
import tinylog
import torch
import yaml

from recbole_conrec.cli import main
from recbole_conrec.evaluation import ranking
from recbole_conrec.runs import records
from recbole_conrec.runs.hub import PullOptions, pull
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow
OPTIONS = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}, "lora": {}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "beam": 10,
    "stages": [{"name": "warm-up", "task": "next", "epochs": 1, "lr": 0.005, "batch_size": 4}],
}

# A command; the library of the hub reads its environment when it is imported, so here.
WITH_HUB = """
import sys

for name in [name for name in sys.modules if name.startswith(("huggingface_hub", "recbole_conrec.runs.hub"))]:
    del sys.modules[name]
from recbole_conrec.cli import main

sys.exit(main())
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as upload_folder and snapshot_download ask of it; ``server.files`` is the repository."""

    def log_message(self, *_):
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, content, code=200):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self._body()
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self._json({"url": f"http://{self.headers['Host']}/someone/run", "name": "someone/run"})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            host = f"http://{self.headers['Host']}"
            self._json({"commitUrl": f"{host}/someone/run/commit/{'a' * 40}", "commitOid": "a" * 40, "success": True})
        else:
            self._json({"isValid": True})

    def do_GET(self, body=True):
        self._body()
        if "/resolve/" in self.path:
            data = self.server.files.get(self.path.partition("/resolve/")[2].partition("/")[2])
            if data is None:
                return self._json({"error": "no such file"}, 404)
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return self.wfile.write(data) if body else None
        if not self.path.startswith("/api/models/someone/run"):
            return self._json({"error": "Repository not found"}, 404)
        if "/tree/" in self.path:
            sizes = {name: len(data) for name, data in self.server.files.items()}
            return self._json([{"type": "file", "path": p, "size": n, "oid": "b" * 40} for p, n in sizes.items()])
        files = [{"rfilename": name} for name in self.server.files]
        return self._json({"id": "someone/run", "sha": "a" * 40, "siblings": files, "private": True, "tags": []})

    def do_HEAD(self):
        self.do_GET(body=False)


@pytest.fixture(scope="module")
def trained(tiny_path, tmp_path_factory):
    fixed = {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "topk": [5], "valid_metric": "HR@5"}
    place = {"checkpoint_dir": str(tmp_path_factory.mktemp("trained") / "saved"), "show_progress": False}
    return run("CoNRec", "tiny", options={**fixed, **place, **OPTIONS}).run_dir


def answers(folder, tiny_path):
    loaded = load_run(folder, {"gpu_id": "", "data_path": str(tiny_path)})
    test = loaded.data.build()[2]
    with torch.no_grad():
        return ranking.recommend(loaded.model, test[np.arange(30)], 5, test).numpy()


def test_a_run_by_way_of_a_folder(trained, tiny_path, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["push", f"--run={trained}", f"--out={out}", f"--data_path={tiny_path}", "--gpu_id="]) == 0
    assert str(out) in capsys.readouterr().out
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert {"README.md", "result.json", "outcomes.parquet", "model.safetensors", "tokenizer/tokenizer.json"} <= names
    assert any(re.fullmatch(r"semantic_ids/[0-9a-f]{16}/semantic_ids.safetensors", name) for name in names)
    for file in out.rglob("*"):
        if file.is_file():
            assert file.read_bytes()[:2] not in (b"PK", b"\x80\x04", b"\x80\x02"), f"{file} is a pickle"
            assert str(tiny_path).encode() not in file.read_bytes()
    assert not {"item", "t0"} & set(records.read(out)[0].facts())

    text = (out / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    record = records.read(trained)[0].result
    shown = {one["type"]: one["value"] for one in head["model-index"][0]["results"][0]["metrics"]}
    assert shown and all(value == round(record["metrics"][name]["value"], 6) for name, value in shown.items())
    assert f"| HR@5 | {record['metrics']['HR@5']['value']:.4f} |" in text

    saved = tmp_path / "saved"
    assert main(["pull", f"--repo={out}", f"--checkpoint_dir={saved}"]) == 0
    folder = saved / "tiny" / trained.name
    assert str(folder) in capsys.readouterr().out
    np.testing.assert_array_equal(answers(folder, tiny_path), answers(trained, tiny_path))
    assert len(list((saved / "tokenizers").iterdir())) == 1  # the IDs that came with it, and no others


def test_a_run_by_way_of_the_hub(trained, tiny_path, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": "hf_none", "HF_HOME": str(tmp_path)}
    environment = {**hub, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}

    (tmp_path / "with_hub.py").write_text(WITH_HUB)

    def call(*words):
        return forked.run(["-W", "ignore", tmp_path / "with_hub.py", *words], tmp_path, environment, patience=120)

    try:
        done = call("push", f"--run={trained}", "--to=someone/run", f"--data_path={tiny_path}", "--gpu_id=")
        assert done.returncode == 0, done.stderr
        assert "private" in json.dumps(server.created) and "model.safetensors" in server.files
        server.files["last.pt"] = b"\x80\x04pickle"  # what others put beside it is not brought
        done = call("pull", "--repo=someone/run")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "saved" / "tiny" / trained.name
        assert not list((tmp_path / "saved").rglob("*.pt"))
        np.testing.assert_array_equal(answers(folder, tiny_path), answers(trained, tiny_path))
        done = call("pull", "--repo=someone/else")
        assert done.returncode == 2 and done.stderr.startswith("error: pull: someone/else:"), done.stderr
        assert done.stderr.strip().count("\n") == 0
    finally:
        server.shutdown()
        server.server_close()


def test_what_is_no_run_or_would_leave_its_folder_is_refused(trained, tmp_path, capsys):
    with pytest.raises(UserError, match=r"no run of recbole-conrec \(result.json is missing"):
        pull(PullOptions(repo=str(tmp_path)))
    source = tmp_path / "source"
    source.mkdir()
    for name in ("result.json", "outcomes.parquet", "model.safetensors"):
        (source / name).write_bytes((trained / name).read_bytes())
    result = json.loads((source / "result.json").read_text())
    (source / "result.json").write_text(json.dumps({**result, "dataset": "../../outside"}))
    with pytest.raises(UserError, match="is not the name of a method or a data set"):
        pull(PullOptions(repo=str(source), checkpoint_dir=str(tmp_path / "saved")))
    assert not (tmp_path / "saved").exists()
    for words in (["push", f"--run={trained}"], ["push", f"--run={trained}", "--to=a/b", "--out=c"]):
        assert main(words) == 2 and "expected one of --to" in capsys.readouterr().err
    assert Path(trained, "model.safetensors").is_file()
