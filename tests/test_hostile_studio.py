"""Whatever Label Studio answers is labels, rows and problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from annotation.answer import news
from annotation.results import to_labels
from tests.hostile import fuzz
from tests.test_results import CAMPAIGN, NOON, TASK

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, "\ud800", "\0", "calm"])
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)
_names = st.sampled_from([question.name for question in CAMPAIGN.questions])
_kinds = st.sampled_from(["choices", "taxonomy", "labels", "number", "textarea"])
_values = st.dictionaries(
    st.sampled_from(["choices", "taxonomy", "labels", "number", "text", "start", "end"]), _json | st.floats(0, 30), max_size=4
)
_items = st.fixed_dictionaries(
    {},
    optional={"from_name": _names | _json, "type": _kinds | _json, "value": _values | _json, "score": _json, "origin": _json, "id": _json},
)
_results = st.lists(_items | _json, max_size=4) | _json


def test_any_answer_is_labels_and_problems(tmp_path: Path) -> None:
    def check(given: tuple[Any, str, bool]) -> None:
        result, kind, skipped = given
        labels, problems = to_labels(result, TASK, CAMPAIGN, "mira@example.org", NOON, author_kind=kind, skipped=skipped)  # type: ignore[arg-type]
        assert all("\n" not in str(problem) for problem in problems)
        for label in labels:
            assert "\0" not in label.value
            label.value.encode()
            assert label.start is None or 0 <= label.start <= label.start + label.duration <= TASK.seconds + 1e-6

    fuzz(st.tuples(_results, st.sampled_from(["person", "model"]), st.booleans()), check, "answers", 400)


def test_any_answer_in_a_page_is_a_row() -> None:
    at = "2026-03-01T12:00:00Z"

    def check(given: tuple[Any, Any, Any, Any]) -> None:
        result, predicted, data, parent = given
        said = {"id": 7, "result": result, "was_cancelled": False, "lead_time": None, "created_at": at, "updated_at": at}
        said |= {"completed_by": 1, "parent_prediction": parent}
        prediction = {"id": 3, "result": predicted, "model_version": None}
        task = {"id": 5, "data": data, "updated_at": at, "annotations": [said], "predictions": [prediction]}
        [row] = news({"project": "1@x", "users": {"1": "mira@example.org"}, "tasks": [task]}, {})
        assert row.author == "mira@example.org"
        assert json.dumps(json.loads(row.result), sort_keys=True) == row.result
        again = news({"project": "1@x", "users": {}, "tasks": [task]}, {("1@x", 7): row})
        assert again == []

    fuzz(
        st.tuples(_results, _results, st.dictionaries(st.sampled_from(["ext_id", "x"]), _json), st.sampled_from([None, 3, 4])),
        check,
        "pages",
        300,
    )
