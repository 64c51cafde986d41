"""Gain, noise, filters and rooms for many clips at once, in torch: the CPU's draws give the CPU's sound, within 1e-3 of full scale.

The CPU is the reference: a clip that is beyond what is done here (silent, not finite, a filter that rings on for longer than the clip,
a response that does not fit) is done again there, and what is wrong with it is said there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from augment.augmentation import Draw, Scene, Sound, Unfit
from augment.chain import Lineage, replay
from augment.timbre import POOL, SILENT, Colour, noise, ratio, sections

if TYPE_CHECKING:
    import torch

# What is changed at once; it takes in the order of a hundred bytes a sample.
GPU_SAMPLES, GPU_CLIPS = 1 << 23, 64
# A filter's ringing is over where it has fallen to this.
_RUNG_OUT = 1e-6


def apply(
    waves: torch.Tensor, lengths: Sequence[int], steps: Sequence[Sequence[Draw]], sample_rate: int
) -> tuple[torch.Tensor, list[Unfit | None]]:
    """Change each clip as its draws say.

    Clips that take the same step take it together, in groups of one size, because kernels are chosen by shape: so a clip's sound does
    not depend on its company.

    Args:
        waves: (clips, samples) float32, on any device; silence where a clip ends early.
        lengths: how many samples of each clip are sound.
        steps: for each clip the draws that are still to be done, in their order, of Gain, AddNoise, Filter and ImpulseResponse.
    Returns:
        (clips, samples) float32 on the same device, a new tensor; and for each clip why it could not be changed, or None.
    Raises:
        OSError, ValueError: a file that a draw names is gone, or is another one.
    """
    import torch

    made = waves.clone()
    sounding = torch.arange(waves.shape[1], device=waves.device) < torch.tensor(lengths, device=waves.device)[:, None]
    doubtful = torch.zeros(len(waves), dtype=torch.bool, device=waves.device)
    group = min(GPU_CLIPS, max(1, GPU_SAMPLES // max(1, waves.shape[1])))
    left = [list(each) for each in steps]
    while heads := {each[0]["use"] for each in left if each}:
        # What others have yet to come to waits for them, so that a chain takes one pass for each of its steps.
        use = min(heads - {draw["use"] for each in left for draw in each[1:]} or heads)
        rows = [row for row, each in enumerate(left) if each and each[0]["use"] == use]
        for first in range(0, len(rows), group):
            chosen = rows[first : first + group]
            filled = chosen + chosen[-1:] * (group - len(chosen))
            changed, doubts = _STEPS[use](made[filled], [left[row][0] for row in filled], sounding[filled], sample_rate)
            changed = torch.where(sounding[filled], changed, 0)
            doubts |= ~changed.isfinite().all(1)
            made[chosen], doubtful[chosen] = changed[: len(chosen)], doubtful[chosen] | doubts[: len(chosen)]
        for row in rows:
            del left[row][0]
    errors: list[Unfit | None] = [None] * len(waves)
    for row in doubtful.nonzero().flatten().tolist():
        sound = Sound(waves[row, : lengths[row]].cpu().numpy(), sample_rate)
        try:
            sound = replay(Lineage(sample_rate, lengths[row], tuple(steps[row])), sound, Scene())
            made[row, : lengths[row]] = torch.from_numpy(sound.samples).to(made.device)
        except Unfit as error:
            errors[row] = error
    return made, errors


# Each step takes (group, samples) float32, a draw for each clip, (group, samples) bool: what is sound, and the sample rate in Hz;
# it gives the changed clips, and (group,) bool: which of them the CPU has to look at.


def _gain(waves: torch.Tensor, draws: Sequence[Draw], sounding: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    gain = _column([ratio(draw["gain_db"]) for draw in draws], waves)
    return waves * gain.float(), torch.zeros(len(waves), dtype=torch.bool, device=waves.device)


def _noise(waves: torch.Tensor, draws: Sequence[Draw], sounding: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    along = torch.arange(waves.shape[1], device=waves.device)
    added = torch.empty_like(waves)
    for row, draw in zip(added, draws, strict=True):
        torch.index_select(_pool(draw["colour"], waves.device), 0, (along + draw["offset"]) % POOL, out=row)
    level, noise_level = _rms(waves, sounding), _rms(added, sounding)
    scale = level / (_column([ratio(draw["snr_db"]) for draw in draws], waves) * noise_level.clamp(min=1e-9))
    return waves + added * scale.float(), level[:, 0] < 1.01 * SILENT  # on the border the CPU decides


def _filter(waves: torch.Tensor, draws: Sequence[Draw], sounding: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """By its frequency response, over twice the clip, so that what rings on does not come round to the beginning."""
    import torch

    size = _transform_size(waves)
    designs = []
    for draw in draws:
        given = {name: draw[name] for name in ("rolloff_db", "q", "gain_db") if name in draw}
        designs.append(sections(draw["kind"], draw["hz"], sample_rate, **given))
    poles = [max(float(abs(np.roots(section[3:])).max()) for section in design) for design in designs]
    rings_on = [pole >= _RUNG_OUT ** (1 / waves.shape[1]) for pole in poles]
    # In double precision: near a pole, what float32 rounds away is what counts.
    delay = torch.arange(size // 2 + 1, device=waves.device, dtype=torch.float64) * (-2 * np.pi / size)
    delay = torch.polar(torch.ones_like(delay), delay)
    response = torch.ones(len(waves), len(delay), dtype=torch.complex128, device=waves.device)
    for number in range(max(map(len, designs))):
        taps = np.array([design[number] if number < len(design) else [1, 0, 0, 1, 0, 0] for design in designs])
        b0, b1, b2, a0, a1, a2 = torch.from_numpy(taps).to(waves.device).T[..., None]
        response *= (b0 + delay * (b1 + delay * b2)) / (a0 + delay * (a1 + delay * a2))
    filtered = torch.fft.irfft(torch.fft.rfft(waves, size) * response.to(torch.complex64), size)
    return filtered[:, : waves.shape[1]], torch.tensor(rings_on, device=waves.device)


def _room(waves: torch.Tensor, draws: Sequence[Draw], sounding: torch.Tensor, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    from augment.reverb import response

    size, counts = _transform_size(waves), sounding.sum(1).tolist()
    responses = np.zeros((len(waves), waves.shape[1]), np.float32)
    misfits = []
    for row, draw, count in zip(responses, draws, counts, strict=True):
        try:
            heard = response(draw, sample_rate, count)
            row[: len(heard)] = heard
            misfits.append(False)
        except Unfit:
            misfits.append(True)
    transfer = torch.fft.rfft(torch.from_numpy(responses).to(waves.device), size)
    heard = torch.fft.irfft(torch.fft.rfft(waves, size) * transfer, size)[:, : waves.shape[1]]
    scale = _rms(waves, sounding) / _rms(heard, sounding)
    return heard * scale.nan_to_num(0, posinf=0).float(), torch.tensor(misfits, device=waves.device)


_STEPS = {"AddNoise": _noise, "Filter": _filter, "Gain": _gain, "ImpulseResponse": _room}


@lru_cache(maxsize=8)
def _pool(colour: Colour, device: torch.device) -> torch.Tensor:
    """The whole pool of noise, on a device."""
    import torch

    return torch.tensor(noise(POOL, colour, 0), device=device)


def _rms(waves: torch.Tensor, sounding: torch.Tensor) -> torch.Tensor:
    """(group, 1) float64: of what is sound."""
    return ((waves.double() * sounding).square().sum(1, keepdim=True) / sounding.sum(1, keepdim=True).clamp(min=1)).sqrt()


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """(group, 1) float64."""
    import torch

    return torch.tensor(values, dtype=torch.float64, device=like.device)[:, None]


def _transform_size(waves: torch.Tensor) -> int:
    """A size that FFTs are fast at and that has room for twice the clip."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(2 * waves.shape[1], real=True))
