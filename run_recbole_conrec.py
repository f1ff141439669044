#!/usr/bin/env python
"""python run_recbole_conrec.py --model=CoNRec [--dataset=ml-100k] [--KEY=VALUE ...]"""

import sys

from recbole_conrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
