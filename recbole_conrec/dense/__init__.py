"""Shared code of the methods that score the whole catalogue."""
