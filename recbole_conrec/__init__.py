"""recbole-conrec: a benchmark for negative-feedback recommendation, as a plugin to RecBole.

Importing this package is enough for stock RecBole to find the models, their trainers and dataset, and the metrics
by name (see :mod:`recbole_conrec.plugin`). A machine that only filters candidates (:mod:`recbole_conrec.filtering`)
needs neither RecBole nor torch.
"""

import importlib.util

from recbole_conrec.utils.version import __version__ as __version__

if importlib.util.find_spec("recbole"):
    from recbole_conrec import compat

    compat.apply()

    from recbole_conrec.plugin import register_with_recbole  # RecBole comes after its shims

    register_with_recbole()
    compat.quiet_autograd()
