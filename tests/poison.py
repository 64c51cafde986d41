"""A network that ends or stops its process at the sight of certain clips, as some files do to some decoders."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import torch


class Poison(torch.nn.Module):
    """A clip whose peak is 0.9 crashes the process, one of 0.7 hangs it, one of 0.8 hangs every thread of it; one of 0.6 takes memory.

    Others give their peak. What is taken ends at 2 GB, where the clip passes as if nothing were: the test fails, and not the machine.
    """

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """(clips, samples) to (clips, 1)."""
        peaks = wave.abs().amax(dim=1, keepdim=True)
        if bool(((peaks > 0.88) & (peaks < 0.92)).any()):
            os.kill(os.getpid(), signal.SIGSEGV)
        if bool(((peaks > 0.68) & (peaks < 0.72)).any()):
            time.sleep(3600)
        if bool(((peaks > 0.78) & (peaks < 0.82)).any()):
            ctypes.PyDLL(None).sleep(3600)  # holds Python's lock
        if bool(((peaks > 0.58) & (peaks < 0.62)).any()):
            taken = []
            for _ in range(100):
                taken.append(torch.ones(5_000_000))
                time.sleep(0.02)
        return peaks


class Slow(torch.nn.Module):
    """Takes a second for each batch, so that a test can interfere."""

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """(clips, samples) to (clips, 1)."""
        time.sleep(1)
        return wave.abs().amax(dim=1, keepdim=True)


class Mortal(torch.nn.Module):
    """Ends its process at the eighth batch that it is given there: after a shard or two."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """(clips, samples) to (clips, 1)."""
        self.batches += 1
        if self.batches == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return wave.abs().amax(dim=1, keepdim=True)


class Third(torch.nn.Module):
    """Fails at every third batch that it is given, as a GPU does for want of memory; the same again passes."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """(clips, samples) to (clips, 1)."""
        self.batches += 1
        if self.batches % 3 == 0:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return wave.abs().amax(dim=1, keepdim=True)
