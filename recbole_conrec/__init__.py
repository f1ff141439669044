"""recbole-conrec: a benchmark for negative-feedback recommendation, as a plugin to RecBole.

Importing this package is enough for stock RecBole to find the models, their trainers and dataset, and the metrics
by name (see :mod:`recbole_conrec.plugin`). RecBole itself, and torch, are imported by what needs them; a machine that
only filters candidates (:mod:`recbole_conrec.filtering`) needs neither.
"""

from recbole_conrec import on_import
from recbole_conrec.utils.version import __version__ as __version__

on_import.watch()
