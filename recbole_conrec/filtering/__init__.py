"""From a trained model to a product: Predict Sets are made offline, candidates are filtered online without the model.

In the order of use: ``sets.py`` asks a model for the sets; ``predict.py`` writes them (``folder.py``: the files,
``resume.py``: what an interrupted prediction left, ``index.py``: the filter's arrays); ``calibrate.py`` chooses the
threshold; ``online.py`` filters, ``files.py`` a whole file. ``predict_command.py`` and ``filter_command.py`` are the
subcommands. ``online.py``, ``ids.py`` and ``folder.py`` need NumPy and SciPy, but neither RecBole nor torch.
"""

from recbole_conrec.filtering.online import NegativeFilter

__all__ = ["NegativeFilter"]
