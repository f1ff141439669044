"""A run in its own process that dies at a given point. For test_conrec_resume.py."""

import multiprocessing
import os
import signal
import sys

from forked import PRELOADED

# Each run is a fork of a server that has imported everything and computed nothing: a real process, started in no time.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(PRELOADED))  # there is one server for all


def run(argv: list[str], die: tuple[str, str, int, int] | None, folder) -> int:
    """Run the command line `argv` in `folder`. die: (stage, 'step' or 'save', number of the step, signal), or None.
    Returns the exit code, -signal for one that was killed.
    """
    process = CONTEXT.Process(target=_start, args=(argv, die, str(folder)))
    process.start()
    process.join(240)
    if process.is_alive():
        process.kill()
        raise AssertionError("the run hangs")
    return process.exitcode


def _start(argv, die, folder) -> None:
    import torch

    from recbole_conrec.cli import main

    torch.set_num_threads(1)
    os.chdir(folder)
    sys.stdout = sys.stderr = open("terminal.log", "a")  # noqa: SIM115  (open as long as the process)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it, and a fork inherits that
    if die:
        _arm(*die)
    sys.exit(main(argv))


def _arm(stage: str, moment: str, step: int, number: int) -> None:
    from recbole_conrec.generative.best_weights import BestWeights

    name = {"step": "on_step_end", "save": "on_save"}[moment]
    before, start = getattr(BestWeights, name), BestWeights.__init__

    def started(self, lm, score, options, *rest, **more):
        self.stage_name = options.name
        start(self, lm, score, options, *rest, **more)

    def fatal(self, args, state, control, **kwargs):
        if self.stage_name == stage and state.global_step == step:
            os.kill(os.getpid(), number)
        return before(self, args, state, control, **kwargs)

    BestWeights.__init__ = started
    setattr(BestWeights, name, fatal)
