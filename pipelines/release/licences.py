"""Licences: what a text says, and which terms hold for sound that was made of several recordings. Nothing is guessed to be free."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

UNKNOWN, RESERVED, PUBLIC, ODBL = "unknown", "all-rights-reserved", "public-domain", "ODbL"

# Words as their letters: so a name in full is read as a short one.
_LETTERS = (
    ("cc", r"creative[\s-]*commons"),
    ("nc", r"non?[\s-]*commercial(?:[\s-]*use)?"),
    ("nd", r"no[\s-]*deriv(?:ative[\s-]*work|ative|)s?"),
    ("sa", r"share[\s-]*alike"),
    ("by", r"attribution"),
)
_VERSIONS = ("", "1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
_VERSION = r"(?:[\s,-]*(?:licen[cs]e|international|unported|generic))*(?:[\s,-]*v?(?:ersion\s*)?(\d(?:\.\d)?)(?!\d))?"
# Nothing else may be tied to the conditions: "by-n-c" is not BY.
_BY = r"by((?:[\s,;:.&/+-]*(?:and\s+)?(?:nc|nd|sa))*)(?!(?:\s*-\s*)?[^\W\d])" + _VERSION
_NAMED, _BARE = re.compile(rf"\bcc[\s:-]*{_BY}"), re.compile(_BY)
_URL = re.compile(r"(?<![\w.-])(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/([^/?#\s<>\"'\])]+)(?:/(\d\.\d)\b)?")
_ADDRESS = re.compile(r"(?:https?://|\bwww\.|\bcreativecommons\.org/)[^\s<>\"'\])]*")
_ZERO = re.compile(r"\bcc[\s-]*(?:0|zero)\b|publicdomain/zero")
_PUBLIC = re.compile(r"\bpublic[\s-]*domain\b|publicdomain/mark|licenses/publicdomain")
_ODBL = re.compile(r"\bodbl\b|open[\s-]*(?:data[\s-]*)?base[\s-]*licen[cs]e|opendatacommons\.org/licenses/odbl")
_RESERVED = re.compile(r"all[\s-]*rights[\s-]*reserved|alle rechte vorbehalten|tous droits r[ée]serv[ée]s|\bunauthori[sz]ed\b")
# Words by which a text may take back what it names, or ask for more.
_DOUBT = re.compile(
    r"\?|n't\b|\b(?:not|never|no(?! rights reserved| copyright)|non|without|except|excluding|formerly|previously|was|were|but|or|only"
    r"|unless|until|expired|revoked|pending|maybe|perhaps|probably|contact|ask|permission|personal|private|research|educational|preview|gfdl|gpl)\b"
    r"|[ck]om+er[czs]|free art"
)


@dataclass(frozen=True)
class Licence:
    """What a licence asks of whoever passes the sound on. version: "" where it is not said.

    by: name the author. sa: adaptations under the same licence. nc: no commerce. nd: no adaptations.
    """

    family: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.family}-{self.version}" if self.version else self.family

    @property
    def terms(self) -> frozenset[str]:
        """Of by, nc, sa, nd; for what grants nothing, all of these and `closed`."""
        if self.family in (UNKNOWN, RESERVED):
            return frozenset(("by", "nc", "sa", "nd", "closed"))
        if self.family == ODBL:
            return frozenset(("by", "sa", "odbl"))
        return frozenset(self.family.lower().split("-")[1:]) if self.family.startswith("CC-") else frozenset()

    @property
    def link(self) -> str:
        """Where its text is; "" where there is none."""
        if self.family == "CC0":
            return "https://creativecommons.org/publicdomain/zero/1.0/"
        if self.family == PUBLIC:
            return "https://creativecommons.org/publicdomain/mark/1.0/"
        if self.family == ODBL:
            return "https://opendatacommons.org/licenses/odbl/1-0/"
        if not self.family.startswith("CC-"):
            return ""
        return f"https://creativecommons.org/licenses/{self.family[3:].lower()}/{self.version + '/' if self.version else ''}"

    @property
    def strictness(self) -> tuple[int, bool, bool, bool, bool, str]:
        """By which licences are put in an order, the freest first."""
        terms = self.terms
        return ("closed" in terms) + (self.family == RESERVED), "nd" in terms, "nc" in terms, "sa" in terms, "by" in terms, str(self)


@lru_cache(65_536)
def understood(text: str | None) -> Licence:
    """What a text says, however it is spelled; `unknown` where it says nothing, too little, or several things.

    >>> [str(understood(each)) for each in ("CC BY 4.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/us/", "cc0", "free to use")]
    ['CC-BY-4.0', 'CC-BY-NC-SA-3.0', 'CC0-1.0', 'unknown']
    >>> str(understood("Creative Commons Attribution-NonCommercial 3.0")), str(understood("© 2010 Mira. All rights reserved."))
    ('CC-BY-NC-3.0', 'all-rights-reserved')
    """
    said = _plain(text or "")
    found = set(_named(said))
    versioned = {each.family for each in found if each.version}
    found = {each for each in found if each.version or each.family not in versioned}  # "CC BY (…/by/4.0/)" is one licence
    rest = _ADDRESS.sub(" ", said)
    if len(found) != 1:
        return Licence(RESERVED) if not found and _RESERVED.search(rest) else Licence(UNKNOWN)
    (licence,) = found
    more = set(re.findall(r"(?<![a-z])(?:nc|nd|sa)(?![a-z])", rest)) | ({"by"} if "attribution" in (text or "").casefold() else set())
    return Licence(UNKNOWN) if more - licence.terms or _DOUBT.search(rest) or _RESERVED.search(rest) else licence


def _plain(text: str) -> str:
    """A text in small letters, with one kind of dash and space, and licences' words as their letters."""
    said = unicodedata.normalize("NFKC", unquote(text)).casefold()
    # Soft hyphens and the like are nothing, control characters and brackets are spaces.
    stands = {"Pd": "-", "Pc": "-", "Cf": "", "Cc": " ", "Ps": " ", "Pe": " "}
    kinds = {letter: unicodedata.category(letter) for letter in set(said)}
    said = " ".join(said.translate({ord(letter): stands[kind] for letter, kind in kinds.items() if kind in stands} | {0x2212: "-"}).split())
    addresses = _ADDRESS.findall(said)
    said = _ADDRESS.sub(" \0 ", said)
    for letters, words in _LETTERS:
        said = re.sub(words, letters, said)
    return re.sub("\0", lambda _: addresses.pop(0), said)


