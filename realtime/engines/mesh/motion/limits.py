"""How far a portrait can be turned before what it hides would have to be shown."""

from __future__ import annotations

import numpy as np

from realtime.face.pose import HeadPose, angles, rotation_matrix
from realtime.motion.filters import soft_limit

FRONTAL, TURNED = 8.0, 24.0
"""Degrees of yaw: a portrait turned less than the first shows both cheeks, one turned more than the second one."""
TOWARDS_FRONT, UNPAINTED = np.array([6.0, 12.0]), np.array([1.5, 3.0])
"""A turned portrait can be brought so many degrees towards the front: one to one, and at most. Of those between, one
that is turned half as much can be brought twice as far. The second: where its far cheek is not painted (drawings).
"""


def within_reach(pose: HeadPose, *starts: HeadPose, painted: bool = True) -> HeadPose:
    """`pose` with its yaw kept where there is texture to show. starts: the own poses of the portrait and its views.
    painted: whether the far cheek is, where the portrait hides it, see `cheek`.

    A portrait that looks into the camera turns freely both ways. One in three-quarter view turns farther away freely,
    but only so far towards the front: its far cheek was never seen. Of several views the least turned one counts;
    those of both sides show both cheeks.
    """
    owns = [angles(start.rotation)[0] for start in starts]
    if min(owns) < 0.0 < max(owns):
        return pose
    own = min(owns, key=abs)
    share = min(1.0, max(0.0, (abs(own) - FRONTAL) / (TURNED - FRONTAL)))
    yaw, pitch, roll = angles(pose.rotation)
    side = 1.0 if own > 0 else -1.0
    towards = (own - yaw) * side
    reach = TOWARDS_FRONT if painted else UNPAINTED
    if share == 0.0 or towards <= reach[0] / share:
        return pose
    towards = float(soft_limit(towards, *reach / share))
    return HeadPose(pose.scale, rotation_matrix(own - side * towards, pitch, roll), pose.translation)
