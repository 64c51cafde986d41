"""A batch computes everything once, and a clip's values do not depend on its company."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from extractors.batch import Batch
from extractors.chroma import ChromaStft
from extractors.clip import Clip, Mask
from extractors.spectral import LogMel, Mel, Mfcc, Stft
from extractors.spectrum import ChromaBank, MelBank, Spectrum

MEL = Spectrum(sample_rate=22050, bank=MelBank())
CHROMA = Spectrum(sample_rate=22050, bank=ChromaBank())
BARE = Spectrum(sample_rate=22050, power=1.0)
FINE = Spectrum(sample_rate=22050, bank=MelBank(), precision="float64")
SMALL = Spectrum(sample_rate=16000, n_fft=512, hop_length=256, bank=MelBank(n_mels=40))
ALL = (MEL, CHROMA, BARE, FINE, SMALL)


def clips(count: int, rate: int = 22050) -> list[Clip]:
    rng = np.random.default_rng(3)
    return [Clip(f"t{n}", 0.0, rate, rng.standard_normal(rate * 3 - 1111 * n).astype(np.float32)) for n in range(count)]


def test_a_clips_spectra_are_the_same_bits_whatever_it_is_batched_with() -> None:
    some = clips(7)
    alone = [{spectrum: Batch([clip], 3.0).spectrum(spectrum)[0] for spectrum in ALL} for clip in some]
    batches = [Batch(some, 3.0, ALL), Batch(some[::-1], 3.0, (MEL, BARE)), Batch(some, 3.0)]
    for spectrum in ALL:
        made = [batches[0].spectrum(spectrum), batches[1].spectrum(spectrum)[::-1], batches[2].spectrum(spectrum)]
        for batch in made:
            for clip, expected in zip(batch, alone, strict=True):
                assert clip.tobytes() == expected[spectrum].tobytes()


def test_repeated_and_threaded_runs_give_the_same_bits() -> None:
    some = clips(3)

    def run(_: int) -> bytes:
        batch = Batch(some, 3.0, ALL)
        return b"".join(batch.spectrum(spectrum).tobytes() for spectrum in ALL)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(12)))) == 1


def test_the_number_of_blas_threads_does_not_change_bits() -> None:
    script = (
        "import numpy as np, hashlib\n"
        "from extractors.batch import Batch\nfrom extractors.clip import Clip\n"
        "from extractors.spectral import Mel, Mfcc\nfrom extractors.chroma import ChromaStft\n"
        "batch = Batch([Clip('t', 0.0, 22050, np.random.default_rng(0).standard_normal(60000).astype('f4'))], 3.0)\n"
        "made = [next(iter(e.open()(batch).values())) for e in (Mel(), Mfcc(), ChromaStft(norm=None, dtype='float32'))]\n"
        "print(hashlib.sha256(b''.join(m.tobytes() for m in made)).hexdigest())\n"
    )
    root = Path(__file__).parent.parent
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={"OMP_NUM_THREADS": threads, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "4")
    }
    assert len(found) == 1


def test_torch_and_librosa_are_not_imported_for_spectra_on_the_cpu() -> None:
    script = (
        "import sys, numpy as np\n"
        "from extractors.batch import Batch\nfrom extractors.clip import Clip\nfrom extractors.spectral import LogMel\n"
        "LogMel().open()(Batch([Clip('t', 0.0, 22050, np.ones(9000, 'f4'))], 1.0))\n"
        "print([name for name in ('torch', 'librosa', 'numba', 'scipy.signal', 'soundfile') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_waves_are_padded_and_cut_to_the_exact_length() -> None:
    batch = Batch([*clips(2), *clips(1, 44100), Clip("short", 0.0, 8000, np.ones(800, np.float32))], 2.7)
    wave = batch.wave(22050)
    assert wave.shape == (4, 59535)
    assert wave.dtype == np.float32
    assert batch.wave(22050) is wave
    assert batch.samples(22050)[:3] == [59535] * 3
    assert abs(batch.samples(22050)[3] - 2205) <= 1
    assert not wave[3, 2206:].any()
    np.testing.assert_array_equal(wave[0], clips(1)[0].samples[:59535])


def test_a_whole_track_is_as_long_as_it_is() -> None:
    track = clips(1)
    batch = Batch(track, None)
    assert batch.wave(22050).shape == (1, 66150)
    assert batch.spectrum(MEL).shape == (1, 130, 128)
    with pytest.raises(ValueError, match="holds one clip, got 2"):
        Batch(track * 2, None)


@pytest.mark.parametrize("center", [True, False])
def test_valid_counts_the_frames_of_sound(center: bool) -> None:
    spectrum = Spectrum(sample_rate=1000, n_fft=64, hop_length=16, center=center)
    lengths = [1000, 999, 640, 64, 63, 1]
    batch = Batch([Clip("t", 0.0, 1000, np.ones(n, np.float32)) for n in lengths], 1.0)
    expected = [1 + n // 16 if center else max(0, 1 + (n - 64) // 16) for n in lengths]
    assert batch.valid(spectrum).tolist() == expected
    assert batch.valid(spectrum).dtype == np.int32
    assert batch.spectrum(spectrum).shape[1] == expected[0]


def test_a_packed_batch_is_the_same_batch_without_its_clips_samples() -> None:
    batch = Batch(clips(3, 44100), 3.0, ALL)
    packed = batch.pack([22050, 16000])
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(packed, protocol=5, buffer_callback=buffers.append)
    assert len(small) < 6000
    assert sum(buffer.raw().nbytes for buffer in buffers) == 4 * 3 * 3 * (22050 + 16000)
    there = pickle.loads(small, buffers=buffers)
    for spectrum in ALL:
        assert there.spectrum(spectrum).tobytes() == batch.spectrum(spectrum).tobytes()
        assert there.valid(spectrum).tolist() == batch.valid(spectrum).tolist()
    assert [clip.track_id for clip in there.clips] == ["t0", "t1", "t2"]
    assert there.on("cpu:0").spectrum(MEL).shape == batch.spectrum(MEL).shape


def test_features_leave_a_batchs_spectra_as_they_are() -> None:
    extractors = [LogMel(), Mfcc(), Mel(), Stft(), ChromaStft()]
    batch = Batch(clips(2), 3.0, [s for e in extractors for s in e.spectra()])
    before = {s: batch.spectrum(s).copy() for e in extractors for s in e.spectra()}
    for extractor in extractors:
        extractor.open()(batch)
    for spectrum, values in before.items():
        np.testing.assert_array_equal(batch.spectrum(spectrum), values)


def test_clips_that_are_one_sound_are_heard_once_and_each_knows_where() -> None:
    one, other = np.ones(8, np.float32), np.ones(8, np.float32)
    clips = [
        Clip("t", 0.0, 8, one),
        Clip("t", 1.0, 8, other),
        Clip("t", 0.0, 8, one, view=1),
        Clip("t", 0.0, 8, one, 2, masks=(Mask("time", 0, 1),)),
    ]
    distinct, where = Batch(clips, 1.0).distinct()
    assert [(clip.start, clip.view) for clip in distinct.clips] == [(0.0, 0), (1.0, 0), (0.0, 2)]
    assert where == [0, 1, 0, 2]
    whole = Batch(clips[:2], 1.0)
    assert whole.distinct() == (whole, [0, 1])
