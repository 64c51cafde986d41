"""Fixtures that several test modules share."""

from tests.studio import studio, studio_process

__all__ = ["studio", "studio_process"]
