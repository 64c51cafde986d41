"""The labelling screen, as Label Studio's XML: made from a campaign's questions, or a lead's own, checked against them.

    interface(campaign) -> XML              what a project's label_config is to be
    check_interface(xml, campaign) -> [..]  what is wrong with a lead's own XML, a line each
    controls(xml) -> {name: Shown}          the controls of a screen that is there
    removed(old, new) -> {name: choices}    answers that a new screen would orphan

Every question is a control of its name on the sound "audio", and answers come back as its tag's type: "choices" (Choices), "labels"
(Labels: regions), "number" (Number) or "textarea" (TextArea). Values in answers are the question's own, whatever people read (`alias`).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotation.campaign import Campaign
from annotation.colours import colour
from annotation.question import Question

SOUND = "audio"  # the name of the sound's tag, and of the task's column with its URL
FIELDS = ("audio", "title", "ext_id", "track_id", "clip_id", "view_id", "start", "seconds")  # columns that every task has
SEARCHED = 24  # more choices than these can be searched
KEYED = 12  # choices of a question that get keys, at most
KEYS = "1234567890qwertasdfgzxcvbyiophjklnm"  # no u: it unselects a region

_CONTROLS = ("Choices", "Labels", "Number", "TextArea")
_AROUND: tuple[str, ...] = (
    "Audio",
    "Choice",
    "Collapse",
    "Dialog",
    "Filter",
    "Header",
    "HyperText",
    "Image",
    "Label",
    "List",
    "Markdown",
    "PagedView",
)
_AROUND += ("Panel", "Paragraphs", "Pdf", "RichText", "Shortcut", "Style", "Table", "Text", "Video", "View")
_DEEP, _TAGS = 64, 20_000  # of a screen's tags
_STYLE = """
.earmark-sound { position: sticky; top: 0; z-index: 5; background: var(--color-neutral-background, Canvas); }
.earmark-question { padding: 4px 0 12px; border-top: 1px solid var(--color-neutral-border, #8884); }
.earmark-long { max-height: 18em; overflow-y: auto; }
.earmark-flat .lsf-choices, .earmark-group { display: grid; grid-template-columns: repeat(auto-fill, minmax(12em, 1fr)); gap: 6px 16px; }
.earmark-group h4 { grid-column: 1 / -1; margin: 8px 0 0 !important; font-size: 14px; opacity: 0.75; }
.earmark-question .lsf-choice { margin: 0; }
.earmark-question .ant-input { background: transparent; color: inherit; }
.earmark-question .lsf-choice label, .earmark-question .lsf-label { white-space: normal; overflow-wrap: anywhere; line-height: 1.3; }
"""


@dataclass(frozen=True)
class Shown:
    """A control of a screen; values: the choices as they are stored; kind: of the labels that it was made for, "" if it does not say."""

    tag: str
    values: tuple[str, ...]
    multiple: bool
    kind: str


def interface(campaign: Campaign) -> str:
    """The screen's XML: the campaign's own if it has one, else made from its questions.

    Raises:
        ValueError: the campaign's own does not fit its questions; a line for each mistake.
    """
    if campaign.interface:
        if mistakes := check_interface(campaign.interface, campaign):
            raise ValueError("\n".join(f"interface: {mistake}" for mistake in mistakes))
        return campaign.interface
    view = ET.Element("View")
    ET.SubElement(view, "Style").text = _STYLE
    ET.SubElement(view, "Header", value="$title", size="4")
    ET.SubElement(
        view, "Audio", name=SOUND, value=f"${SOUND}", hotkey="space", zoom="true", speed="true", volume="true", spectrogram="true"
    )
    colours, keys = 0, _keys(campaign)
    for question in campaign.questions:
        _ask(view, question, colours, keys)
        colours += len(question.values) if question.control == "Labels" else 0
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _keys(campaign: Campaign) -> dict[tuple[str, str], str]:
    """A key for each choice that has one: those of the file, then the rest in order. Label Studio would give all to the first long list."""
    given = {(question.name, value): key for question in campaign.questions for value, key in question.hotkeys.items()}
    free = (key for key in KEYS if key not in given.values())
    wanted = [(each.name, value) for each in campaign.questions if len(each.values) <= KEYED for value in each.values]
    return given | dict(zip((each for each in wanted if each not in given), free, strict=False))


def _ask(view: ET.Element, question: Question, colours: int, keys: Mapping[tuple[str, str], str]) -> None:
    """One question: what it asks, a field to search in, and its control. `colours`: how many are taken."""
    block = ET.SubElement(view, "View", className="earmark-question")
    ET.SubElement(block, "Header", value=_plain(question.text), size="5")
    if len(question.values) > SEARCHED:
        search = {"name": f"{question.name}-search", "toName": question.name, "minlength": "0", "placeholder": "Search"}
        ET.SubElement(block, "Filter", search)
    shape = ["earmark-flat"] * (len(question.choices) == 1 and "" in question.choices) + ["earmark-long"] * (len(question.values) > 60)
    around = ET.SubElement(block, "View", className=" ".join(shape)) if shape else block
    control = ET.SubElement(around, question.control, name=question.name, toName=SOUND, kind=question.kind)
    if question.required:
        control.set("required", "true")
        control.set("requiredMessage", _plain(f"Please answer: {question.text}"))
    if question.control == "Number":
        control.attrib |= {"min": "1", "max": "1000", "step": "0.01"}
    elif question.control == "TextArea":
        control.attrib |= {"rows": "2", "editable": "true"} | ({} if question.multiple else {"maxSubmissions": "1"})
    else:
        control.set("choice", "multiple" if question.multiple else "single")
    for heading, values in question.choices.items():
        group = ET.SubElement(control, "View", className="earmark-group") if heading else control
        if heading:
            ET.SubElement(group, "Header", value=_plain(heading), size="5")
        for value in values:
            _choose(group, question, value, colours, keys.get((question.name, value)))
            colours += 1


def _choose(group: ET.Element, question: Question, value: str, index: int, key: str | None) -> None:
    words = _plain(question.shown.get(value, value))
    choice = ET.SubElement(group, "Label" if question.control == "Labels" else "Choice", value=words)
    if words != value:
        choice.set("alias", value)
    if key:
        choice.set("hotkey", key)
    if question.control == "Labels":
        choice.set("background", colour(index))


def _plain(text: str) -> str:
    """Words in which Label Studio sees no variable: "$word" would be replaced by a column of the task, without a joiner of no width."""
    return re.sub(r"\$(?=[\w\[\].{}])", "\u2060$\u2060", text)


def controls(xml: str) -> dict[str, Shown]:
    """The controls of a screen, by name.

    Raises:
        ValueError: not XML.
    """
    return {
        tag.get("name", ""): _shown(tag)
        for tag in screen(xml).iter()
        if tag.tag in _CONTROLS or (tag.get("toName") and tag.tag != "Filter")
    }


def _shown(tag: ET.Element) -> Shown:
    values = tuple(each.get("alias") or each.get("value") or "" for each in tag.iter() if each.tag in ("Choice", "Label"))
    return Shown(tag.tag, values, tag.get("choice") == "multiple", tag.get("kind", ""))


class _Screen(ET.TreeBuilder):
    """What is made of a screen's XML: work on it grows with the square of its depth, and a server's or a lead's file may be anything."""

    depth = tags = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self.depth, self.tags = self.depth + 1, self.tags + 1
        if self.depth > _DEEP or self.tags > _TAGS or len(attrs) > _DEEP:
            raise ValueError(
                f"more than {_TAGS:,} tags, or tags more than {_DEEP} deep or with as many attributes; nobody could answer that"
            )
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag)


def screen(xml: str) -> ET.Element:
    """A screen's root.

    Raises:
        ValueError: not XML, or more than a screen is; nothing outside of it is ever looked at.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ValueError("a DOCTYPE or ENTITY is not allowed; leave it out")
    try:
        return ET.fromstring(xml, ET.XMLParser(target=_Screen()))
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    except UnicodeEncodeError:
        raise ValueError("not XML: it has half a character") from None


def check_interface(xml: str, campaign: Campaign, fields: Collection[str] = FIELDS) -> list[str]:
    """What keeps a screen from asking a campaign's questions, a line each; none if it is good.

    Args:
        fields: columns that every task has.
    """
    try:
        root = screen(xml)
        found = controls(xml)
    except ValueError as error:
        return [str(error)]
    mistakes = _sound(root) + _tags(root, fields)
    for question in campaign.questions:
        if question.name not in found:
            there = f' <{question.control} name="{question.name}" toName="{SOUND}">'
            mistakes.append(f"question {question.name!r} has no control; add{there}")
        else:
            mistakes += _fits(question, found[question.name])
    asked = {question.name for question in campaign.questions}
    mistakes += [
        f"<{shown.tag}> {name!r} belongs to no question; there are {', '.join(asked)}" for name, shown in found.items() if name not in asked
    ]
    return mistakes


def _sound(root: ET.Element) -> list[str]:
    sounds = list(root.iter("Audio"))
    if len(sounds) == 1 and sounds[0].get("name") == SOUND and sounds[0].get("value") == f"${SOUND}":
        return []
    return [f'{len(sounds)} <Audio> tags, or one of another name; there is to be one: <Audio name="{SOUND}" value="${SOUND}"/>']


def _tags(root: ET.Element, fields: Collection[str]) -> list[str]:
    mistakes = []
    names = Counter(tag.get("name") for tag in root.iter() if tag.get("name"))
    mistakes += [f"the name {name!r} is given {count} times" for name, count in names.items() if count > 1]
    for tag in root.iter():
        where = f"<{tag.tag}>" + (f" {tag.get('name')!r}" if tag.get("name") else "")
        if tag.tag not in _CONTROLS and tag.tag not in _AROUND and not tag.get("toName"):
            mistakes.append(f"{where}: Label Studio knows no such tag, or it has no place here")
        to = tag.get("toName")
        if tag.tag in _CONTROLS and to != SOUND:
            mistakes.append(f"{where}: toName is {to!r}, not {SOUND!r}")
        elif to and to not in names:
            mistakes.append(f"{where}: toName {to!r} is the name of no tag")
        if tag.get("perRegion") == "true" or tag.get("perItem") == "true":
            mistakes.append(f"{where}: perRegion and perItem are not read back; ask a question with regions = true instead")
        for said in (tag.get("value", ""), tag.get("valueList", "")):
            mistakes += [
                f"{where}: tasks have no column {name!r}; there are {', '.join(fields)}"
                for name in re.findall(r"\$([\w\[\].{}]+)", said)
                if name not in fields
            ]
    return mistakes


def _fits(question: Question, shown: Shown) -> list[str]:
    name, mistakes = question.name, []
    if shown.tag != question.control:
        return [f"question {name!r} needs a <{question.control}>, not a <{shown.tag}>"]
    if shown.multiple != question.multiple and question.values:
        mistakes.append(f"question {name!r} takes {'several answers' if question.multiple else 'one answer'}; its control does not")
    if shown.kind not in ("", question.kind):
        mistakes.append(f"question {name!r} is of kind {question.kind!r}, its control of {shown.kind!r}")
    if missing := [value for value in question.values if value not in shown.values]:
        mistakes.append(f"question {name!r}: no {_list(missing)} to choose")
    if strange := [value for value in shown.values if value not in question.values]:
        mistakes.append(f"question {name!r}: {_list(strange)} is not among its choices")
    mistakes += [f"question {name!r}: {value!r} stands {count} times" for value, count in Counter(shown.values).items() if count > 1]
    return mistakes


def _list(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def removed(old: str, new: str) -> dict[str, tuple[str, ...] | None]:
    """What answers given on an old screen would lose on a new one.

    Args:
        old, new: XML.
    Returns:
        by control: the choices that went, as they are stored; None where the control went as a whole, or became one of another tag or kind.
    Raises:
        ValueError: one is not XML.

    >>> one = '<View><Choices name="mood" toName="audio"><Choice value="calm"/><Choice value="sad"/></Choices></View>'
    >>> removed(one, one.replace('<Choice value="sad"/>', "")), removed(one, "<View/>")
    ({'mood': ('sad',)}, {'mood': None})
    """
    after, lost = controls(new), dict[str, tuple[str, ...] | None]()
    for name, was in controls(old).items():
        now = after.get(name)
        if now is None or now.tag != was.tag or (now.kind and was.kind and now.kind != was.kind):
            lost[name] = None
        elif gone := tuple(value for value in was.values if value not in now.values):
            lost[name] = gone
    return lost
