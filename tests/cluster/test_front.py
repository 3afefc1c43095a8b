"""A front over nodes, in one process: where sessions go, what happens when something dies, who is kept out."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter

import pytest

import realtime.cluster.cards as cards
from realtime.cluster import front as fronts
from realtime.cluster.cards import DirectoryLost, NodeLost, OtherTenant, TenantFull, WrongVersion
from realtime.cluster.desk import Desk
from realtime.cluster.directory import LEASE_S
from realtime.cluster.host import PASSED_ON
from realtime.errors import BadValue, UnknownName
from realtime.motion.wire import Packet, pack
from realtime.server import places
from realtime.server.common.sessions import Behind, End, ServerFull
from realtime.server.hosting.gallery import GalleryFull, NotHere, TooManyViews
from realtime.server.places import Busy, LineOver, NotAllowed, Offered, Place, UnknownSession, Wish
from realtime.server.rtc.sdp import BadOffer
from tests.support.cluster import KEY, VERSION, Cluster
from tests.support.server import make_offer

PROFILE = "a-secret-of-more-than-22-letters"


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
async def cluster():
    """Three nodes with two slots each; without engines."""
    cluster = Cluster()
    for name in "abc":
        cluster.add(name, 2, fake=True)
    await cluster.open()
    yield cluster
    await cluster.close()


@pytest.fixture
async def front(cluster):
    front = cluster.front()
    await front.open()
    yield front
    await front.close()


def has(cluster) -> dict[str, int]:
    return {name: len(host.place.book.entries) for name, host in cluster.hosts.items()}


def owner(cluster, id: str) -> str:
    return next(name for name, host in cluster.hosts.items() if id in host.place.book.entries)


async def test_placement_is_even_and_one_too_many_is_refused(cluster, front):
    for n in range(6):
        await front.begin(Wish())
        assert max(has(cluster).values()) - min(has(cluster).values()) == ((n + 1) % 3 != 0)
    with pytest.raises(ServerFull, match="All 6 places are taken"):
        await front.begin(Wish())


async def test_two_fronts_serve_the_same_sessions(cluster, front):
    other = cluster.front()
    keys = (await front.begin(Wish())).keys
    assert (await other.hello(keys.id)).session == keys.id
    assert await other.behind(keys.view) is Behind.LIVE
    await other.end(keys.id, End.CLIENT)
    with pytest.raises(UnknownSession):
        await front.hello(keys.id)
    assert await front.behind(keys.view) is Behind.DEAD
    assert (await front.health()).sessions == 0


async def test_a_slot_is_free_as_soon_as_its_session_has_ended(cluster, front):
    opened = [(await front.begin(Wish())).keys for _ in range(6)]
    await front.end(opened[3].id, End.CLIENT)
    await front.begin(Wish())


async def test_a_session_that_ends_by_itself_frees_its_slot(cluster, front):
    opened = [(await front.begin(Wish())).keys for _ in range(6)]
    host = cluster.hosts[owner(cluster, opened[0].id)]
    host.place.book.end(opened[0].id, End.IDLE)
    await cluster.settled(lambda: sum(len(n.sessions) for n in cluster.desk.directory.nodes.values()) == 5)
    await front.begin(Wish())


async def test_what_is_refused_by_a_node_gives_the_slot_back_and_says_why(cluster, front):
    for _ in range(8):
        with pytest.raises(BadOffer):
            await front.begin(Wish(), Offered(sdp="nonsense", publishes=True))
    assert cluster.desk.directory.overview(0.0).tenants == {}


@pytest.mark.hostile
async def test_a_node_that_died_is_left_out_and_the_offer_goes_to_another(cluster, front):
    for name in "ab":
        await cluster.kill(name)  # the directory does not know it yet
    opened = [(await front.begin(Wish())).keys.id for _ in range(2)]
    assert {owner(cluster, id) for id in opened} == {"c"}


@pytest.mark.hostile
async def test_a_node_that_never_answers_is_given_up_when_its_lease_ends(front, cluster, monkeypatch):
    monkeypatch.setattr(fronts, "WATCH_S", 0.05)
    monkeypatch.setattr("realtime.cluster.directory.LEASE_S", 0.8)
    monkeypatch.setattr("realtime.cluster.host.BEAT_S", 0.1)
    cluster.mute.add("a")
    cluster.hosts["a"]._task.cancel()
    opened = [(await front.begin(Wish())).keys.id for _ in range(4)]
    assert Counter(owner(cluster, id) for id in opened) == {"b": 2, "c": 2}


@pytest.mark.hostile
async def test_whose_node_died_is_told_so_and_then_that_there_is_no_session(cluster, front):
    keys = (await front.begin(Wish())).keys
    await cluster.kill(owner(cluster, keys.id))
    with pytest.raises(NodeLost, match=r"does not answer\. Try again in 1 seconds"):
        await front.hello(keys.id)
    directory = cluster.desk.directory
    await cluster.settled(lambda: len(directory.nodes) == 2 or directory.expire(cluster.clock() + 100.0), LEASE_S + 2)
    with pytest.raises(UnknownSession):
        await front.hello(keys.id)
    assert await front.behind(keys.view) is Behind.DEAD


@pytest.mark.hostile
async def test_sessions_of_another_tenant_are_refused_in_words(cluster, front):
    other = cluster.front(tenant="another")
    keys = (await front.begin(Wish())).keys
    for key in (keys.id, keys.view, keys.drive):
        with pytest.raises(OtherTenant, match="belongs to another tenant"):
            await other.hello(key)
    other._known[keys.id] = front._known[keys.id]  # even where it knows the node
    for attempt in (other.hello(keys.id), other.end(keys.id, End.CLIENT), other.pictures(keys.id)):
        with pytest.raises(OtherTenant):
            await attempt
    with pytest.raises(OtherTenant):
        async with other.drive(keys.id):
            pass
    assert (await front.hello(keys.id)).session == keys.id


async def test_a_tenant_has_its_share(cluster):
    front = cluster.front(tenant="small", most=1)
    await front.begin(Wish())
    with pytest.raises(TenantFull, match="All 1 places of this service are taken"):
        await front.begin(Wish())
    await cluster.front().begin(Wish())


@pytest.mark.hostile
async def test_a_forged_node_and_one_of_another_version_stay_out_and_know_why(cluster):
    forged = cluster.add("forged", key="another key", fake=True)
    old = cluster.add("old", version="0.9", fake=True)
    for host, says in ((forged, "does not know this cluster's key"), (old, "has version 0.9, the cluster 1")):
        await host.open()
        await cluster.settled(lambda host=host: host.failure is not None)
        assert says in str(host.failure)
        assert not host.joined
    assert set(cluster.desk.directory.nodes) == set("abc")
    with pytest.raises(WrongVersion, match="This front has version 2"):
        await cluster.ask("greet", "2")


async def test_links_come_back_to_a_session_that_lingers_elsewhere(cluster, front):
    first = (await front.begin(Wish(profile=PROFILE))).keys
    name = owner(cluster, first.id)
    host = cluster.hosts[name]
    host._roll = lambda: [(entry, True, True) for entry in host.place.book.entries.values()]
    await cluster.settled(lambda: any(h.lingers for h in cluster.desk.directory.nodes[name].sessions.values()))
    await front.drain(name, 60.0)
    second = (await front.begin(Wish(profile=PROFILE))).keys
    assert second.view == first.view
    assert owner(cluster, second.id) != name
    await cluster.settled(lambda: not host.place.book.entries)
    assert await front.behind(second.view) is Behind.LIVE
    assert (await front.hello(second.drive)).session == second.drive


@pytest.mark.hostile
async def test_sessions_that_nobody_connects_to_keep_nobody_out():
    cluster = Cluster()
    cluster.add("a", 2)
    await cluster.open()
    front = cluster.front()
    silent = [(await front.begin(Wish())).keys.id for _ in range(2)]
    with pytest.raises(ServerFull):
        await front.begin(Wish())
    for entry in cluster.hosts["a"].place.book.entries.values():
        entry.seen -= 4.0
    await cluster.settled(lambda: cluster.desk.directory._waiting != {})
    opened = (await front.begin(Wish())).keys
    assert sorted(has(cluster).values()) == [2]
    assert (await front.hello(opened.id)).session == opened.id
    with pytest.raises(UnknownSession):
        await front.hello(silent[0])
    await cluster.close()


async def test_a_directory_that_is_away_stops_offers_and_nothing_else(cluster, front):
    keys = (await front.begin(Wish())).keys
    cluster.away = True
    assert (await front.hello(keys.id)).session == keys.id
    await front.end(keys.id, End.CLIENT)
    with pytest.raises(DirectoryLost, match="Try again in 2 seconds"):
        await front.begin(Wish())
    assert (await front.health()).stuck == ("directory",)
    cluster.away = False
    await front.begin(Wish())


async def test_a_directory_that_begins_anew_learns_all_sessions_from_the_nodes(cluster, front):
    opened = [(await front.begin(Wish(profile=PROFILE + str(n)))).keys for n in range(5)]
    await front.drain("a", 500.0)
    await cluster.settled(lambda: cluster.hosts["a"]._drain_at is not None)
    await cluster.restart_directory()
    await cluster.settled(lambda: len(cluster.desk.directory.nodes) == 3)
    new = cluster.front()
    for keys in opened:
        assert (await new.hello(keys.id)).session == (await front.hello(keys.id)).session == keys.id
        assert await new.behind(keys.view) is Behind.LIVE
    states = {node.card.name: node.state for node in (await new.overview()).nodes}
    assert states == {"a": "draining", "b": "ready", "c": "ready"}


async def test_a_front_forgets_no_session_before_all_nodes_have_joined_a_new_directory(cluster, front, monkeypatch):
    monkeypatch.setattr(fronts, "WATCH_S", 0.02)
    keys = (await front.begin(Wish())).keys
    for host in cluster.hosts.values():
        host._task.cancel()  # they are slow to join
    cluster.desk = Desk(KEY, VERSION, lambda: cluster.clock() + 100.0)
    cluster.desk.directory._began -= LEASE_S + 1.0
    await asyncio.sleep(0.2)
    assert (await front.overview()).nodes == ()
    assert (await front.hello(keys.id)).session == keys.id


async def test_a_drained_node_keeps_its_sessions_until_the_deadline_and_then_gives_the_hint(cluster, front):
    ends = []
    for name, host in cluster.hosts.items():
        end = host.place.end
        host.place.end = lambda key, why, *more, name=name, end=end: (ends.append((name, why)), end(key, why, *more))[
            1
        ]
    opened = [(await front.begin(Wish())).keys.id for _ in range(3)]
    there = next(id for id in opened if owner(cluster, id) == "b")
    await front.drain("b", 1.0)
    more = [(await front.begin(Wish())).keys.id for _ in range(2)]
    assert "b" not in {owner(cluster, id) for id in more}
    await front.hello(there)
    assert ends == []
    await cluster.settled(lambda: ends != [])
    assert ends == [("b", End.MOVED)]
    assert sum(has(cluster).values()) == 4
    with pytest.raises(ServerFull):
        await front.begin(Wish())
    await front.drain("b", None)
    await front.begin(Wish())


@pytest.mark.hostile
async def test_a_front_may_ask_a_node_for_what_a_place_does_and_nothing_else(cluster, front):
    keys = (await front.begin(Wish())).keys
    host = cluster.hosts[owner(cluster, keys.id)]
    for what in ("close", "open", "begin", "__class__", "entry"):
        with pytest.raises(ValueError, match="no front may ask"):
            await host.call("default", what, keys.id)
    with pytest.raises(ValueError, match="the directory cannot"):
        await cluster.ask("_remove", "a")
    assert all(hasattr(Place, what) for what in PASSED_ON)


async def test_lines_and_streams_that_no_front_asks_for_are_closed():
    time = Time()
    cluster = Cluster(time)
    cluster.add("a", fake=True)
    await cluster.open()
    front = cluster.front()
    keys = (await front.begin(Wish())).keys
    async with front.drive(keys.id) as line:
        assert await line.take('{"type": "ping", "t": 1}') == '{"type":"pong","t":1.0}'
        time.now += 61.0
        await cluster.settled(lambda: not cluster.hosts["a"]._open)
        with pytest.raises(LineOver, match="has ended"):
            await line.take('{"type": "ping", "t": 1}')
    await cluster.close()


async def test_motion_packets_do_not_queue_where_the_way_is_slow():
    gate, got = asyncio.Event(), []

    async def send(data):
        got.append(data)
        await gate.wait()

    line = fronts.FarLine(send, None)
    packets = [pack(Packet("mesh", n, 1.0, [0.0])) for n in range(50)]
    for packet in packets:
        assert await line.take(packet) is None
        await asyncio.sleep(0)
    gate.set()
    await Cluster.settled(lambda: line._task is None)
    assert got == [packets[0], packets[-1]]


async def test_a_motion_client_that_is_hung_up_on_is_told_with_its_next_packet():
    async def send(data):
        raise LineOver("no packet", fault=True)

    line = fronts.FarLine(send, None)
    await line.take(b"bad")
    await Cluster.settled(lambda: line._over is not None)
    with pytest.raises(LineOver) as over:
        await line.take(b"bad")
    assert over.value.fault


async def test_what_takes_long_in_a_node_has_longer(cluster, front, monkeypatch):
    monkeypatch.setattr(fronts, "PATIENCE_S", 0.05)
    keys = (await front.begin(Wish())).keys
    host = cluster.hosts[owner(cluster, keys.id)]
    free = asyncio.Event()

    async def add_background(key, data):
        await free.wait()
        return "done"

    monkeypatch.setattr(host.place, "add_background", add_background, raising=False)
    asked = asyncio.create_task(front.add_background(keys.id, b""))
    await asyncio.sleep(0.2)
    assert not asked.done()
    free.set()
    assert await asked == "done"


async def test_figures_of_each_node_and_of_the_whole(cluster, front):
    await front.begin(Wish())
    text = (await front.metrics()).decode()
    assert 'avatar_cluster_nodes{state="ready"} 3.0' in text
    assert "avatar_cluster_slots 6.0" in text
    assert "avatar_cluster_slots_free 5.0" in text
    assert 'avatar_cluster_sessions{tenant="default"} 1.0' in text
    assert "avatar_cluster_admitted_total 1.0" in text
    for name in "abc":
        assert f'avatar_sessions{{node="{name}"}} 0.0' in text  # the fakes say so
        assert f'avatar_node_slots{{node="{name}"}} 2.0' in text


async def test_pages_learn_the_ice_servers_from_the_nodes(front):
    assert front.terms.ice_servers == ({"urls": "stun:127.0.0.1:3478"},)


@pytest.mark.parametrize(
    "error",
    [
        places.UnknownSession(),
        NotAllowed(),
        places.TooManyViewers(),
        Busy("Much", 3),
        LineOver("over", fault=True),
        ServerFull(3, 7),
        BadOffer("no offer"),
        BadValue("--x", 1, "y"),
        UnknownName("portrait", "x", {"one": 1}),
        UnknownName("direction", "x", (name for name in ("yaw", "roll"))),
        places.OneView("lia"),
        TooManyViews(4),
        NotHere("view", "view-x", []),
        GalleryFull(12),
        cards.NodeLost("a"),
        cards.TenantFull(4),
        cards.DirectoryLost(),
        cards.WrongVersion("It", "1", "2"),
        cards.UnknownNode("x", ("a",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_whole(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


async def test_offers_are_answered_by_the_node_itself():
    """The candidates are the node's own, so media does not pass through the front."""
    cluster = Cluster()
    cluster.add("a")
    await cluster.open()
    front = cluster.front()
    opened = await front.begin(Wish(source="camera"), Offered(sdp=await make_offer(), publishes=True, watches=True))
    assert "a=candidate" in opened.answer.sdp
    assert set(has(cluster).values()) == {1}
    await cluster.close()
