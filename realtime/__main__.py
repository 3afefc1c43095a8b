"""`python -m realtime` is the same as `avatar`."""

from realtime.cli import main

if __name__ == "__main__":
    main()
