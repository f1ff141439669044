"""recbole-conrec: a benchmark for negative-feedback recommendation, as a plugin to RecBole.

Importing this package is enough for stock RecBole to find the models, their trainers and dataset, and the metrics
by name (see :mod:`recbole_conrec.plugin`). A machine that only filters candidates (:mod:`recbole_conrec.filtering`)
needs neither RecBole nor torch.
"""

import importlib.util

if importlib.util.find_spec("recbole"):
    from recbole_conrec import compat

    compat.apply()

    from recbole_conrec.plugin import register_with_recbole  # RecBole comes after its shims

    register_with_recbole()
    compat.quiet_autograd()

__version__ = "0.1.0"