def _named(said: str) -> Iterator[Licence]:
    for kind, version in _URL.findall(said):
        if (kind := kind.rstrip(".,;:")) not in ("zero", "mark", "publicdomain"):
            match = re.fullmatch(r"by((?:-(?:nc|nd|sa))*)", kind)
            yield _attribution(match[1], version) if match else Licence(UNKNOWN)
    rest = _ADDRESS.sub(" ", said).strip()
    whole = _BARE.fullmatch(rest)
    for match in [whole] if whole else _NAMED.finditer(rest):
        yield _attribution(match[1], match[2] or "")
    if _ZERO.search(said):
        yield Licence("CC0", "1.0")
    elif _PUBLIC.search(said):
        yield Licence(PUBLIC)
    if _ODBL.search(said):
        yield Licence(ODBL, "1.0")


def _attribution(conditions: str, version: str) -> Licence:
    """A Creative Commons licence by its conditions, in whatever order."""
    given = set(re.findall("nc|(?<!a)nd|sa", conditions))
    version = version if not version or "." in version else f"{version}.0"
    if {"nd", "sa"} <= given or version not in _VERSIONS:
        return Licence(UNKNOWN)
    return Licence("CC-BY" + "".join(f"-{each.upper()}" for each in ("nc", "nd", "sa") if each in given), version)


def combined(sources: Collection[Licence], changed: bool) -> tuple[Licence, str]:
    """The terms under which sound may be passed on that was made of these sources: all that any of them asks.

    A stretch that was cut out, and numbers computed from it, count as unchanged; an augmented view and a mixture count as changed.

    Returns:
        the strictest terms, and why they cannot be met ("" if they can).

    >>> str(combined([Licence("CC-BY", "4.0"), Licence("CC-BY-NC", "3.0")], True)[0])
    'CC-BY-NC-3.0'
    >>> combined([Licence("CC-BY-SA", "3.0"), Licence("CC-BY-NC-SA", "3.0")], True)[1]
    'CC-BY-NC-SA-3.0 and CC-BY-SA-3.0 each ask that what is made of them has their own licence'
    """
    ordered = sorted(set(sources), key=lambda each: each.strictness)
    if not ordered:
        return Licence(UNKNOWN), ""
    strictest = ordered[-1]
    if "closed" in strictest.terms:
        return strictest, ""
    changed = changed or len(ordered) > 1
    if kept := [each for each in ordered if "nd" in each.terms]:
        return kept[-1], f"{kept[-1]} allows no changed sound" if changed else ""
    alike = [each for each in ordered if "sa" in each.terms]
    if not alike:
        # The strictest kind, in its latest version among those that are there.
        return max((each for each in ordered if each.terms == strictest.terms), key=lambda each: each.version), ""
    names = " and ".join(sorted(str(each) for each in alike))
    if len({each.family for each in alike}) > 1:
        return alike[-1], f"{names} each ask that what is made of them has their own licence"
    binding = max(alike, key=lambda each: each.version)
    # From version 2.0 on, what is made of a share-alike work may take a later version of its licence.
    if len(alike) > 1 and any(each.version in ("", "1.0") for each in alike):
        return binding, f"{names}: whether one version's terms meet the other's is not said"
    if extra := next((each for each in ordered if each.terms - binding.terms), None):
        return binding, f"{binding} asks for its own licence, and {extra} for more than that grants"
    return binding, ""


def allowed(licence: Licence, among: Collection[str]) -> bool:
    """Whether a licence is one of those named; a name without a version means all versions.

    >>> allowed(Licence("CC-BY", "4.0"), ["CC0", "CC BY"]), allowed(Licence("CC-BY", "3.0"), ["CC BY 4.0"])
    (True, False)
    """
    named = (asked(each) for each in among)
    return any(each.family == licence.family and (_anyhow(each) or each.version == licence.version) for each in named)


def _anyhow(asked: Licence) -> bool:
    return not asked.version or asked.family in ("CC0", ODBL)


def asked(name: str) -> Licence:
    """A licence that a person names, who may also name what grants nothing.

    Raises:
        ValueError: no licence that is known.

    >>> asked("by-sa"), asked("unknown")
    (Licence(family='CC-BY-SA', version=''), Licence(family='unknown', version=''))
    """
    if name.casefold() in (UNKNOWN, RESERVED, PUBLIC):
        return Licence(name.casefold())
    if (found := understood(name)).family == UNKNOWN:
        raise ValueError(f"{name!r} is no licence known here; as in CC0, CC-BY, CC-BY-SA-4.0, CC-BY-NC-SA, public-domain, ODbL")
    return found
