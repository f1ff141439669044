"""Things to do as soon as a module of RecBole is imported, and not before: RecBole brings torch, and takes seconds.

The root of the package must not import rooms of its own, which would close a circle through it, so that the table names
functions by their dotted paths.
"""

import importlib
import importlib.abc
import sys

AFTER = {
    "recbole": "recbole_conrec.compat:apply",
    "recbole.config": "recbole_conrec.compat:allow_stock_checkpoints",
    "recbole.model.sequential_recommender.sine": "recbole_conrec.compat:quiet_autograd",
    "recbole.evaluator": "recbole_conrec.evaluation.plugin:",  # enters the metrics when it is imported
    "recbole.utils": "recbole_conrec.plugin:add_models",
    "recbole.data.dataset": "recbole_conrec.plugin:add_datasets",
    "recbole.trainer": "recbole_conrec.plugin:add_trainers",
}
"""Module of RecBole -> what to call after its code has run, as package.module:function."""


def watch() -> None:
    """Call the functions of AFTER: now for modules that are already imported, and when they are for the others."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in [name for name in AFTER if name in sys.modules]:
        _call(AFTER[name])


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of AFTER as the other finders do, and wraps the step that runs their code."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in AFTER:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(fullname, path, target))), None)
        if spec is not None and spec.loader is not None:
            vars(spec.loader)["exec_module"] = _running(spec.loader, AFTER[fullname])  # the loader of this module alone
        return spec


def _running(loader, function: str):
    run = loader.exec_module

    def exec_module(module) -> None:
        run(module)
        _call(function)

    return exec_module


def _call(path: str) -> None:
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    if name:
        getattr(found, name)()
