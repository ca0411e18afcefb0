"""What these tests share."""

from recorded_files import no_threads

__all__ = ["no_threads"]
