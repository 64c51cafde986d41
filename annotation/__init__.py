"""What people and models say about audio."""

from annotation.jams import Jams, read_jams, write_jams
from annotation.labels import AuthorKind, Label

__all__ = ["AuthorKind", "Jams", "Label", "read_jams", "write_jams"]
