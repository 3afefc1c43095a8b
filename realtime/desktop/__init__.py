"""A desktop companion beside a running session: a window of its own, an icon in the tray, and what was worn last."""
