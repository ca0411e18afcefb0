"""The settings: typed, frozen, checked one by one and together. Knows nothing of the rest of the package."""

from ingest_actors.errors import SettingsError as SettingsError
from ingest_actors.settings.model import Settings as Settings
