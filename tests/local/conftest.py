"""A home for servers, such as a project's folder usually is: others may pass through it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import places


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not pytest's own folder, which is closed to the user that root's PostgreSQL runs as.
    around = Path(tempfile.mkdtemp(prefix="sokoni-home-"))
    around.chmod(0o755)
    monkeypatch.setattr(places, "OUTSIDE", around / "outside")
    yield around / "home"
    shutil.rmtree(around)
