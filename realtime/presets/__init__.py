"""Presets: what a user has set, under a name; kept as files."""
