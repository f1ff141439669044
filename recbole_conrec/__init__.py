"""recbole-conrec: a benchmark for negative-feedback recommendation, as a plugin to RecBole.

Importing this package is enough for stock RecBole to find the models, their trainers and dataset, and the metrics
by name (see :mod:`recbole_conrec.registry`).
"""

from recbole_conrec import compat

compat.apply()

__version__ = "0.1.0"
