"""Licences: what a text says, and which terms hold for sound that was made of several recordings. Nothing is guessed to be free."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

UNKNOWN, RESERVED, PUBLIC, ODBL = "unknown", "all-rights-reserved", "public-domain", "ODbL"

_CONDITIONS = (("nc", r"non[\s-]*commercial"), ("nd", r"no[\s-]*deriv(?:ative[\s-]*work|ative|)s?"), ("sa", r"share[\s-]*alike"))
_WORDS = "|".join(f"(?:{word})" for _, word in _CONDITIONS)
_VERSION = r"(?:[\s_-]*v?(?:ersion[\s]*)?([1-4](?:\.[0-9])?)(?![0-9]))?"
_URL = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)(?:/([1-4]\.[0-9]))?")
_SHORT = re.compile(rf"\bcc[\s_:-]*by((?:[\s_/+-]*(?:nc|nd|sa)\b)*){_VERSION}")
_BARE = re.compile(rf"by((?:-(?:nc|nd|sa))*){_VERSION}")
_LONG = re.compile(rf"\battribution((?:[\s,_/-]*(?:{_WORDS}))*)(?:[\s_-]+(?:licen[cs]e|international|unported|generic))*{_VERSION}")
_ZERO = re.compile(r"\bcc[\s_-]*(?:0|zero)\b|creative[\s-]*commons[\s-]*zero|publicdomain/zero")
_PUBLIC = re.compile(r"\bpublic[\s_-]*domain\b|publicdomain/mark|licenses/publicdomain")
_ODBL = re.compile(r"\bodbl\b|open[\s-]*(?:data[\s-]*)?base[\s-]*licen[cs]e|opendatacommons\.org/licenses/odbl")
_RESERVED = re.compile(r"all[\s_-]*rights[\s_-]*reserved|alle rechte vorbehalten|tous droits r[ée]serv[ée]s|\bunauthori[sz]ed\b")
# Words by which a text may take back what it names.
_DOUBT = re.compile(r"\b(?:not|isn't|except|formerly|no longer|unless|until|contact|ask|excluding)\b")


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
    said = " ".join((text or "").casefold().replace("(", " ").replace(")", " ").replace("_", "-").split())
    found = set(_named(said))
    versioned = {each.family for each in found if each.version}
    found = {each for each in found if each.version or each.family not in versioned}  # "CC BY (…/by/4.0/)" is one licence
    if len(found) != 1:
        return Licence(RESERVED) if not found and _RESERVED.search(said) else Licence(UNKNOWN)
    if _DOUBT.search(said) or _RESERVED.search(said.replace("some rights reserved", "")):
        return Licence(UNKNOWN)
    return found.pop()


def _named(said: str) -> list[Licence]:
    found = []
    for kind, version in _URL.findall(said):
        if kind.rstrip("/") not in ("zero", "mark", "publicdomain"):
            found.append(_attribution(kind, version))
    rest = re.sub(r"https?://\S+", " ", said)
    whole = _BARE.fullmatch(rest.strip())
    for match in [whole] if whole else [*_SHORT.finditer(rest), *_LONG.finditer(rest)]:
        found.append(_attribution("by-" + match[1], match[2] or ""))
    if _ZERO.search(said):
        found.append(Licence("CC0", "1.0"))
    elif _PUBLIC.search(said):
        found.append(Licence(PUBLIC))
    if _ODBL.search(said):
        found.append(Licence(ODBL, "1.0"))
    return found


def _attribution(conditions: str, version: str) -> Licence:
    """A Creative Commons licence by its conditions, in whatever order and spelling."""
    for short, word in _CONDITIONS:
        conditions = re.sub(word, f"-{short}-", conditions)
    given = set(re.findall(r"[a-z]+\+?", conditions))
    family = "CC-BY" + "".join(f"-{each.upper()}" for each in ("nc", "nd", "sa") if each in given)
    if "by" not in given or given - {"by", "nc", "nd", "sa"} or {"nd", "sa"} <= given:
        return Licence(UNKNOWN)
    return Licence(family, version if not version or "." in version else f"{version}.0")


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
