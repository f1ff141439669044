"""The GPUs of this machine, and which of them a run gets: by free memory and by the shares that runs ask for."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total,memory.free", "--format=csv,noheader,nounits"]
EPSILON = 1e-6  # three shares of a third fit on one GPU
USABLE = 0.9  # of a GPU's memory: the driver and CUDA's contexts take the remainder
FRESH = 2.0  # seconds for which the free memory is believed


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: as in CUDA_VISIBLE_DEVICES.
        total, free: its memory, MiB, and how much of it no process of any user holds now.
    """

    name: str
    total: float
    free: float


def list_devices(visible: str | None) -> list[Device]:
    """The GPUs of this machine.

    Args:
        visible: those that may be used, as in CUDA_VISIBLE_DEVICES, by index or id; None: all.

    Returns [] where there are none, or where the driver does not say (without nvidia-smi, or parts of GPUs under MIG).
    """
    try:
        listed = subprocess.run(QUERY, capture_output=True, text=True, timeout=20, check=True).stdout
        lines = [[cell.strip() for cell in line.split(",")] for line in listed.strip().splitlines()]
        found = [(index, uuid, float(total), float(free)) for index, uuid, total, free in lines]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    if visible is None:
        return [Device(index, total, free) for index, _, total, free in found]
    out = []
    for name in filter(None, (part.strip() for part in visible.split(","))):
        match = [one for one in found if name == one[0] or one[1].startswith(name)]
        if len(match) != 1:
            return []
        out.append(Device(name, *match[0][2:]))
    return out


class Placement:
    """Which run holds which GPUs.

    Args:
        look: lists the devices with the memory that is free now.
    """

    def __init__(self, look: Callable[[], list[Device]]):
        self._look = look
        self._seen, self._at = look(), time.monotonic()
        self._held: dict[object, dict[str, float]] = {}  # run -> {device: share}
        self._others: dict[str, float] = {}  # MiB that others held on a device when none of our runs was there

    def __bool__(self) -> bool:
        """Whether there are GPUs that can be shared out."""
        return bool(self._seen)

    def choose(self, gpus: float, allowed: str | None = None) -> str | None:
        """The GPUs for a run: those with the most free memory among the ones that have its share left.

        A device has room if the shares of our runs on it leave the share, and its memory does: what other processes
        hold counts, and what our runs have asked for and not taken yet. Where none of our runs holds a GPU, one is
        given in any case: waiting for other users' processes could last for ever.

        Args:
            gpus: a share of one, or a whole number.
            allowed: names of devices, with commas between; None: all.

        Returns their names, as in CUDA_VISIBLE_DEVICES; None if there is no room now.
        """
        if not gpus:
            return ""
        if self._seen and time.monotonic() - self._at > FRESH:
            self._seen, self._at = self._look(), time.monotonic()
        names = None if allowed is None else {name.strip() for name in allowed.split(",")}
        devices = [device for device in self._seen if names is None or device.name in names]
        number, share = (1, gpus) if gpus <= 1 else (min(int(gpus), len(devices)) or 1, 1.0)
        used = {device.name: sum(held.get(device.name, 0) for held in self._held.values()) for device in devices}
        self._others |= {device.name: device.total - device.free for device in devices if not used[device.name]}
        free = {
            device.name: min(device.free, device.total * (1 - used[device.name]) - self._others[device.name])
            for device in devices
        }
        alone = not any(self._held.values())
        fit = [
            device
            for device in devices
            if used[device.name] + share <= 1 + EPSILON
            and (alone or free[device.name] >= share * device.total * USABLE)
        ]
        if len(fit) < number:
            return None
        chosen = sorted(fit, key=lambda device: -free[device.name])[:number]  # of equal ones the first
        return ",".join(device.name for device in chosen)

    def hold(self, run: object, gpus: float, names: str) -> None:
        """A run (any object) has its GPUs, as :meth:`choose` named them."""
        self._held[run] = dict.fromkeys(filter(None, names.split(",")), min(gpus, 1.0))

    def release(self, run: object) -> None:
        """The run has ended."""
        self._held.pop(run, None)
