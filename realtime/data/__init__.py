"""Data that comes with the package: fitted numbers, the built-in portrait and motion track."""
