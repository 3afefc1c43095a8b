"""A face driven by sound alone: what lips do is heard, head and eyes are alive by themselves.

::

    sound ──▶ Hearing ──▶ bands ──▶ Lips ──▶ mouth ──┐
                            loudness ──▶ Alive ──▶ head, eyes ──▶ Speaker ──▶ motion code

Nothing here opens a microphone or a file, and nothing knows the time: sound is fed in, and what was heard is asked
for by its place in it.
"""
