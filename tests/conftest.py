"""Settings that must be made before any library is loaded."""

import os

# Two threads that wait for each other on a busy machine burn five times the work of one; nothing here is large.
os.environ.setdefault("OMP_NUM_THREADS", "1")
