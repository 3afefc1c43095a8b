"""The face by the VMC protocol (protocol.vmc.info, version 2.0), for VSeeFace, Unity, Unreal, Blender, Warudo.

This side is the performer: it sends to a marionette, whose usual port is 39539. Sent are the head's bone and ARKit's
blend shapes by the names of VRM models with "perfect sync" (``BrowInnerUp``); the rest of the body is not."""

from __future__ import annotations

from scipy.spatial.transform import Rotation

from realtime.motion.vocabulary import Shapes
from realtime.sinks.osc import Message, ShapesSink

STILL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""A place, and no rotation (a quaternion x, y, z, w)."""


class VmcSink(ShapesSink):
    """`argument`: HOST:PORT, 127.0.0.1:39539 without."""

    option = "vmc"
    port = 39539

    def messages(self, shapes: Shapes, at: float) -> list[Message]:
        """What is sent of a face: available, time, root, head, shapes, and that they are all."""
        return [
            ("/VMC/Ext/OK", (1,)),
            ("/VMC/Ext/T", (at,)),
            ("/VMC/Ext/Root/Pos", ("root", *STILL)),
            ("/VMC/Ext/Bone/Pos", ("Head", 0.0, 0.0, 0.0, *quaternion(*shapes.head))),
            *(
                ("/VMC/Ext/Blend/Val", (name[0].upper() + name[1:], amount))
                for name, amount in shapes.amounts.items()
            ),
            ("/VMC/Ext/Blend/Apply", ()),
        ]


def quaternion(yaw: float, pitch: float, roll: float) -> tuple[float, float, float, float]:
    """The head's rotation, from degrees, as Unity has it: x to the person's right, y up, z ahead: the axes of
    `realtime.face.pose`, each the other way round, so that the matrix is the same."""
    x, y, z, w = Rotation.from_euler("YXZ", (-yaw, -pitch, roll), degrees=True).as_quat()
    return float(x), float(y), float(z), float(w)
