"""Placeholder: described when its modules land."""
