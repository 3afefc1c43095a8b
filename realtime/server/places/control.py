"""Control messages: who may say what, and how often."""

from __future__ import annotations

from pydantic import BaseModel

from realtime.errors import UsageError
from realtime.server.common import messages
from realtime.server.common.sessions import Right
from realtime.server.places import NotAllowed
from realtime.server.places.house import House
from realtime.server.places.session import Session
from realtime.server.rtc.peer import Peer


class Controls:
    """Follows what the clients of a house say."""

    def __init__(self, house: House) -> None:
        self._house = house

    def greet(self, session: Session, peer: Peer) -> None:
        """Its control channel is open."""
        if peer not in session.guests:
            peer.send(session.hello(session.id).model_dump_json())

    def heard(self, session: Session, peer: Peer, text: str | bytes) -> None:
        """A message came over a control channel. Guests are not listened to."""
        if peer in session.guests:
            return
        now = self._house.now()
        if not session.messages[Right.CONTROL].take(now):
            if session.complaints.take(now):
                peer.send(messages.Error(error="Too many messages; some were left out").model_dump_json())
            return
        self._house.book.touch(session.id, now)
        reply = self.told(session, text)
        if reply is not None:
            peer.send(reply.model_dump_json())

    def told(self, session: Session, text: str | bytes, right: Right = Right.CONTROL) -> BaseModel | None:
        """Follow one control message; what to answer at once, if anything."""
        try:
            command = messages.parse(text, self._house.limits.message_bytes)
            return self._follow(session, command, right)
        except (messages.BadMessage, UsageError) as error:
            return messages.Error(error=str(error))

    def posted(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        """Follow a command that came over HTTP; None where too many came. Raises UsageError."""
        session = self._house.get(key, Right.DRIVE)
        right = Right.CONTROL if key == session.id else Right.DRIVE
        if not session.messages[right].take(self._house.now()):
            return None
        return self._follow(session, command, right) or session.performer.state()

    def _follow(self, session: Session, command: messages.Command, right: Right) -> messages.Pong | None:
        if isinstance(command, messages.Ping):
            return messages.Pong(t=command.t)
        if right < Right.CONTROL and not isinstance(command, messages.Calibrate | messages.Express):
            raise NotAllowed
        session.performer.command(command)
        if self._house.panel is not None:  # who steers a running camera is told at once, and so are the other panels
            for other in self._house.sessions.values():
                other.tell(self._house.panel.state())
        return None
