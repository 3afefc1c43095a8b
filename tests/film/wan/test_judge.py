"""Whether a clip can be trusted: what is said of it, of which frames, and when it is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.film.wan.judge import Seen, judge, spans
from tests.film.wan.people import someone

CLIP = [Seen(someone(x=200 + n), faces=(90.0,) if n % 4 == 0 else None) for n in range(20)]


def findings(changes: dict[int, Seen], clip=CLIP):
    return judge([changes.get(n, seen) for n, seen in enumerate(clip)])


def test_a_clip_of_one_person_has_nothing_wrong():
    assert judge(CLIP) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: Seen(None), "nobody is found"),
        (lambda s: replace(s, person=replace(s.person, together=False)), "do not fit together"),
        (lambda s: replace(s, flat=0.9), "looks drawn"),
        (lambda s: replace(s, faces=(90.0, 80.0)), "several people"),
    ],
)
def test_what_is_wrong_is_named_with_its_frames_and_refused_where_it_is_most_of_the_clip(change, words):
    some = findings({n: change(CLIP[n]) for n in (4, 5, 8)})
    assert [(words in f.about, f.grave) for f in some] == [(True, False)]
    assert {4, 8} <= set(some[0].frames) <= {4, 5, 8}
    most = findings({n: change(CLIP[n]) for n in range(15)})
    assert most[0].grave
    assert words in most[0].sentence()
    assert "frames 0" in most[0].sentence()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: replace(p, face=None), "no face is seen"),
        (
            lambda p: replace(p, body=np.where(np.isin(np.arange(20), (1, 2, 5))[:, None], [1, 1, 0], p.body)),
            "shoulders",
        ),
    ],
)
def test_what_only_makes_a_film_poorer_never_refuses_it(change, words):
    (found,) = judge([replace(seen, person=change(seen.person)) for seen in CLIP])
    assert words in found.about
    assert not found.grave
    assert len(found.frames) == len(CLIP)


def test_a_leap_from_one_frame_to_the_next_is_a_cut():
    clip = [*CLIP[:10], *(Seen(someone(x=600 + n)) for n in range(10))]
    (found,) = judge(clip)
    assert "leap" in found.about
    assert found.frames == (10,)


def test_a_child_far_behind_is_no_second_person():
    assert findings({n: replace(CLIP[n], faces=(90.0, 30.0)) for n in range(20)}) == []


def test_frames_in_words():
    assert spans((3,)) == "frame 3"
    assert spans((0, 1, 2, 7, 9, 10)) == "frames 0-2, 7, 9-10"
    assert spans(tuple(range(0, 40, 2))) == "frames 0, 2, 4, 6, 8, 10 and 14 more places"
