"""A campaign over a store: its file, and where all that is known of it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from annotation import foreign
from annotation.campaign import Campaign
from annotation.mirror import Mark, Mirror
from annotation.shape import unlike
from annotation.task import Task
from pipelines.clips.links import Keys
from pipelines.part import StoreError, publish
from pipelines.places import load_toml
from pipelines.store import Store

_TASK = {"ext_id": str, "track_id": str, "clip_id": str, "start": float, "seconds": float, "audio": str}


@dataclass(frozen=True)
class Desk:
    """Everything of one campaign in one place: STORE/campaigns/<name>, or campaigns/<name> beside its file if the store is a bucket.

    A bucket knows no locks, and what people said is not to hang on it.

    campaign: as its file says. file: where that lies.
    """

    campaign: Campaign
    file: Path
    store: Store

    @property
    def folder(self) -> Path:
        """Where its state is kept."""
        home = Path(self.store.folder("campaigns")) if self.store.local else self.file.absolute().parent / "campaigns"
        return home / self.campaign.name

    @property
    def mirror(self) -> Mirror:
        """What was pulled."""
        return Mirror(self.folder)

    @property
    def keys(self) -> Keys:
        """The secrets of the store's clip server: one file for all of its campaigns."""
        return Keys(self.folder.parent / "keys")

    def known(self) -> list[Task]:
        """Every clip that was ever asked about, in the order of their names."""
        rows = self._said(self.folder / "tasks.json", [_TASK]) or []
        try:
            return [Task(**row) for row in rows]
        except TypeError as error:  # a member more
            raise StoreError(f"{self.folder}/tasks.json: {error}; move it away, and apply the campaign again") from None

    def remember(self, tasks: Sequence[Task]) -> None:
        """Keep what tasks stand for: answers to a clip that has left the campaign still find their recording."""
        # Without what a bucket signed, which may hold a session's token.
        rows = {task.ext_id: asdict(task) | {"audio": task.audio.partition("?")[0]} for task in (*self.known(), *tasks)}
        self.keep("tasks.json", json.dumps([rows[name] for name in sorted(rows)]))

    def project(self) -> str:
        """The project (its key) that the last apply worked on, "" if there was none."""
        return self._project()[0]

    def title(self) -> str:
        """What an apply last called the project, "" if that is not known."""
        return self._project()[1]

    def _project(self) -> tuple[str, str]:
        try:
            key, _, title = (self.folder / "project").read_text().strip().partition("\n")
        except FileNotFoundError:
            return "", ""
        return key, title

    def remember_project(self, key: str, title: str = "") -> None:
        """Keep it: a project that is gone is told from one that was never made, and a title that somebody gave it from ours.

        Args:
            title: what it is called now.
        """
        self.keep("project", f"{key}\n{title if title == self.campaign.title else self.title()}")

    def softer(self) -> dict[str, float]:
        """By how many dB clips of the store, by clip_id or view_id, are softer than their recordings, as they would clip."""
        return dict(self._said(self.folder.parent / "softer.json", _numbers) or {})

    def remember_softer(self, clips: Mapping[str, float]) -> None:
        """Keep it: only who cuts a clip knows."""
        text = json.dumps({**self.softer(), **clips}, sort_keys=True)
        publish(pafs.LocalFileSystem(), str(self.folder.parent / "softer.json"), text.encode())

    def labelled(self, basis: str) -> Mark:
        """Up to where the mirror's answers are in the store's labels; an empty mark if that is not known.

        Args:
            basis: `annotation.statements.basis` of now; where it was another one, old answers may mean something else.
        """
        try:
            known = json.loads((self.folder / "labelled.json").read_text())
            return Mark(str(known["part"]), int(known["rows"])) if known["basis"] == basis else Mark()
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Mark()

    def remember_labelled(self, mark: Mark, basis: str) -> None:
        """Keep it, once the labels are in the store."""
        self.keep("labelled.json", json.dumps({**asdict(mark), "basis": basis}))

    def more(self) -> dict[str, int]:
        """By ext_id, how many people are to hear a clip whose answers `earmark queue` found in dispute."""
        return dict(self._said(self.folder / "more.json", _numbers) or {})

    def remember_more(self, more: Mapping[str, int]) -> None:
        """Keep it, so that plans know of it."""
        self.keep("more.json", json.dumps(dict(sorted(more.items()))))

    def _said(self, file: Path, shape: Any) -> Any:
        """What a file of ours says, None where there is none: stores come from others too."""
        try:
            said = foreign.document(file, foreign.OURS)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{file}: cannot be read ({error}); move it away, and apply the campaign again") from error
        if wrong := unlike(said, shape, "what it says"):
            raise StoreError(f"{file}: {wrong}; move it away, and apply the campaign again")
        return said

    def keep(self, name: str, content: str | bytes) -> None:
        """Write a file of the campaign's folder, whole.

        Raises:
            StoreError: the folder cannot be written.
        """
        publish(pafs.LocalFileSystem(), str(self.folder / name), content.encode() if isinstance(content, str) else content)


def _numbers(said: Any) -> None:
    """Raises: TypeError for what is no object of numbers."""
    if not isinstance(said, dict) or not all(isinstance(each, int | float) for each in said.values()):
        raise TypeError("not numbers by name")


def open_desk(file: str | Path, store: Store) -> Desk:
    """Read a campaign's file.

    Raises:
        FileError: it cannot be understood: one line for each mistake.
    """
    campaign = load_toml(file, Campaign, hint="name a campaign, as in 'earmark campaign plan campaign.toml --store STORE'")
    return Desk(campaign, Path(file), store)
