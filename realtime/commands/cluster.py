"""`avatar cluster`: sessions placed over many machines."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realtime.commands import options as o
from realtime.commands import serve as v
from realtime.commands.terminal import say
from realtime.engines.choose import choose_engine, engine_settings
from realtime.errors import AvatarError, BadValue, MissingExtra, NoConnection
from realtime.families import builtin
from realtime.settings import EngineSettings

if TYPE_CHECKING:
    from realtime.cluster.joining import Machine

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Sessions placed over many machines: nodes host them, fronts are what clients call.

    [b]Three machines[/b]

      avatar cluster node --head --address 10.0.0.1               prints the cluster's key

      AVATAR_CLUSTER_KEY=... avatar cluster node --join 10.0.0.1 --address 10.0.0.2

      AVATAR_CLUSTER_KEY=... avatar cluster front --join 10.0.0.1 --address 10.0.0.3 --host 0.0.0.0

    Sound and pictures go straight between a client and the node that has its session.""",
)

Address = Annotated[
    str | None, typer.Option(help="This machine's own address, as the other machines reach it.", show_default="found")
]
Join = Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="Where the head is.")]


def need_cluster_extra() -> None:
    """Raise MissingExtra where the libraries of a cluster are not installed."""
    v.need_serve_extra()
    if find_spec("ray") is None:  # it is imported later: it reads its settings from the environment then
        raise MissingExtra("a cluster", "ray", "cluster")


@app.command()
def node(
    head: Annotated[bool, typer.Option("--head", help="Begin a cluster: its directory lives here.")] = False,
    join: Join = None,
    address: Address = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the head.")] = 6379,
    name: Annotated[str | None, typer.Option(help="What to call it.", show_default="the machine's name")] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=256,
            show_default="found by a trial of two seconds, at most 8",
            help="Sessions at once; 0: none, a head alone.",
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="With --head: a Redis that keeps what a head must know when it returns."
        ),
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="Ctrl-C lets sessions go on for so long at most; a second one ends at once.")
    ] = 60.0,
    engine: o.EngineName = "auto",
    portrait: v.Portraits = None,
    size: o.Size = "512",
    weights: o.Weights = None,
    device: o.Device = "auto",
    ice_server: v.IceServer = None,
    media_host: Annotated[
        str | None, typer.Option(help="Address for sound and pictures (UDP).", show_default="that of --address")
    ] = None,
    session_minutes: v.SessionMinutes = 240.0,
    mark: v.Mark = True,
    quiet: o.Quiet = False,
) -> None:
    """Host sessions on this machine. One command for each machine, or for each GPU.

    [b]Examples[/b]

      avatar cluster node --head --address 10.0.0.1

      avatar cluster node --join 10.0.0.1 --slots 6

      avatar cluster node --head --slots 0 --redis 10.0.0.9:6379

      CUDA_VISIBLE_DEVICES=1 avatar cluster node --join 10.0.0.1 --name gpu-1

    All parts of a cluster know one key, from AVATAR_CLUSTER_KEY; a head makes one where there is none, and prints it.
    Nodes talk to each other and to fronts on many TCP ports: let nobody else reach those. Only UDP has to be open.
    """
    need_cluster_extra()
    from realtime.cluster.joining import KEY_VARIABLE, joined

    if head == (join is not None):
        raise BadValue("--join", join, "either it is given, or --head: a node begins a cluster or joins one")
    if redis and not head:
        raise BadValue("--redis", redis, "it goes with --head")
    v.check_media(ice_server, media_host)
    name = name or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise BadValue("--name", name, "letters, digits, dots, dashes, 64 at most")
    settings = engine_settings(engine, size, weights, device)
    v.read_gallery(portrait or ())  # what is wrong with them is said here, not in a log
    machine = _machine(join, address, port, redis)
    setup = v.StudioSetup(
        settings,
        tuple(portrait or ()),
        tuple(ice_server or ()),
        media_host or machine.address,
        60 * session_minutes,
        mark,
    )
    launch = f"avatar_{secrets.token_hex(8)}"
    machine = replace(machine, resources={launch: 1.0, **machine.resources})
    if not quiet:
        say(f"Starting Ray on {machine.address}")
    with joined(machine) as check:
        if head:
            from realtime.cluster.actors import start_directory

            start_directory()
            if not quiet:
                say(f"Others join with: {KEY_VARIABLE}={machine.key} avatar cluster node --join {machine.head}")
        if slots == 0:
            if not quiet:
                say("No sessions are hosted here. Ctrl-C ends it")
            _wait_until(check)
        else:
            _host(check, setup, name, launch, machine.address, slots, drain_seconds, quiet)


