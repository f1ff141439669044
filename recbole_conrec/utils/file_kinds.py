"""Files that are not the text they are taken for."""

import codecs

_KINDS = {  # how files begin, and what to do with these
    codecs.BOM_UTF32_LE: "UTF-32; write it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32; write it as UTF-8",
    b"\x1f\x8b": "gzip; {gzip}",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"BZh": "bzip2; unpack it",
    b"\xfd7zXZ": "xz; unpack it",
    b"\x28\xb5\x2f\xfd": "zstandard; unpack it",
    b"PAR1": "Parquet; {parquet}",
}


def other_kind(start: bytes, gzip: str = "unpack it", parquet: str = "write it as text") -> str:
    """What a file is that begins so, and what to do; '' for one that may be text.

    Args:
        gzip, parquet: what to do with these.
    """
    found = next((kind for mark, kind in _KINDS.items() if start.startswith(mark)), "")
    return found.format(gzip=gzip, parquet=parquet)
