"""Admission, limits, Host/Origin/token verdicts, the bitrate ladder and the avatar's clock: no I/O, fake time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.server.common.limits import Bucket, Buckets, Limits
from realtime.server.common.sessions import Book, End, ServerFull
from realtime.server.hosting.clock import AvatarClock
from realtime.server.http.security import NeedsToken, Policy, is_loopback, split_host
from realtime.server.rtc.bitrate import Ladder, suitable_rate

# --- sessions


def test_a_full_server_says_when_to_come_back():
    book = Book(Limits(sessions=2, connect_s=20))
    first, second = book.admit(0.0), book.admit(1.0)
    assert first.id != second.id
    assert len(first.id) >= 20
    with pytest.raises(ServerFull) as full:
        book.admit(2.0)
    assert 5 <= full.value.retry_after <= 10
    assert "2 places" in str(full.value)
    assert str(ServerFull(1, 10)).startswith("The only place is taken")
    book.end(first.id, End.CLIENT)
    book.admit(3.0)
    assert book.refused == 1


def test_sessions_end_when_never_connected_idle_or_too_long():
    book = Book(Limits(sessions=9, connect_s=20, grace_s=30, idle_s=30, session_s=1000))
    never, idle, long = book.admit(0.0), book.admit(0.0), book.admit(0.0)
    book.attach(idle.id, 5.0)
    book.attach(long.id, 5.0)
    book.detach(idle.id, 10.0)
    assert book.due(19.9) == []
    assert book.due(20.0) == [(never.id, End.NEVER_CONNECTED)]
    book.end(never.id, End.NEVER_CONNECTED)
    assert book.due(39.9) == []
    book.touch(idle.id, 39.9)
    assert book.due(69.0) == []
    assert book.due(69.9) == [(idle.id, End.IDLE)]
    book.end(idle.id, End.IDLE)
    assert book.due(999.0) == []
    assert book.due(1000.0) == [(long.id, End.TOO_LONG)]
    assert book.end(long.id, End.TOO_LONG)
    assert not book.end(long.id, End.TOO_LONG)
    assert book.entries == {}
    assert book.ended == {End.NEVER_CONNECTED: 1, End.IDLE: 1, End.TOO_LONG: 1}


def test_a_session_that_everybody_left_ends_soon_unless_somebody_comes_back():
    book = Book(Limits(sessions=9, grace_s=10, idle_s=30))
    left, returned, asked, watched = (book.admit(0.0) for _ in range(4))
    for entry in (left, returned, asked, watched, watched):
        book.attach(entry.id, 1.0)
    for entry in (left, returned, asked, watched):
        book.detach(entry.id, 100.0)
    book.attach(returned.id, 105.0)
    book.touch(asked.id, 109.0)
    assert book.due(109.9) == []
    assert book.due(110.0) == [(left.id, End.DISCONNECTED)]
    book.end(left.id, End.DISCONNECTED)
    assert book.due(138.9) == []
    assert book.due(139.0) == [(asked.id, End.IDLE)]


@given(st.lists(st.sampled_from(["admit", "attach", "detach", "end", "due"]), max_size=60))
@pytest.mark.hostile
def test_no_order_of_events_leaks_a_session(steps):
    book, now, ids = Book(Limits(sessions=3)), 0.0, []
    for step in steps:
        now += 7.0
        if step == "admit":
            try:
                ids.append(book.admit(now).id)
            except ServerFull:
                assert len(book.entries) == 3
        elif step == "due":
            for id, why in book.due(now):
                book.end(id, why)
        elif ids:
            {"attach": book.attach, "detach": book.detach}.get(step, lambda id, _: book.end(id, End.CLIENT))(
                ids[-1], now
            )
    assert len(book.entries) <= 3
    for entry in book.entries.values():
        entry.peers = 0
    for id, why in book.due(now + 1e6):
        book.end(id, why)
    assert book.entries == {}


# --- rates


def test_bucket_lets_a_burst_pass_and_then_the_rate():
    bucket = Bucket(rate=10, burst=5)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait() == pytest.approx(0.1)
    assert bucket.take(0.1)
    assert not bucket.take(0.1)
    assert sum(bucket.take(100 + i / 100) for i in range(100)) == pytest.approx(15, abs=1)


def test_buckets_do_not_grow_without_bound():
    buckets = Buckets(rate=1, burst=3, most=50)
    for i in range(500):
        buckets.take(str(i), now=i * 0.001)
    assert len(buckets) <= 50
    assert buckets.take("someone else", now=0.6) > 0  # full of recent ones: refused, not forgotten
    assert buckets.take("someone else", now=1000.0) == 0


# --- who may speak


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:8000", True),
        ("LocalHost", True),
        ("[::1]:8000", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.7:8000", False),
        ("localhost@evil.example", False),
        ("127.0.0.1:99999", False),
        ("", False),
        (None, False),
        ("a b", False),
    ],
)
@pytest.mark.hostile
def test_a_loopback_server_answers_to_loopback_names_alone(host, fine):
    assert (Policy.for_host("127.0.0.1").check_host(host) is None) == fine


@pytest.mark.hostile
def test_an_open_server_answers_to_addresses_and_known_names_but_to_no_strangers_name():
    policy = Policy.for_host("0.0.0.0", names=frozenset({"avatar.example"}))
    for host in ("192.168.1.7:8000", "[fd00::1]:8000", "avatar.example", "127.0.0.1"):
        assert policy.check_host(host) is None
    assert policy.check_host("rebound.example").status == 403


@pytest.mark.parametrize(
    ("origin", "host", "fine"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", False),
        ("https://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("file://", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000/path", "127.0.0.1:8000", False),
        ("http://[", "127.0.0.1:8000", False),
        ("https://studio.example", "127.0.0.1:8000", True),
    ],
)
@pytest.mark.hostile
def test_only_our_own_pages_and_named_ones_may_call(origin, host, fine):
    policy = Policy.for_host("127.0.0.1", origins=frozenset({"https://studio.example"}))
    assert (policy.check_origin(origin, host) is None) == fine


def test_a_page_of_another_site_without_origin_header_is_refused():
    policy = Policy.for_host("127.0.0.1")
    assert policy.check_origin(None, "localhost", "cross-site").status == 403
    assert policy.check_origin(None, "localhost", "same-origin") is None
    assert policy.check_origin(None, "localhost", "none") is None


@pytest.mark.hostile
def test_others_need_the_token():
    policy = Policy.for_host("0.0.0.0")
    assert policy.token
    assert len(policy.token) >= 32
    assert policy.check_token({}, None, None).status == 401
    assert policy.check_token({"authorization": f"Bearer {policy.token}"}, None, None) is None
    assert policy.check_token({"authorization": f"Basic {policy.token}"}, None, None) is not None
    assert policy.check_token({}, policy.token, None) is None
    assert policy.check_token({}, None, policy.token) is None
    assert policy.check_token({}, "é", policy.token[:-1]) is not None
    assert policy.token in policy.link("0.0.0.0", 8000)


def test_token_rules():
    assert Policy.for_host("127.0.0.1").token is None
    assert Policy.for_host("127.0.0.1").check_token({}, None, None) is None
    assert Policy.for_host("127.0.0.1", names=frozenset({"behind.proxy"})).token  # a proxy makes it reachable
    with pytest.raises(NeedsToken):
        Policy.for_host("0.0.0.0", token="short")


@pytest.mark.parametrize(
    ("host", "loop"),
    [
        ("localhost", True),
        ("::1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("example.org", False),
    ],
)
def test_loopback(host, loop):
    assert is_loopback(host) is loop


@given(st.text(max_size=60))
@pytest.mark.hostile
def test_any_host_header_is_parsed_or_refused(text):
    split = split_host(text)
    assert split is None or (split[0] and (split[1] is None or 0 <= split[1] < 65536))
    Policy.for_host("127.0.0.1").check_host(text)
    Policy.for_host("127.0.0.1").check_origin(text, text)


# --- bitrate


def test_pictures_of_another_size_give_a_narrow_path_no_more_at_once():
    ladder = Ladder(2_500_000)
    ladder.fit(1_250_000)
    ladder.fit(2_500_000)
    assert ladder.rate == 2_500_000, "nothing was wrong with this one"
    for second in range(3):
        ladder.estimate(1_400_000, float(second))
    narrow = ladder.rate
    assert narrow <= 1_400_000
    ladder.fit(1_250_000)
    assert 0.5 * narrow <= ladder.rate <= narrow
    for second in range(3, 60):
        ladder.estimate(1_400_000, float(second))
    before = ladder.rate
    ladder.fit(2_500_000)
    assert ladder.rate <= before


def test_a_noisy_estimate_changes_nothing():
    ladder = Ladder(2_500_000)
    for second in range(120):
        ladder.estimate(2_500_000 * (1.0 + 0.14 * (-1) ** second), float(second))
    assert ladder.rate == 2_500_000
    assert ladder.changes == 0


def test_a_narrow_network_is_followed_down_in_few_steps_and_up_again_slowly():
    ladder = Ladder(2_500_000)
    rates = [ladder.estimate(900_000, float(t)) for t in range(10)]
    assert rates[-1] <= 900_000
    assert ladder.changes == 1
    low = ladder.changes
    for t in range(10, 70):
        ladder.estimate(6_000_000, float(t))
    assert ladder.rate == 2_500_000
    assert ladder.changes - low <= 4


def test_a_collapse_is_answered_at_once():
    ladder = Ladder(2_500_000)
    assert ladder.estimate(300_000, 0.0) <= 300_000


def test_a_step_up_that_fails_is_tried_less_often():
    ladder = Ladder(2_500_000)
    for t in range(600):
        ladder.estimate(4_000_000 if ladder.rate < 1_500_000 else 1_200_000, float(t))
    assert ladder.changes < 30  # 1-second estimates that always disagree would otherwise change it every few seconds


def test_the_rate_suits_the_picture():
    assert suitable_rate(512, 512) == 2_500_000
    assert suitable_rate(256, 256) < 1_000_000 < suitable_rate(512, 512) < suitable_rate(1280, 720) < 9_000_000


# --- clock


def test_driven_pictures_keep_the_cameras_spacing():
    clock = AvatarClock()
    arrivals = [0.000, 0.050, 0.060, 0.120, 0.121]
    stamps = [clock.stamp(10 + late, driven=i / 30) for i, late in enumerate(arrivals)]
    assert [b - a for a, b in itertools.pairwise(stamps)] == [3000] * 4


@given(st.lists(st.tuples(st.floats(0, 0.3), st.none() | st.floats(0, 1000)), max_size=50))
def test_time_never_stands_still_or_goes_back(steps):
    clock, now, last = AvatarClock(), 5.0, -1
    for wait, driven in steps:
        now += wait
        stamp = clock.stamp(now, driven)
        assert stamp > last
        last = stamp


def test_the_clock_recovers_from_a_camera_that_paused():
    clock = AvatarClock()
    clock.stamp(0.0, driven=0.0)
    clock.stamp(5.0)
    assert clock.stamp(9.0, driven=0.033) == pytest.approx(9.0 * 90000, abs=10)