def _machine(join: str | None, address: str | None, port: int = 0, redis: str | None = None) -> Machine:
    """How this machine takes part; without `join` it is the head. Raises BadValue."""
    from realtime.cluster.joining import HEAD, KEY_VARIABLE, Machine, split_address
    from realtime.server.rtc.addresses import can_listen
    from realtime.server.serving import reachable_name

    address = address or reachable_name("0.0.0.0")
    if not can_listen(address):
        raise BadValue("--address", address, "it is no address of this machine")
    key = os.environ.get(KEY_VARIABLE, "")
    if join is not None:
        if not key:
            raise BadValue(KEY_VARIABLE, "", "set it to the key that the head printed")
        at, port = split_address(join)
        return Machine(address, f"{at}:{port}", key)
    if key and len(key) < 16:
        raise BadValue(KEY_VARIABLE, "a short one", "16 characters or more; without one the head makes one")
    if redis is not None:
        split_address(redis, "--redis")
    if address == "127.0.0.1":
        raise BadValue("--address", address, "Ray takes no 127.0.0.1; on one machine alone give 127.0.0.2")
    return Machine(address, f"{address}:{port}", key or secrets.token_urlsafe(24), True, {HEAD: 1.0}, redis)


def _wait_until(check: Callable[[], None]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            check()
            time.sleep(1.0)


def _host(
    check: Callable[[], None], setup: v.StudioSetup, name: str, launch: str, address: str, slots: int | None,
    drain_s: float, quiet: bool,
) -> None:  # fmt: skip
    """Keep a node until Ctrl-C, then let its sessions end. Raises what keeps it out of the cluster."""
    import ray

    from realtime.cluster.actors import NodeState, start_node
    from realtime.server.rtc.peer import ice_servers_for_browser

    servers = tuple(ice_servers_for_browser(setup.ice_servers))
    weights = Path(setup.settings.weights).name if setup.settings.weights else ""
    kind = {"engine": choose_engine(setup.settings), "weights": weights, "ice_servers": servers}
    kind["device"] = setup.settings.device
    actor = start_node(launch, _gpu(setup.settings), setup, name, address, slots, kind)
    was: NodeState | None = None
    try:
        while True:
            check()
            found = _state(actor)
            if found is not None and found.failure is not None:
                raise found.failure
            if found is not None and found.joined and (was is None or not was.joined) and not quiet:
                say(f"Node {name} is ready: {found.slots} sessions at once. Ctrl-C empties and ends it")
            if was is not None and found is None and not quiet:
                say(f"Node {name} does not answer; Ray starts it again")
            was = found
            time.sleep(1.0)
    except KeyboardInterrupt:
        if was is not None:
            _empty(check, actor, was.sessions, drain_s, quiet)
    finally:
        with contextlib.suppress(Exception):  # it may be gone
            ray.get(actor.close.remote(), timeout=10.0)


def _gpu(settings: EngineSettings) -> bool:
    """Its actor asks Ray for a GPU."""
    if settings.device == "cpu" or choose_engine(settings) == builtin():
        return False
    with contextlib.suppress(ImportError):
        import torch

        return torch.cuda.is_available()
    return False


def _state(actor: Any) -> Any:
    """How a node is; None while it is being started, or is not there. Raises what its constructor raised."""
    import ray
    from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError

    try:
        return ray.get(actor.state.remote(), timeout=5.0)
    except GetTimeoutError:
        return None
    except (ActorDiedError, RayTaskError) as error:
        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(cause, AvatarError):
            raise cause from None
        if isinstance(error, ActorDiedError) and "creation task" in str(error):
            said = [line for line in str(error).splitlines() if line.strip()]
            raise AvatarError(f"the node could not be made: {said[-1].strip()}") from error
        return None
    except RayError:
        return None


def _empty(check: Callable[[], None], actor: Any, sessions: int, seconds: float, quiet: bool) -> None:
    """Take no new sessions and wait until those that there are have ended, or are moved."""
    import ray

    with contextlib.suppress(KeyboardInterrupt):
        ray.get(actor.drain.remote(seconds), timeout=5.0)
        if sessions and not quiet:
            say(f"Sessions that are still here: {sessions}. They are moved in {seconds:.0f} s; Ctrl-C ends them now")
        until = time.monotonic() + seconds + 3.0
        while time.monotonic() < until:
            check()
            found = _state(actor)
            if found is None or not found.sessions:
                return
            time.sleep(0.5)


@app.command()
def front(
    join: Join = None,
    address: Address = None,
    host: v.Host = "127.0.0.1",
    port: v.Port = 8000,
    token: v.Token = None,
    tenant: Annotated[
        str, typer.Option(help="Whose sessions these are: fronts of other tenants are refused them.")
    ] = "default",
    most: Annotated[int, typer.Option(min=0, help="Sessions of this tenant at once; 0: as many as there are.")] = 0,
    engine: Annotated[str, typer.Option(help="Use nodes of this engine alone.", show_default="any")] = "",
    weights: Annotated[str, typer.Option(help="And of the weight file of this name.", show_default="any")] = "",
    allow_host: v.AllowHost = None,
    allow_origin: v.AllowOrigin = None,
    behind_proxy: v.BehindProxy = None,
    tls_cert: v.TlsCert = None,
    tls_key: v.TlsKey = None,
    quiet: o.Quiet = False,
) -> None:
    """Be what clients call: the same page and HTTP interface as `avatar serve`, for sessions on the nodes.

    [b]Examples[/b]

      avatar cluster front --join 10.0.0.1 --address 10.0.0.3 --host 0.0.0.0

      avatar cluster front --join 10.0.0.1 --tenant studio-b --most 10 --port 8001

    As many of them as wanted: each knows all sessions, and one that ends takes none with it. Fronts of one tenant are
    given one token.
    """
    need_cluster_extra()
    from realtime.cluster.front import Front, FrontSettings
    from realtime.cluster.joining import joined
    from realtime.cluster.operator import router
    from realtime.server.serving import Address as Listening
    from realtime.server.serving import check_tls

    if join is None:
        raise BadValue("--join", "", "say where the head is, as in --join 10.0.0.1")
    tls = check_tls(tls_cert, tls_key)
    policy = v.policy_for(host, token, allow_host, allow_origin, tls is not None)
    machine = _machine(join, address)
    if not quiet:
        say(f"Starting Ray on {machine.address}")
    with joined(machine):
        from realtime.cluster.actors import RayDirectory, RayNodes

        directory = RayDirectory()
        _greet(directory)
        place = Front(directory, RayNodes(), FrontSettings(tenant, most, engine, weights))
        more = router(place, machine.key)
        v.serve(place, policy, Listening(host, port), tls, proxies=behind_proxy or (), quiet=quiet, more=more)


def _greet(directory: Any) -> None:
    """Raises WrongVersion, DirectoryLost."""
    import asyncio

    import realtime
    from realtime.cluster.cards import DirectoryLost

    async def greet() -> None:
        for left in reversed(range(10)):
            try:
                await directory("greet", realtime.__version__)
                return
            except DirectoryLost:
                if not left:
                    raise
                await asyncio.sleep(1.0)

    asyncio.run(greet())


Url = Annotated[str, typer.Option(help="A front, with its token: the link that it printed.")]
FRONT = "http://127.0.0.1:8000"


@app.command()
def status(
    front: Url = FRONT,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What nodes there are, and what they do. Needs AVATAR_CLUSTER_KEY.

    [b]Examples[/b]

      avatar cluster status

      avatar cluster status --front 'http://10.0.0.3:8000/?token=...' --json
    """
    found = _call("GET", front, "")
    if json:
        import json as writer

        print(writer.dumps(found, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("node", "address", "state", "sessions", "slots", "engine", "heard of", box=None)
    for each in found["nodes"]:
        state = each["state"] if each["drain_s"] is None else f"{each['state']} {each['drain_s']:.0f} s"
        engine = " ".join(filter(None, [each["engine"], each["weights"]]))
        row = (
            each["name"],
            each["address"],
            state,
            each["sessions"],
            each["slots"],
            engine,
            f"{each['seen_s']:.1f} s",
        )
        table.add_row(*map(str, row))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{found['sessions']} of {found['slots']} sessions; {found['admitted']} given, {found['refused']} refused, "
        f"{found['nodes_lost']} nodes and {found['sessions_lost']} sessions lost since the directory began"
    )


@app.command()
def drain(
    name: Annotated[str, typer.Argument(help="The node, as avatar cluster status names it.")],
    front: Url = FRONT,
    seconds: Annotated[
        float, typer.Option(min=0, max=86400, help="What sessions have left to end by themselves.")
    ] = 60.0,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take sessions again.")] = False,
) -> None:
    """Empty a node: it takes no new sessions, and after a while those that it has are told to offer again.

    [b]Examples[/b]

      avatar cluster drain node-2 --seconds 300

      avatar cluster drain node-2 --undo
    """
    _call("DELETE" if undo else "POST", front, f"/nodes/{name}/drain" + ("" if undo else f"?seconds={seconds}"))
    say(
        f"Node {name} takes sessions again"
        if undo
        else f"Node {name} takes no new sessions; it is empty in {seconds:g} s"
    )


def _call(method: str, front: str, path: str) -> Any:
    """Ask a front. front: its link, with its token. Raises BadValue, NoConnection, AvatarError."""
    import json
    from urllib.error import HTTPError, URLError
    from urllib.parse import parse_qs, urlsplit
    from urllib.request import Request, urlopen

    from realtime.cluster.joining import KEY_VARIABLE
    from realtime.cluster.operator import KEY_HEADER

    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise BadValue(KEY_VARIABLE, "", "set it to the key that the head printed")
    parts = urlsplit(front)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise BadValue("--front", front, f"it is a front's link, such as {FRONT}")
    headers = {KEY_HEADER: key}
    if token := parse_qs(parts.query).get("token") or [os.environ.get(v.TOKEN_VARIABLE, "")]:
        headers["Authorization"] = f"Bearer {token[0]}"
    request = Request(f"{parts.scheme}://{parts.netloc}/api/cluster{path}", method=method, headers=headers)
    try:
        with urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")
    except HTTPError as error:
        try:
            said = json.loads(error.read())["detail"]
        except (ValueError, KeyError, TypeError):
            said = f"it answered {error.code}"
        raise AvatarError(f"{parts.netloc}: {said}") from None
    except (URLError, OSError) as error:
        raise NoConnection(parts.netloc, f"no front answers there ({getattr(error, 'reason', error)})") from None
