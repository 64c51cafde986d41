"""Numbers from audio."""

from extractors.batch import Batch
from extractors.chroma import ChromaStft
from extractors.clip import Clip, Window
from extractors.extractor import Column, Extractor, Live
from extractors.fingerprint import Fingerprint
from extractors.musicnn import MusiCNN
from extractors.similarity import SelfSimilarity
from extractors.spectral import LogMel, Mel, Mfcc, Stft
from extractors.spectrum import ChromaBank, MelBank, Spectrum
from extractors.torch_model import TorchModel

# What a recipe's `use` may name.
EXTRACTORS: tuple[type[Extractor], ...] = (ChromaStft, Fingerprint, LogMel, Mel, Mfcc, MusiCNN, SelfSimilarity, Stft, TorchModel)

__all__ = [
    "EXTRACTORS",
    "Batch",
    "ChromaBank",
    "ChromaStft",
    "Clip",
    "Column",
    "Extractor",
    "Fingerprint",
    "Live",
    "LogMel",
    "Mel",
    "MelBank",
    "Mfcc",
    "MusiCNN",
    "SelfSimilarity",
    "Spectrum",
    "Stft",
    "TorchModel",
    "Window",
]
