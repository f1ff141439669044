"""A command of setuptools, which runs when this package is installed and imports nothing of it."""

from pathlib import Path

from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    """Puts recbole_conrec.pth beside the packages, where Python reads it as it starts."""

    def run(self):
        super().run()
        # an editable installation copies no package; what lies in `install_lib` becomes a part of its wheel
        target = self.get_finalized_command("install").install_lib if self.editable_mode else self.build_lib
        self.mkpath(target)
        self.copy_file(str(Path(__file__).with_name("recbole_conrec.pth")), target)
