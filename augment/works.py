"""Which real scores there are to play: a fixed choice from music21's corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# music21's corpus/license.txt: "To the best of our knowledge, each piece of music in the corpus is either out of copyright in
# the United States or is licensed for use, though there may be restrictions on commercial use."
UNSTATED = "composition in the public domain; encoding as distributed with music21, no license stated in the score"


@dataclass(frozen=True)
class Work:
    """A score to choose, and what its file does not say dependably.

    path: within music21's corpus. number: the tune's, in a book of tunes.
    key: of the beginning, by tonic and mode, as heard: files often give the signature alone.
    tempo: beats per minute at which it is usually played, in the beats of `beat_length`.
    """

    path: str
    title: str
    composer: str
    key: str
    tempo: float
    number: int | None = None
    license: str = UNSTATED

    @property
    def name(self) -> str:
        """A short name that is safe in a path.

        >>> Work("", "String Quartet K. 155, I", "Wolfgang Amadeus Mozart", "", 1).name
        'mozart-string-quartet-k-155-i'
        """
        return "-".join(re.findall(r"[a-z0-9]+", f"{self.composer.split()[-1]} {self.title}".lower().replace("'", "")))


def _chorale(bwv: str, key: str, tempo: float = 72) -> Work:
    return Work(f"bach/bwv{bwv}.mxl", f"Chorale, BWV {bwv}", "Johann Sebastian Bach", key, tempo)


def _tune(file: str, title: str, key: str, tempo: float, number: int | None = None) -> Work:
    return Work(file, title, "traditional", key, tempo, number)


_MOZART = "Wolfgang Amadeus Mozart"
_HAYDN = "Joseph Haydn"
_CYPRESSDOME = "CC BY-SA 4.0 (typeset by Cypressdome for IMSLP)"

# By kind; the kinds take turns, so that few pieces are already of every kind.
WORKS: Mapping[str, tuple[Work, ...]] = {
    "chorale": (
        _chorale("253", "A major"),
        _chorale("66.6", "F# minor"),
        _chorale("26.6", "A minor"),
        _chorale("269", "G major", 88),
        _chorale("360", "Bb major"),
        _chorale("349", "F major", 88),
        _chorale("291", "D minor"),
        _chorale("398", "D major"),
        _chorale("436", "E major"),
        _chorale("229.2", "G minor", 88),
        _chorale("88.7", "B minor"),
        _chorale("259", "E minor"),
    ),
    "folk": (
        _tune("airdsAirs/book1.abc", "The Ranting Highlandman", "G major", 84, 1),
        _tune("ryansMammoth/ShawsReel.abc", "Shaw's Reel", "G major", 88),
        _tune("ryansMammoth/HillsOfGlenurchieJig.abc", "Hills of Glenurchie", "E minor", 104),
        _tune("ryansMammoth/LiverpoolHornpipe.abc", "Liverpool Hornpipe", "D major", 76),
        _tune("ryansMammoth/IrishWashWomanJig.abc", "Irish Wash-Woman", "G major", 108),
        _tune("ryansMammoth/MollRoeInTheMorningJig.abc", "Moll Roe in the Morning", "D major", 104),
        _tune("ryansMammoth/BeebesHornpipe.abc", "Beebe's Hornpipe", "Bb major", 76),
        _tune("ryansMammoth/DewDropHornpipe.abc", "Dew-Drop Hornpipe", "A major", 76),
        _tune("oneills1850/0001-0050.abc", "The Little Heathy Hill", "G minor", 100, 3),
        _tune("oneills1850/0001-0050.abc", "The Red Haired Girl", "D major", 96, 12),
        _tune("oneills1850/0001-0050.abc", "Raking Red Haired Pat", "G minor", 80, 15),
    ),
    "quartet": (
        Work("haydn/opus1no1/movement2.mxl", "String Quartet Op. 1 No. 1, II", _HAYDN, "Bb major", 126),
        Work("haydn/opus74no1/movement1.mxl", "String Quartet Op. 74 No. 1, I", _HAYDN, "C major", 132),
        Work("mozart/k155/movement1.mxl", "String Quartet K. 155, I", _MOZART, "D major", 126),
        Work("mozart/k155/movement2.mxl", "String Quartet K. 155, II", _MOZART, "A major", 72),
        Work("mozart/k156/movement1.mxl", "String Quartet K. 156, I", _MOZART, "G major", 160),
        Work("mozart/k458/movement3.mxl", "String Quartet K. 458, III", _MOZART, "Eb major", 54),
        Work("mozart/k80/movement1.mxl", "String Quartet K. 80, I", _MOZART, "G major", 66),
        Work("mozart/k80/movement2.mxl", "String Quartet K. 80, II", _MOZART, "G major", 132),
        Work("schumann_robert/opus41no1/movement2.mxl", "String Quartet Op. 41 No. 1, II", "Robert Schumann", "A minor", 126),
    ),
    "keyboard": (
        Work("joplin/maple_leaf_rag.mxl", "Maple Leaf Rag", "Scott Joplin", "Ab major", 88),
        Work("mozart/k545/movement1_exposition.mxl", "Piano Sonata K. 545, I", _MOZART, "C major", 126),
        Work("cpebach/h186.mxl", "Sonata H. 186, II", "Carl Philipp Emanuel Bach", "F# minor", 54),
        Work("schumann_clara/polonaise_op1n1.mxl", "Polonaise Op. 1 No. 1", "Clara Schumann", "Eb major", 92, license=_CYPRESSDOME),
        Work("schumann_clara/polonaise_op1n3.mxl", "Polonaise Op. 1 No. 3", "Clara Schumann", "D major", 92, license=_CYPRESSDOME),
        Work("chopin/mazurka06-2.krn", "Mazurka Op. 6 No. 2", "Frédéric Chopin", "C# minor", 126),
    ),
}
