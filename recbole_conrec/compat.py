"""Names that RecBole 1.2.1 needs and today's NumPy, torch and Python lack, each with the RecBole line that needs it.

RecBole is not forked, and none of its functions is replaced: the names that its code looks up are provided.
"""

import numpy as np

# recbole/config/configurator.py:630-635 assigns np.float_, np.complex_ and np.unicode_ (removed in NumPy 2).
# recbole/data/interaction.py:31, data/dataset/dataset.py:652 and evaluator/metrics.py use np.float and friends,
# which the same code sets; they are set here too, so that a metric works before any Config exists.
_ALIASES = {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "float": np.float64,
    "int": np.int_,
    "bool": np.bool_,
    "object": np.object_,
    "str": np.str_,
    "bool8": np.bool_,  # ray 2.6.3, ray/tune/..., which recbole/quick_start/quick_start.py:17 imports
    "long": np.int_,  # in NumPy 2 the attribute np.long exists and means the C type; RecBole sets it to np.int_
}


def apply() -> None:
    """Provide the missing names. Calling it again changes nothing."""
    for name, value in _ALIASES.items():
        if name not in np.__dict__:
            setattr(np, name, value)


def quiet_autograd() -> None:
    """recbole/model/sequential_recommender/sine.py:15 turns on autograd's anomaly detection for the whole process as
    soon as it is imported, and recbole.model imports every model: training is about twice as slow. Turn it off.
    """
    import torch

    torch.autograd.set_detect_anomaly(False)


def allow_stock_checkpoints() -> None:
    """recbole/trainer/trainer.py:323,583 call torch.load without weights_only=False on a checkpoint that holds a
    pickled Config, which torch >= 2.6 refuses. Allow exactly the classes that such a Config consists of. Our own
    trainers write safetensors and JSON instead and do not need this.
    """
    import torch
    import yaml
    from recbole.config import Config
    from recbole.utils import enum_type

    enums = [v for v in vars(enum_type).values() if isinstance(v, type) and v.__module__ == enum_type.__name__]
    torch.serialization.add_safe_globals([Config, yaml.FullLoader, *enums])
