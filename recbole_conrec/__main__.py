"""python -m recbole_conrec --model=NAME ...: the same as run_recbole_conrec.py, from any folder."""

import sys

from recbole_conrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
