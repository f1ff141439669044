"""The encoders by name, and how ``tokenizer.encoder`` is read."""

from typing import Any

from recbole_conrec.tokenizer.behaviour import Behaviour, BehaviourEncoderOptions
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.neighbourhood import Neighbourhood, NeighbourhoodEncoderOptions
from recbole_conrec.tokenizer.sentence import SentenceOptions, SentenceTransformers
from recbole_conrec.tokenizer.tfidf import Tfidf, TfidfOptions
from recbole_conrec.tokenizer.vectors_file import FileOptions, VectorsFile
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

ENCODERS: dict[str, type[Encoder]] = {
    "tfidf": Tfidf,
    "sentence-transformers": SentenceTransformers,
    "file": VectorsFile,
    "behaviour": Behaviour,
    "neighbourhood": Neighbourhood,
}
AnyEncoder = TfidfOptions | SentenceOptions | FileOptions | BehaviourEncoderOptions | NeighbourhoodEncoderOptions


def read_encoders(given: Any, where: str = "tokenizer.encoder") -> tuple[EncoderOptions, ...]:
    """Typed options of one or several encoders.

    Args:
        given: a name, a mapping {name, weight and the encoder's own options}, or a list of these.
        where: the option that ``given`` is the value of; named in errors.

    Raises UserError naming the option at fault, what was expected and the nearest name.
    """
    if not isinstance(given, list | tuple):
        return (_read(given, where),)
    if not given:
        raise UserError(f"{where}: empty; name at least one of {', '.join(ENCODERS)}")
    return tuple(_read(one, f"{where}[{index}]") for index, one in enumerate(given))


def _read(given: Any, where: str) -> EncoderOptions:
    if isinstance(given, EncoderOptions):
        return given
    spec = {"name": given} if isinstance(given, str) else given
    if not isinstance(spec, dict):
        raise UserError(f"{where}: {given!r}; expected one of {', '.join(ENCODERS)}, or a mapping with its name")
    if "name" not in spec:
        raise UserError(f"{where}.name is needed; expected one of {', '.join(ENCODERS)}")
    name = str(spec["name"])
    if name not in ENCODERS:
        raise UserError(f"{where}: {spec['name']!r}; expected one of {', '.join(ENCODERS)}{nearest(name, ENCODERS)}")
    return ENCODERS[name].Options.read(spec, where)
