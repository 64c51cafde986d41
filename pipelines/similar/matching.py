"""Which recording a sound is, by landmarks that agree on one moment of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from extractors.fingerprint import HASH_BITS, Fingerprint, first_bins
from pipelines.similar.landmarks import FRAME_BITS, PREFIXES, Heard
from pipelines.similar.lookup import Landmarks

# A sound of unknown place is heard this many times, each a share of a frame later: one of them falls as the recording's frames did.
SHIFTS = 4
# Landmarks that agree are counted in slices of so many frames, and no slice counts for more than so many: one chord of the same
# instrument, which other recordings have too, is a moment, and a copy is alike all along.
SLICE, MOST = 16, 2
# Most accidents to expect, see `chance`.
ALIKE, BOUND = 3.0, 1e-3
# Landmarks that are enough in any case: strangers among five hundred reached 17.
CERTAIN = 18
# Fewer, down to `LEAST`, are enough with what else speaks for a copy: score + PITCH × pitches + SPAN × span ≥ ENOUGH + RIVAL × rival
# + CROWD × ln(crowd). Strangers that agree strike the very same sounds (one soundfont, one sample): a few pitches over and over, many
# landmarks at a few moments, for a part of the time, where a copy agrees in many pitches, here and there, all along; and several
# recordings have those sounds, so that the fourth likeliest is near, while noise lowers it. A rival counts for `USUAL` at least, as it
# would in a large collection. The weights are a logistic regression's, rounded, over queries of two thousand rendered pieces.
LEAST, PITCH, SPAN, ENOUGH, RIVAL, CROWD, FOURTH, USUAL = 10, 0.5, 6.25, 18.0, 2.5, 3.0, 4, 5
LONGEST = 2.56  # seconds that a span counts for at most
# A copy agrees with its original in half of its slices at 0 dB of noise. The same score at the same tempo on other instruments agrees in
# a sixth, which is no accident in a long piece, and no copy.
SHARE = 0.3


@dataclass(frozen=True)
class Match:
    """A recording that a sound was found in.

    score: landmarks that agree, at most `MOST` for each quarter of a second. offset: seconds of the recording at which the sound begins.
    share: of what the score could be in the stretch that both have. chance: how many recordings and moments of the index are expected
    to reach the score by accident. rival: the score of the fourth likeliest recording. Where the score alone does not decide, pitches:
    places in frequency at which the landmarks that agree begin; span: seconds from the first of them to the last; crowd: how many begin
    at one moment, in the mean.
    """

    track_id: str
    score: int
    offset: float
    share: float
    chance: float
    rival: int = 0
    pitches: int = 0
    span: float = 0.0
    crowd: float = 1.0

    @property
    def sure(self) -> bool:
        """Whether that is enough to call it the same recording."""
        against = RIVAL * max(USUAL, self.rival) + CROWD * math.log(self.crowd)
        enough = self.score + PITCH * self.pitches + SPAN * min(self.span, LONGEST) >= ENOUGH + against
        return (self.score >= CERTAIN or (self.score >= LEAST and enough)) and self.share >= SHARE and self.chance <= BOUND


def query(extractor: Fingerprint, samples: NDArray[np.float32], sample_rate: int) -> Heard:
    """The landmarks of a sound whose frames begin anywhere.

    Args:
        samples: (samples,) float32, mono. sample_rate: Hz.
    Raises:
        ValueError: a sample is not finite.
    """
    step = extractor.hop_length * sample_rate / extractor.sample_rate / SHIFTS
    heard = [extractor.hear(samples[round(shift * step) :], sample_rate) for shift in range(SHIFTS)]
    both = np.unique(np.concatenate([hashes.astype(np.int64) << FRAME_BITS | frames for hashes, frames in heard]))
    return Heard("", (both >> FRAME_BITS).astype(np.uint32), both & (1 << FRAME_BITS) - 1)


def matches(index: Landmarks, sounds: Sequence[Heard], width: int = 1, prefixes: int = PREFIXES) -> list[list[Match]]:
    """For each sound, the recordings that it is found in, the likeliest first; itself never.

    Args:
        width: frames within which landmarks agree: 1 for `query`, 2 for sounds heard once. prefixes: as in `Landmarks.hits`.
    """
    return [[each for each in found if each.sure] for found in candidates(index, sounds, width, prefixes)]


def candidates(index: Landmarks, sounds: Sequence[Heard], width: int = 1, prefixes: int = PREFIXES, most: int = 50) -> list[list[Match]]:
    """As `matches`, undecided: the `most` best of each sound, however little speaks for them."""
    borders = np.cumsum([0, *(len(each.hashes) for each in sounds)])
    hashes = np.concatenate([np.empty(0, np.uint32), *(each.hashes for each in sounds)])
    begun = np.concatenate([np.empty(0, np.int64), *(each.frames for each in sounds)])
    hits = [*index.hits(hashes, prefixes)]
    if not hits:
        return [[] for _ in sounds]
    which, tracks, frames = map(np.concatenate, zip(*hits, strict=True))
    order = np.argsort(which, kind="stable")
    which, tracks, frames = which[order], tracks[order], frames[order]
    ends = np.searchsorted(which, borders)
    rate = index.source.extractor.sample_rate / index.source.extractor.hop_length
    found = []
    for sound, (first, last) in zip(sounds, pairwise(ends), strict=True):
        mine = slice(first, last)
        length = int(sound.frames.max(initial=-1)) + 1
        asked = begun[which[mine]]
        begins = frames[mine] - asked
        best, scores, offsets, total = _aligned(tracks[mine], begins, asked, width)
        cells = max(1, index.frames + len(index.lengths) * length)
        likely = chance(scores, total / cells, cells)
        order = np.argsort(-scores, kind="stable")[: most + 1]
        # Slices of the sound in which there is anything to agree on, up to each.
        heard = np.concatenate([[0], np.cumsum(np.bincount(sound.frames // SLICE, minlength=1) > 0)])
        others = [int(scores[at]) for at in order if index.tracks[best[at]] != sound.track_id]
        rival = others[FOURTH - 1] if len(others) >= FOURTH else 0
        made = []
        for at in order:
            track, offset = index.tracks[best[at]], int(offsets[at])
            first, last = max(0, -offset) // SLICE, -(-min(length, index.lengths[track] - offset) // SLICE)
            share = int(scores[at]) / (MOST * max(1, int(heard[min(last, len(heard) - 1)] - heard[first])))
            match = Match(track, int(scores[at]), round(offset / rate, 3), round(share, 4), float(likely[at]), rival)
            if LEAST <= scores[at] < CERTAIN:
                agree = (tracks[mine] == best[at]) & (begins >= offset) & (begins < offset + width)
                at_once, names = begun[which[mine][agree]], hashes[which[mine][agree]]
                moments, landmarks = np.unique(at_once), np.unique(at_once << HASH_BITS | names.astype(np.int64))
                span = float(moments[-1] - moments[0]) / rate
                match = replace(match, pitches=len(np.unique(first_bins(names))), span=span, crowd=len(landmarks) / len(moments))
            made.append(match)
        found.append([each for each in made if each.track_id != sound.track_id][:most])
    return found


def chance(scores: NDArray[np.int64], mean: float, cells: int) -> NDArray[np.float64]:
    """How many cells, each a recording and a moment of it, would reach each score if landmarks agreed by accident alone.

    Accidents are taken for independent and as frequent as this sound's landmarks are in the index, times `ALIKE`, since music
    repeats itself and accidents come together: cells × P(Poisson(ALIKE × mean) ≥ score). By Markov's inequality that bounds the
    probability of any accident at all. A match has landmarks enough (`Match.sure`), at most `BOUND` accidents to expect and at
    least `SHARE` of what it could have; what that leaves out (recordings made of the same samples) is measured in
    tests/benchmarks/fingerprint.py.

    Args:
        scores: (n,). mean: agreements of a cell. cells: moments compared.

    >>> bool(chance(np.array([11]), 0.1, 10**6)[0] < 1e-3 < chance(np.array([6]), 0.1, 10**6)[0])
    True
    """
    from scipy.special import pdtrc

    return np.asarray(cells * pdtrc(np.maximum(scores, 1) - 1, ALIKE * max(mean, 1e-9)), np.float64)


def _aligned(
    tracks: NDArray[np.int64], offsets: NDArray[np.int64], asked: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """The best moment of each recording.

    Args:
        tracks, offsets, asked: (hits,) recording, its frame less the sound's, the sound's frame.
    Returns:
        (recordings,) which, their scores, their offsets in frames; the sum of the scores of all moments.
    """
    if not len(tracks):
        return tracks, tracks, tracks, 0
    shift = 1 << FRAME_BITS
    moment = tracks << FRAME_BITS + 1 | offsets + shift
    slices = asked // SLICE
    if width > 1:
        moment = np.concatenate([moment - back for back in range(width)])
        slices = np.tile(slices, width)
    # Moments first, slices within: one sort of numbers, and runs are counted.
    span = int(slices.max()) + 1
    if int(moment.max()) > (1 << 62) // span:
        moments, moment = np.unique(moment, return_inverse=True)
    else:
        moments = None
    held, counts = np.unique(moment * span + slices, return_counts=True)
    moment, begins = np.unique(held // span, return_index=True)
    scores = np.add.reduceat(np.minimum(counts, MOST), begins)
    if moments is not None:
        moment = moments[moment]
    track, offset = moment >> FRAME_BITS + 1, (moment & 2 * shift - 1) - shift
    order = np.lexsort((np.abs(offset), -scores, track))
    best, at = np.unique(track[order], return_index=True)
    return best, scores[order][at], offset[order][at], int(scores.sum()) // width
