"""Writes DEPENDENCIES.md: every package that is installed here, with its version and licence as it states them itself.

python infra/dependencies.py > DEPENDENCIES.md
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions


def licence(package: Distribution) -> str:
    """A package's licence: its SPDX expression, else its classifiers, else what it wrote, else its licence's heading."""
    said = package.metadata
    if expression := said.get("License-Expression"):
        return str(expression)
    classifiers = [each.rpartition(" :: ")[2] for each in said.get_all("Classifier") or [] if each.startswith("License :: ")]
    if names := [each for each in classifiers if each != "OSI Approved"]:
        return ", ".join(names)
    written = (said.get("License") or "").strip().splitlines()
    texts = [each.read_text() for each in package.files or [] if each.name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))]
    headings = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return (written or headings or ["not stated"])[0][:80]


def plain(name: str) -> str:
    """A name as the index compares it (PEP 503).

    >>> plain("Mir_eval")
    'mir-eval'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def table() -> str:
    """A row of Markdown for each package, by name, without this project."""
    found = {plain(each.metadata["Name"]): each for each in distributions()}
    found.pop("earmark", None)
    rows = [f"| {name} | {each.version} | {licence(each).replace('|', '/')} |" for name, each in sorted(found.items())]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(
        "# Dependencies\n\nWhat `make test` installs, with what each package states of its licence; written by `infra/dependencies.py`.\n"
    )
    print(table())
