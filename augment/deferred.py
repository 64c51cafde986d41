"""Views that a CPU begins and a GPU finishes: what is sent there, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from augment.augmentation import Draw, Unfit
from augment.masks import drawn
from extractors.batch import Batch
from extractors.clip import Clip

if TYPE_CHECKING:
    import torch

Wave = tuple["torch.Tensor", list[int]]  # (clips, samples), and how many samples of each clip are sound

_ROUNDED = 0.001  # seconds by which a clip may be longer than its window, as it was cut and resampled to whole samples


@dataclass(frozen=True)
class Unfinished:
    """A batch of which some clips have draws pending. It holds no more sound than a GPU needs, and can be sent there.

    seconds: the batch's.
    parts: rows of the batch, and those clips: packed at all rates if they are done; if not, at their views' rate and whole, as what lies
        beyond the window counts too in what is still to be done to them (how loud they are).
    pending: for each clip of the batch the draws that are still to be done.
    """

    seconds: float | None
    parts: tuple[tuple[tuple[int, ...], Batch], ...]
    pending: tuple[tuple[Draw, ...], ...]


def hold(batch: Batch, sample_rates: Sequence[int]) -> Unfinished:
    """What of a batch is to be sent to a GPU. Masks, which are no work, are put on here.

    Args:
        batch: clips, with draws pending.
        sample_rates: at which extractors will ask for the sound (Hz).
    """
    clips, steps = [], []
    for clip in batch.clips:
        masks = tuple(mask for draw in clip.pending if draw["use"] == "SpecMask" for mask in drawn(draw))
        clips.append(replace(clip, masks=clip.masks + masks, pending=()))
        steps.append(tuple(draw for draw in clip.pending if draw["use"] != "SpecMask"))
    rows: dict[tuple[int, int], list[int]] = {}
    for row, clip in enumerate(clips):
        rate = clip.sample_rate if steps[row] else 0
        # In whole windows, so that long clips fill groups too, and a clip's sound does not depend on its company.
        windows = math.ceil((len(clip.samples) / rate - _ROUNDED) / batch.seconds) if rate and batch.seconds else 1
        rows.setdefault((rate, max(1, windows)), []).append(row)
    parts = []
    for (rate, windows), chosen in rows.items():
        part = Batch([clips[row] for row in chosen], batch.seconds and windows * batch.seconds, batch.announced)
        parts.append((tuple(chosen), part.pack([rate] if rate else sample_rates)))
    return Unfinished(batch.seconds, tuple(parts), tuple(steps))


def finish(held: Unfinished, sample_rates: Sequence[int], device: str) -> tuple[Batch | None, list[tuple[Clip, Unfit]]]:
    """Do what is pending on a device, and have the sound at all rates there.

    Clips without anything pending keep the sound that the CPU made of them, bit for bit; the others are resampled on the device.

    Args:
        sample_rates: as in `hold`. device: "cuda", "cuda:1", …
    Returns:
        The clips in their order without those that turned out unfit, their peaks brought up to date; None if there are none.
        And those that are unfit, with the reason.
    Raises:
        OSError, ValueError: a file that a draw names is gone, or is another one.
    """
    import torch

    rows: list[int] = []
    clips: list[Clip] = []
    sound: list[float] = []
    errors: list[Unfit | None] = []
    waves: dict[int, list[Wave]] = {rate: [] for rate in sample_rates}
    for places, part in held.parts:
        steps = [held.pending[place] for place in places]
        if any(steps):
            made, peaks, found = _finished(part, steps, sample_rates, held.seconds, device)
        else:
            made = {rate: (torch.tensor(part.wave(rate), device=device), part.samples(rate)) for rate in sample_rates}
            peaks, found = [clip.peak for clip in part.clips], [None] * len(part)
        rows += places
        clips += [replace(clip, peak=peak) for clip, peak in zip(part.clips, peaks, strict=True)]
        sound += [min(seconds, held.seconds or math.inf) for seconds in part.sound]
        errors += found
        for rate in sample_rates:
            waves[rate].append(made[rate])
    order = sorted(range(len(rows)), key=rows.__getitem__)
    unfit = [(clips[at], error) for at in order if (error := errors[at])]
    kept = [at for at in order if not errors[at]]
    if not kept:
        return None, unfit
    batch = Batch([clips[at] for at in kept], held.seconds, held.parts[0][1].announced, device)
    batch.sound = [sound[at] for at in kept]
    for rate, pieces in waves.items():
        counts = [count for _, samples in pieces for count in samples]
        batch.give(rate, torch.cat([wave for wave, _ in pieces])[kept], [counts[at] for at in kept])
    return batch, unfit


def _finished(
    part: Batch, steps: Sequence[Sequence[Draw]], sample_rates: Sequence[int], seconds: float | None, device: str
) -> tuple[dict[int, Wave], list[float], list[Unfit | None]]:
    """What clips of one rate become: so many seconds of their sound at all rates, their peaks, and what was wrong."""
    import torch

    from augment.batched import apply
    from extractors.torch_resample import resample_torch, resampled_length

    rate = part.clips[0].sample_rate
    made, errors = apply(torch.tensor(part.wave(rate), device=device), part.samples(rate), steps, rate)
    waves: dict[int, Wave] = {}
    for wanted in sample_rates:
        wave = resample_torch(made, rate, wanted)
        length = wave.shape[1] if seconds is None else round(seconds * wanted)
        counts = [min(resampled_length(samples, rate, wanted), length) for samples in part.samples(rate)]
        # A window's length may be rounded the other way at this rate; and the filter rings on where a clip ends.
        wave = torch.nn.functional.pad(wave, (0, length - wave.shape[1]))
        sounding = torch.arange(length, device=wave.device) < torch.tensor(counts, device=wave.device)[:, None]
        waves[wanted] = torch.where(sounding, wave, 0), counts
    return waves, made.abs().amax(1).tolist() if made.shape[1] else [0.0] * len(part), errors
