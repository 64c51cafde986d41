"""What texts say about terms, and which terms hold for what is made of several recordings."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.release.licences import Licence, allowed, asked, combined, understood


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC BY 4", "CC-BY-4.0"),
        ("(CC) BY-NC-SA", "CC-BY-NC-SA"),
        ("cc_by_nc_sa", "CC-BY-NC-SA"),
        ("by-nc-nd 4.0", "CC-BY-NC-ND-4.0"),
        ("CC BY-SA-NC 3.0", "CC-BY-NC-SA-3.0"),
        ("CC BY-NC-SA 3.0 DE", "CC-BY-NC-SA-3.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/", "CC-BY-NC-SA-3.0"),
        ("http://creativecommons.org/licenses/by/2.0/us/legalcode", "CC-BY-2.0"),
        ("Copyright 2005, licensed to the public under http://creativecommons.org/licenses/by/2.0/ verify at http://a.org", "CC-BY-2.0"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 3.0 International License", "CC-BY-NC-SA-3.0"),
        ("Creative Commons Attribution Non-Commercial No Derivative Works 3.0 Unported", "CC-BY-NC-ND-3.0"),
        ("Attribution Share Alike (CC BY-SA)", "CC-BY-SA"),
        ("Creative Commons Attribution 4.0 International (CC BY 4.0)", "CC-BY-4.0"),
        ("CC0", "CC0-1.0"),
        ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public-domain"),
        ("Public Domain", "public-domain"),
        ("ODbL 1.0", "ODbL-1.0"),
        ("Open Database License", "ODbL-1.0"),
        ("© 2010 Mira. All rights reserved.", "all-rights-reserved"),
        ("CC BY-NonCommercial 4.0", "CC-BY-NC-4.0"),
        ("CC BY, NC", "CC-BY-NC"),
        ("CC BY–NC‑SA 4.0", "CC-BY-NC-SA-4.0"),
        ("CC BYNCSA 3.0", "CC-BY-NC-SA-3.0"),
        ("CC BY-NC4.0", "CC-BY-NC-4.0"),
        ("CC BY\u00adNC", "CC-BY-NC"),
        ("ＣＣ　ＢＹ－ＮＣ", "CC-BY-NC"),
        ("Creative Commons Attribution and NonCommercial", "CC-BY-NC"),
        ("Attribution Noncommercial", "CC-BY-NC"),
        ("Creative Commons 0", "CC0-1.0"),
        ("CC0 1.0, no rights reserved", "CC0-1.0"),
        ("https://creativecommons.org/licenses/by%2Dnc/4.0/", "CC-BY-NC-4.0"),
        ('<a href="http://creativecommons.org/licenses/by-nd/4.0/">CC BY-ND 4.0</a>', "CC-BY-ND-4.0"),
    ],
)
def test_a_licence_is_understood_however_it_is_spelled(text: str, name: str) -> None:
    assert str(understood(text)) == name


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "free",
        "royalty free",
        "Creative Commons",
        "CC",
        "(c) 2012 Foo Records",
        "CC BY or CC BY-NC",
        "CC BY 3.0 and CC BY 4.0",
        "not CC BY",
        "CC BY 4.0 except track 3",
        "CC BY 4.0, all rights reserved",
        "CC BY-ND-SA 3.0",
        "https://creativecommons.org/licenses/sampling+/1.0/",
        "https://creativecommons.org/licenses/by.nc/4.0/",
        "http://notcreativecommons.org/licenses/by/4.0/",
        '<a href="http://creativecommons.org/licenses/by/4.0/">CC-BY-NC</a>',
        "CC BY 4.0 (NonCommercial use only)",
        "CC BY 4.0, personal use",
        "CC BY 4.0 ND",
        "CC BY-N-C",
        "CC BY-NС",  # a Cyrillic letter
        "CC BY 9.0",
        "CC bytes",
        "non-CC0",
        "no CC BY",
        "CC0?",
        "CC0, attribution required",
        "royalty free, attribution required",
        "Free Art License or CC BY-SA",
        "CC BY-SA 4.0 and GFDL",
        "\0 http://a.org \0",
    ],
)
def test_what_says_too_little_or_several_things_is_never_guessed_to_be_free(text: str | None) -> None:
    assert understood(text) == Licence("unknown")


@settings(deadline=None)
@given(
    st.sampled_from(["CC", "cc ", "Creative Commons ", "CC-"]),
    st.sampled_from(["BY", "by", "Attribution"]),
    st.lists(
        st.tuples(
            st.sampled_from(["-", " ", ", ", "–", "_", "/", " + ", " & ", ""]),
            st.sampled_from(
                ["NC", "nc", "Non-Commercial", "noncommercial", "ND", "NoDerivs", "No Derivatives", "SA", "Share Alike", "ShareAlike"]
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["", " 4.0", "-3.0", " v2.5", " (4.0)"]),
)
def test_no_spelling_loses_a_condition(cc: str, by: str, conditions: list[tuple[str, str]], version: str) -> None:
    said = cc + by + "".join(between + word for between, word in conditions) + version
    kinds = {"c": "nc", "d": "nd", "s": "sa"}
    asked_for = {
        kinds[word.lower()[1] if len(word) == 2 and word.lower() != "sa" else "s" if word[0] in "sS" else "c" if "om" in word else "d"]
        for _, word in conditions
    }
    assert asked_for <= understood(said).terms, said


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    assert str(understood(text))
    assert understood(f"{text} CC BY-NC 4.0").terms >= {"by", "nc"}


def test_what_earmark_writes_it_reads_again() -> None:
    families = ["CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-ND", "CC-BY-NC-SA", "CC-BY-NC-ND"]
    for family, version in itertools.product(families, ("1.0", "2.0", "2.5", "3.0", "4.0")):
        licence = Licence(family, version)
        assert understood(str(licence)) == understood(licence.link) == licence


def of(*names: str, changed: bool = True) -> tuple[str, str]:
    licence, why = combined([understood(name) for name in names], changed)
    return str(licence), why


@pytest.mark.parametrize(
    ("sources", "terms"),
    [
        (("CC0", "CC BY 4.0"), "CC-BY-4.0"),
        (("CC BY 3.0", "CC BY 4.0"), "CC-BY-4.0"),
        (("CC BY 4.0", "CC BY-NC 3.0"), "CC-BY-NC-3.0"),
        (("CC BY 4.0", "CC BY-SA 3.0"), "CC-BY-SA-3.0"),
        (("CC BY-SA 3.0", "CC BY-SA 4.0"), "CC-BY-SA-4.0"),
        (("CC BY-NC 4.0", "CC BY-NC-SA 3.0"), "CC-BY-NC-SA-3.0"),
        (("public domain", "CC0"), "CC0-1.0"),
        (("ODbL", "CC BY 4.0"), "ODbL-1.0"),
        (("CC BY 4.0", "who knows"), "unknown"),
        (("CC0", "who knows", "all rights reserved"), "all-rights-reserved"),
    ],
)
def test_a_mixture_carries_the_strictest_terms_of_its_sources(sources: tuple[str, ...], terms: str) -> None:
    assert of(*sources) == (terms, "")
    assert of(*reversed(sources)) == (terms, "")


@pytest.mark.parametrize(
    "sources",
    [
        ("CC BY-SA 3.0", "CC BY-NC-SA 3.0"),
        ("CC BY-SA 4.0", "CC BY-NC 4.0"),
        ("CC BY-ND 4.0", "CC0"),
        ("CC BY-NC-ND 4.0", "CC BY-NC-ND 4.0"),
        ("CC BY-SA 1.0", "CC BY-SA 2.0"),
        ("CC BY-SA", "CC BY-SA 4.0"),
        ("ODbL", "CC BY-SA 4.0"),
        ("ODbL", "CC BY-NC 4.0"),
    ],
)
def test_terms_that_cannot_be_met_together_are_named(sources: tuple[str, ...]) -> None:
    assert of(*sources)[1]


# Of the chart of licences' compatibility, wiki.creativecommons.org/wiki/License_compatibility: what may be combined.
FREE = ("public domain", "CC0")
CHART = {
    **dict.fromkeys(FREE, (*FREE, "CC BY", "CC BY-SA", "CC BY-NC", "CC BY-NC-SA")),
    "CC BY": (*FREE, "CC BY", "CC BY-SA", "CC BY-NC", "CC BY-NC-SA"),
    "CC BY-SA": (*FREE, "CC BY", "CC BY-SA"),
    "CC BY-NC": (*FREE, "CC BY", "CC BY-NC", "CC BY-NC-SA"),
    "CC BY-NC-SA": (*FREE, "CC BY", "CC BY-NC", "CC BY-NC-SA"),
    "CC BY-ND": (),
    "CC BY-NC-ND": (),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.product(CHART, repeat=2)))
def test_what_may_be_mixed_is_what_the_chart_of_creative_commons_allows(one: str, other: str) -> None:
    for versions in itertools.product(("2.0", "3.0", "4.0"), repeat=2):
        licences = [
            understood(f"{name} {version}" if name.startswith("CC BY") else name)
            for name, version in zip((one, other), versions, strict=True)
        ]
        terms, why = combined(licences, True)
        assert (not why) == (other in CHART[one])
        if not why:
            assert terms.terms == licences[0].terms | licences[1].terms
            assert all(each.version <= terms.version for each in licences if each.family == terms.family)


def test_sound_that_may_not_be_changed_may_be_cut_out_and_not_augmented() -> None:
    assert of("CC BY-ND 4.0", changed=False) == ("CC-BY-ND-4.0", "")
    assert of("CC BY-ND 4.0", changed=True) == ("CC-BY-ND-4.0", "CC-BY-ND-4.0 allows no changed sound")


def test_each_source_asks_no_more_than_the_mixture_grants() -> None:
    names = [
        "CC0",
        "public domain",
        "CC BY 3.0",
        "CC BY-SA 3.0",
        "CC BY-SA 4.0",
        "CC BY-NC 4.0",
        "CC BY-NC-SA 4.0",
        "CC BY-ND 4.0",
        "ODbL",
        "?",
    ]
    for pair in itertools.product(names, repeat=2):
        licence, why = combined([understood(each) for each in pair], True)
        if not why:
            assert all(understood(each).terms <= licence.terms or licence.family == "unknown" for each in pair)


def test_allowed_licences_are_of_any_version_unless_one_is_named() -> None:
    assert allowed(understood("CC BY 3.0"), ["CC0", "CC-BY"])
    assert not allowed(understood("CC BY 3.0"), ["CC-BY-4.0"])
    assert not allowed(understood("CC BY-NC 4.0"), ["CC0", "CC-BY", "CC-BY-SA"])
    assert not allowed(understood("public domain"), ["CC0"])
    assert not allowed(understood(""), ["CC0", "CC-BY"])
    assert allowed(understood(""), ["unknown"])
    with pytest.raises(ValueError, match="'free' is no licence known here"):
        asked("free")
