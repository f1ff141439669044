"""Types of options that several of the engine's option models share."""

from typing import Annotated, Literal

from pydantic import Field

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
Attention = Literal["sdpa", "eager"]
Dropout = Annotated[int | float, Field(ge=0, lt=1)]
MaxSteps = Annotated[int, Field(ge=-1)]
Schedule = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt", "polynomial", "cosine_with_restarts"
]
