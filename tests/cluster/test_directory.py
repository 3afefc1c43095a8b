"""The directory's decisions: who gets which node, what leases and tickets do, who is kept out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime.cluster.cards import (
    Asked,
    Card,
    ForgedNode,
    Held,
    NameTaken,
    NotJoined,
    OtherTenant,
    TenantFull,
    UnknownNode,
    WrongVersion,
    prove,
)
from realtime.cluster.directory import LEASE_S, TICKET_S, YOUNG_S, Directory
from realtime.server.common.sessions import Behind, Keys, ServerFull, link_keys
from realtime.server.places import Busy, UnknownSession

KEY = "the key of this cluster"


def card(name: str, slots: int = 2, run: str = "1", **more) -> Card:
    return prove(Card(name, f"{name}-{run}", "127.0.0.9", more.pop("version", "1"), "mesh", slots, **more), KEY)


def held(id: str, **more) -> Held:
    return Held(Keys(id=id, view=f"{id}-view", drive=f"{id}-drive"), **more)


def directory(**nodes: int) -> Directory:
    out = Directory(KEY, "1", now=-100.0)
    for name, slots in nodes.items():
        out.join(0.0, card(name, slots))
    return out


def run(name: str) -> str:
    return f"{name}-1"


def test_sessions_are_spread_evenly_and_one_too_many_is_refused():
    book = directory(a=2, b=2, c=2)
    given = [book.admit(0.0, Asked()).node for _ in range(6)]
    for n in range(1, 7):
        counts = Counter(given[:n])
        assert max(counts.values()) - min(counts[name] for name in "abc") <= 1
    with pytest.raises(ServerFull, match=r"All 6 places are taken\. Try again in 5 seconds"):
        book.admit(0.0, Asked())
    assert book.refused == 1


def test_the_node_with_the_most_free_slots_comes_first():
    book = directory(small=1, large=3)
    assert [book.admit(0.0, Asked()).node for _ in range(4)] == ["large", "large", "small", "large"]


def test_a_cluster_without_nodes_says_so():
    with pytest.raises(Busy, match="No machine is ready yet"):
        directory().admit(0.0, Asked())


def test_a_ticket_becomes_a_session_and_takes_one_slot_in_all():
    book = directory(a=2)
    ticket = book.admit(0.0, Asked()).ticket
    book.report(0.1, "a", run("a"), (held("s", ticket=ticket),))
    assert book.overview(0.1).nodes[0].free == 1
    book.expire(TICKET_S - 12.1)
    assert book.overview(0.1).tenants == {"default": 1}
    assert book.find(1.0, "s", "default")[0] == book.find(1.0, "s-view", "default")[0] == "a"


def test_a_ticket_that_nobody_uses_is_free_again():
    book = directory(a=1)
    book.admit(0.0, Asked())
    for at in range(1, int(TICKET_S)):
        book.report(at, "a", run("a"))
        book.expire(at)
        with pytest.raises(ServerFull):
            book.admit(at, Asked())
    book.report(TICKET_S, "a", run("a"))
    book.expire(TICKET_S)
    assert book.admit(TICKET_S, Asked()).node == "a"


def test_a_silent_node_is_lost_with_its_sessions_and_may_come_back():
    book = directory(a=2, b=2)
    book.report(0.0, "a", run("a"), (held("s"),))
    book.report(2.0, "b", run("b"))
    assert book.expire(LEASE_S - 0.1) == []
    assert book.expire(LEASE_S) == ["a"]
    assert (book.nodes_lost, book.sessions_lost) == (1, 1)
    with pytest.raises(UnknownSession):
        book.find(LEASE_S, "s", "default")
    with pytest.raises(NotJoined):
        book.report(LEASE_S, "a", run("a"))
    book.join(LEASE_S, card("a"), (held("s"),))
    assert book.find(LEASE_S, "s", "default") == ("a", run("a"))
    assert book.behind("s-view") is Behind.LIVE


def test_links_of_a_lost_session_are_dead_unless_a_secret_makes_them_again():
    book = directory(a=2)
    book.report(0.0, "a", run("a"), (held("s"), held("t", lasting=True)))
    book.expire(LEASE_S)
    assert book.behind("s-view") is Behind.DEAD
    assert book.behind("t-view") is Behind.NOTHING


def test_a_node_that_could_not_be_reached_gets_nothing_until_it_reports():
    book = directory(a=2, b=1)
    book.suspect("a", run("a"))
    assert book.admit(0.0, Asked()).node == "b"
    with pytest.raises(ServerFull):
        book.admit(0.0, Asked())
    book.report(0.5, "a", run("a"))
    assert book.admit(0.5, Asked()).node == "a"


def test_who_failed_just_now_is_avoided():
    book = directory(a=5, b=1)
    assert book.admit(0.0, Asked(avoid=("a",))).node == "b"


@pytest.mark.hostile
def test_another_version_a_forged_card_and_a_name_in_use_are_refused_in_words():
    book = directory(a=1)
    with pytest.raises(WrongVersion, match=r"'b' has version 0\.9, the cluster 1"):
        book.join(0.0, card("b", version="0.9"))
    forged = prove(Card("b", "r", "127.0.0.9", "1", "mesh", 2), "another key")
    with pytest.raises(ForgedNode, match="does not know this cluster's key"):
        book.join(0.0, forged)
    with pytest.raises(ForgedNode):  # what was proven cannot be said of another machine
        book.join(0.0, replace(card("b"), slots=200))
    with pytest.raises(NameTaken, match="called 'a' already"):
        book.join(0.0, card("a", run="2"))
    assert list(book.nodes) == ["a"]


def test_a_node_that_begins_anew_takes_its_name_back():
    book = directory(a=1)
    book.report(0.0, "a", run("a"), (held("s"),))
    book.join(LEASE_S, card("a", run="2"))
    with pytest.raises(UnknownSession):
        book.find(LEASE_S, "s", "default")
    with pytest.raises(NotJoined):
        book.report(LEASE_S, "a", run("a"))


@pytest.mark.hostile
def test_a_session_of_another_tenant_is_refused_in_words():
    book = directory(a=2)
    book.report(0.0, "a", run("a"), (held("s", tenant="one"),))
    assert book.find(0.0, "s", "one")[0] == "a"
    for key in ("s", "s-view", "s-drive"):
        with pytest.raises(OtherTenant, match="belongs to another tenant"):
            book.find(0.0, key, "two")


def test_a_tenant_has_its_share():
    book = directory(a=4)
    book.admit(0.0, Asked(tenant="one", most=1))
    with pytest.raises(TenantFull, match="All 1 places of this service are taken"):
        book.admit(0.0, Asked(tenant="one", most=1))
    assert book.admit(0.0, Asked(tenant="two", most=1)).node == "a"


def test_the_right_engine_and_weights():
    book = directory(a=9)
    book.join(0.0, prove(Card("g", "g-1", "127.0.0.9", "1", "lia-x", 1, weights="mine"), KEY))
    assert book.admit(0.0, Asked(engine="lia-x", weights="mine")).node == "g"
    with pytest.raises(ServerFull):
        book.admit(0.0, Asked(engine="lia-x"))
    with pytest.raises(ServerFull):
        book.admit(0.0, Asked(engine="lia-x", weights="other"))


def test_a_node_that_is_drained_takes_none_and_is_told_when():
    book = directory(a=2, b=2)
    book.drain(0.0, "a", 60.0)
    assert {book.admit(0.0, Asked()).node for _ in range(2)} == {"b"}
    with pytest.raises(ServerFull):
        book.admit(0.0, Asked())
    assert book.report(20.0, "a", run("a")).drain_in == 40.0
    assert book.report(70.0, "a", run("a")).drain_in == 0.0
    book.undrain("a")
    assert book.report(70.0, "a", run("a")).drain_in is None
    assert book.admit(70.0, Asked()).node == "a"
    with pytest.raises(UnknownNode, match=r"There are: a, b"):
        book.drain(0.0, "c", 1.0)


def test_a_directory_that_begins_anew_knows_all_as_soon_as_its_nodes_have_joined():
    book = Directory(KEY, "1", now=100.0)
    with pytest.raises(Busy, match="has just begun"):
        book.find(100.5, "s", "default")
    book.join(101.0, card("a"), (held("s"),), dead=("old",), drain_in=7.0)
    assert book.find(101.0, "s", "default")[0] == "a"
    assert book.behind("old") is Behind.DEAD
    assert book.overview(102.0).nodes[0].drain_in == 6.0
    with pytest.raises(UnknownSession):
        book.find(100.0 + YOUNG_S, "t", "default")


def test_links_follow_the_newest_session_and_stay_with_it():
    view, drive = link_keys("a secret of more than twenty-two")
    old, new = (Held(Keys(id=id, view=view, drive=drive), lasting=True) for id in ("old", "new"))
    book = directory(a=1, b=1)
    book.report(0.0, "a", run("a"), (old,))
    book.report(0.0, "b", run("b"), (new,))
    assert book.find(0.0, view, "default")[0] == "b"
    book.report(0.1, "a", run("a"), (replace(old, lingers=True),))
    assert book.find(0.1, view, "default")[0] == "b"
    book.report(0.2, "a", run("a"), ())
    assert book.find(0.2, view, "default")[0] == "b"
    book.report(0.3, "b", run("b"), ())
    assert book.behind(view) is Behind.NOTHING


def test_renewed_links_lead_on_and_the_old_ones_are_dead():
    book = directory(a=1)
    book.report(0.0, "a", run("a"), (held("s"),))
    book.report(0.1, "a", run("a"), (Held(Keys(id="s", view="v2", drive="d2")),))
    assert book.behind("s-view") is Behind.DEAD
    assert book.find(0.1, "v2", "default")[0] == "a"


def test_who_comes_back_to_a_link_gets_the_node_where_it_lingers_or_ends_it_there():
    book = directory(a=1, b=5)
    book.report(0.0, "a", run("a"), (held("s", lasting=True, lingers=True),))
    granted = book.admit(0.0, Asked(view="s-view"))
    assert (granted.node, granted.replaces) == ("a", None)
    book.release(granted.ticket)
    assert book.admit(0.0, Asked(view="s-view", tenant="two")).node == "b"
    book.drain(0.0, "a", 60.0)
    granted = book.admit(0.0, Asked(view="s-view"))
    assert (granted.node, granted.replaces) == ("b", ("a", "s"))


def test_sessions_that_yield_give_way_where_all_slots_are_taken():
    book = directory(a=1, b=1)
    book.report(0.0, "a", run("a"), (held("s"),))
    book.report(0.0, "b", run("b"), (held("t", yields=True),))
    assert book.admit(0.0, Asked()).node == "b"
    with pytest.raises(ServerFull):
        book.admit(0.0, Asked())


class Anything(RuleBasedStateMachine):
    """Whatever happens in whatever order, the books agree with each other."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.book = Directory(KEY, "1", now=-100.0)
        self.runs, self.has, self.granted, self.count = {}, {}, [], 0

    names = st.sampled_from("abc")

    @rule(name=names, slots=st.integers(1, 3), again=st.booleans())
    def join(self, name, slots, again):
        self.count += not again
        try:
            self.book.join(self.now, card(name, slots, run=str(self.count)), tuple(self.has.get(name, ())))
        except NameTaken:
            return
        self.runs[name] = f"{name}-{self.count}"

    @rule(name=names, end=st.integers(0, 2), lingers=st.booleans())
    def report(self, name, end, lingers):
        self.count += 1
        sessions = self.has.setdefault(name, [])[end:]
        sessions += [held(f"s{self.count}", ticket=g.ticket, yields=lingers) for g in self.granted if g.node == name]
        self.granted = [g for g in self.granted if g.node != name]
        self.has[name] = list({h.keys.id: h for h in sessions}.values())
        try:
            self.book.report(self.now, name, self.runs.get(name, ""), tuple(self.has[name]))
        except NotJoined:
            self.has[name] = []

    @rule(tenant=st.sampled_from(["one", "two"]))
    def admit(self, tenant):
        try:
            self.granted.append(self.book.admit(self.now, Asked(tenant, most=4)))
        except (ServerFull, Busy):
            assert all(node.shelved == 0 for node in self.book.nodes.values()) or self.book._tenants[tenant] >= 4

    @rule(name=names)
    def suspect(self, name):
        self.book.suspect(name, self.runs.get(name, ""))

    @rule(name=names, on=st.booleans())
    def drain(self, name, on):
        if name in self.book.nodes:
            self.book.drain(self.now, name, 5.0) if on else self.book.undrain(name)

    @rule(name=names)
    def leave(self, name):
        if name in self.book.nodes:
            self.book.leave(name, self.runs[name])

    @rule(seconds=st.sampled_from([0.5, LEASE_S, TICKET_S]))
    def wait(self, seconds):
        self.now += seconds
        self.book.expire(self.now)

    @invariant()
    def the_books_agree(self):
        book = self.book
        tenants = Counter(h.tenant for node in book.nodes.values() for h in node.sessions.values())
        tenants.update(ticket.tenant for ticket in book._tickets.values())
        assert tenants == +book._tenants
        assert {t for node in book.nodes.values() for t in node.tickets} == set(book._tickets)
        for name, node in book.nodes.items():
            takes = node.drain_at is None and not node.suspected
            assert node.shelved == (node.free if takes else 0)
            standing = [free for free, row in enumerate(book._shelves[node.card.kind]._by_free) if name in row]
            assert standing == ([node.shelved] if node.shelved else [])
        assert all(id in book.nodes[name].sessions for name, id in book._where.values())
        assert not set(book._dead) & set(book._where)
        assert book._slots == sum(node.card.slots for node in book.nodes.values())


Anything.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_whatever_happens_the_books_agree = Anything.TestCase
