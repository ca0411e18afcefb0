"""What the tests of the settings share."""

from __future__ import annotations

import pytest

from ingest_actors.settings import Settings, SettingsError


@pytest.fixture
def problems_of():
    """The problems of an environment, without any file; empty when there are none."""

    def problems(environ: dict[str, str]) -> list[str]:
        try:
            Settings.from_env(None, environ)
        except SettingsError as error:
            return error.problems
        return []

    return problems
