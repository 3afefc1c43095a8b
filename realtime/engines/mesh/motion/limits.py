"""How far a portrait can be turned before what it hides would have to be shown."""

from __future__ import annotations

from realtime.face.pose import HeadPose, angles, rotation_matrix
from realtime.motion.filters import soft_limit

FRONTAL, TURNED = 8.0, 20.0
"""Degrees of yaw: a portrait turned less than the first shows both cheeks, one turned more than the second one."""
TOWARDS_FRONT = (6.0, 12.0)
"""A turned portrait can be brought so many degrees towards the front: one to one, and at most."""


def within_reach(pose: HeadPose, start: HeadPose) -> HeadPose:
    """`pose` with its yaw kept where the portrait, whose own pose is `start`, has texture to show.

    A portrait that looks into the camera turns freely both ways. One in three-quarter view turns farther away freely,
    but only a little towards the front: its far cheek was never seen.
    """
    own = angles(start.rotation)[0]
    share = min(1.0, max(0.0, (abs(own) - FRONTAL) / (TURNED - FRONTAL)))
    yaw, pitch, roll = angles(pose.rotation)
    side = 1.0 if own > 0 else -1.0
    towards = (own - yaw) * side
    if share == 0.0 or towards <= TOWARDS_FRONT[0]:
        return pose
    towards += share * (float(soft_limit(towards, *TOWARDS_FRONT)) - towards)
    return HeadPose(pose.scale, rotation_matrix(own - side * towards, pitch, roll), pose.translation)
