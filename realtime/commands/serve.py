"""`avatar serve`, and what it shares with `avatar demo`."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realtime.commands import options as o
from realtime.commands.native import quiet_native_libraries
from realtime.commands.terminal import say
from realtime.engines.choose import check_views, choose_engine, engine_settings, make_engine, read_portrait
from realtime.errors import BadValue, MissingExtra
from realtime.families import builtin
from realtime.flow.memory import few_arenas, settle
from realtime.flow.threads import cores
from realtime.settings import EngineSettings

if TYPE_CHECKING:
    from fastapi import APIRouter

    from realtime.cluster.worker import Setup
    from realtime.engines import Engine
    from realtime.server.common.limits import Limits
    from realtime.server.hosting.gallery import GalleryPortrait
    from realtime.server.http.security import Policy
    from realtime.server.places import Place
    from realtime.server.places.here import Studio
    from realtime.server.serving import Address, Tls

TOKEN_VARIABLE = "AVATAR_TOKEN"

Host = Annotated[str, typer.Option(help="Address to bind. Any but this machine's own needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")]
Token = Annotated[
    str | None,
    typer.Option(help=f"What callers must know, 16 characters or more; made where needed. Or ${TOKEN_VARIABLE}."),
]
Portraits = Annotated[list[str] | None, typer.Option(help="Portraits to offer, before the built-in ones. Repeats.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Another host name under which the server is reached (a proxy's). Repeats."),
]
AllowOrigin = Annotated[
    list[str] | None, typer.Option(help="Another site whose pages may call: https://example.org. Repeats.")
]
BehindProxy = Annotated[
    list[str] | None,
    typer.Option(
        help="Address of a proxy that stands before the server: who calls is read from its X-Forwarded-For, "
        "which is believed from nobody else. Repeats."
    ),
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate (PEM) for https.")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key (PEM).")]
IceServer = Annotated[
    list[str] | None,
    typer.Option(help="stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT. None by default. Repeats."),
]
SessionMinutes = Annotated[float, typer.Option(min=0.1, help="Longest session.")]
Mark = Annotated[bool, typer.Option("--mark/--no-mark", help='Draw a small "AI avatar" into the picture.')]


@dataclass(frozen=True, slots=True)
class StudioSetup:
    """How a studio in another process is made: plain data, which travels there. threads: None for as many as one that
    is alone has."""

    settings: EngineSettings
    portraits: tuple[str, ...]
    ice_servers: tuple[str, ...]
    media_host: str
    session_s: float
    mark: bool
    threads: int | None = None
    views: tuple[str, ...] = ()

    def engine(self) -> Engine:
        """One to try out."""
        quiet_native_libraries()
        return make_engine(self.settings)

    def open(self, slots: int) -> contextlib.AbstractContextManager[Studio]:
        """The studio, warm."""
        from realtime.server.common.limits import Limits
        from realtime.server.places.here import StudioSettings
        from realtime.server.rtc.peer import RtcSettings

        quiet_native_libraries()
        limits = replace(Limits(), sessions=slots, session_s=self.session_s)
        rtc = RtcSettings(self.ice_servers, self.media_host)
        settings = StudioSettings(limits, rtc, mark=self.mark, round=self.settings.round)
        if self.threads is not None:
            settings = replace(settings, threads=self.threads)
        return open_studio(self.settings, read_gallery(self.portraits, self.views), settings)


def need_serve_extra() -> None:
    """Raise MissingExtra where the server's libraries are not installed."""
    for library in ("aiortc", "fastapi", "prometheus_client", "uvicorn", "websockets"):
        try:
            __import__(library)
        except ModuleNotFoundError as error:
            raise MissingExtra("the web server", error.name or library, "serve") from error


def command(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            show_default="two for each core, at most 8",
            help="Avatars at once. One of the mesh engine takes about half a core for 30 fps at 512 px; where more "
            "run than fit, all get the same lower rate.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            show_default="1 on 127.0.0.1 and for neural engines, else one for each core, at most 4",
            help="Processes among which the sessions are divided, beside one for HTTP: one alone keeps little more "
            "than a core busy. Each takes 330 MB. 1: all in one process.",
        ),
    ] = None,
    engine: o.EngineName = "auto",
    portrait: Portraits = None,
    view: o.Views = None,
    size: o.Size = "512",
    weights: o.Weights = None,
    device: o.Device = "auto",
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    behind_proxy: BehindProxy = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_self_signed: Annotated[
        bool, typer.Option("--tls-self-signed", help="https with a certificate made now; browsers warn once.")
    ] = False,
    ice_server: IceServer = None,
    media_host: Annotated[
        str | None,
        typer.Option(
            show_default="that of --host",
            help="Address for sound and pictures (UDP). 0.0.0.0 where a proxy on this machine brings others here.",
        ),
    ] = None,
    session_minutes: SessionMinutes = 240.0,
    mark: Mark = True,
    quiet: o.Quiet = False,
) -> None:
    """Serve browsers over WebRTC: each gets an avatar of its own.

    [b]Examples[/b]

      avatar serve

      avatar serve --portrait me.jpg --max-sessions 2

      avatar serve --portrait front.jpg --view left.jpg --view smiling.jpg

      avatar serve --size 9:16

      avatar serve --host 0.0.0.0 --tls-self-signed

      avatar serve --workers 4 --max-sessions 12

    Beside the page: WHIP at /whip (OBS publishes its camera there), WHEP at /whep/KEY (players watch; KEY is the end
    of the view's link), motion codes at ws://.../api/motion (avatar send), metrics at /metrics, the API at
    /openapi.json.
    """
    need_serve_extra()
    from realtime.server.common.limits import Limits, suitable_sessions
    from realtime.server.http.security import is_loopback
    from realtime.server.places.here import StudioSettings
    from realtime.server.rtc.peer import RtcSettings
    from realtime.server.serving import Address, check_tls, self_signed

    check_media(ice_server, media_host)
    if tls_self_signed and tls_cert:
        raise BadValue("--tls-self-signed", True, "a certificate is given with --tls-cert already")
    tls = check_tls(tls_cert, tls_key)
    policy = policy_for(host, token, allow_host, allow_origin, tls is not None or tls_self_signed)
    sessions = max_sessions or suitable_sessions(cores())
    limits = replace(Limits(), sessions=sessions, session_s=60.0 * session_minutes)
    wanted = engine_settings(engine, size, weights, device)
    check_views(choose_engine(wanted), view or ())
    if view and len(portrait or ()) != 1:
        raise BadValue("--view", view[0], "views are of the one person in --portrait; give one --portrait")
    alone = is_loopback(host) and not behind_proxy
    count = workers_for(wanted, sessions, 1 if workers is None and alone else workers)
    setup = StudioSetup(
        wanted, tuple(portrait or ()), tuple(ice_server or ()), media_host or host, limits.session_s, mark,
        views=tuple(view or ()),
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if tls_self_signed:
            tls = stack.enter_context(self_signed(host))
        where = policy, Address(host, port), tls
        if count == 1:
            rtc = RtcSettings(setup.ice_servers, setup.media_host)
            settings = StudioSettings(limits, rtc, mark=mark, round=wanted.round)
            studio = stack.enter_context(open_studio(wanted, read_gallery(setup.portraits, setup.views), settings))
            serve(studio, *where, proxies=behind_proxy or (), quiet=quiet)
        else:
            read_gallery(setup.portraits, setup.views)  # what is wrong with them is said here
            setup = replace(setup, threads=max(2, cores() // count))
            turn = setup.ice_servers
            serve_with(setup, count, limits, *where, ice_servers=turn, proxies=behind_proxy or (), quiet=quiet)


def workers_for(engine: EngineSettings, sessions: int, wanted: int | None) -> int:
    """How many processes host sessions. Those of neural engines share a GPU, or take gigabytes each."""
    from realtime.cluster.processes import suitable_workers

    if wanted is not None:
        return min(wanted, sessions)
    return suitable_workers(cores(), sessions) if choose_engine(engine) == builtin() else 1


def serve_with(
    setup: Setup,
    count: int,
    limits: Limits,
    policy: Policy,
    address: Address,
    tls: Tls | None = None,
    *,
    ice_servers: Sequence[str] = (),
    **more: Any,
) -> None:
    """Serve sessions that live in so many processes. more: see `serve`. Raises what keeps all of them from being
    made."""
    from realtime.cluster.processes import Processes
    from realtime.server.places import Terms
    from realtime.server.rtc.peer import ice_servers_for_browser

    place = Processes(setup, count, Terms(limits, ice_servers=tuple(ice_servers_for_browser(ice_servers))))
    try:
        serve(place, policy, address, tls, stops=place.when_failed, **more)
    finally:
        place.kill()
    if place.failure is not None:
        raise place.failure


def check_media(ice_servers: Sequence[str] | None, host: str | None) -> None:
    """Raises BadValue for what is no ICE server, or no address of this machine."""
    from realtime.server.rtc.addresses import can_listen
    from realtime.server.rtc.peer import parse_ice_server

    for server in ice_servers or ():
        try:
            parse_ice_server(server)
        except ValueError as error:
            raise BadValue("--ice-server", server, str(error)) from None
    if host is not None and not can_listen(host):
        raise BadValue("--media-host", host, "it is no address of this machine")


def policy_for(
    host: str, token: str | None, names: Sequence[str] | None, origins: Sequence[str] | None, tls: bool
) -> Policy:
    """Who may call, by the options. Raises NeedsToken, BadValue."""
    from realtime.server.http.security import Policy

    token = token or os.environ.get(TOKEN_VARIABLE) or None
    return Policy.for_host(host, token, frozenset(names or ()), frozenset(origins or ()), tls)


@contextlib.contextmanager
def open_studio(
    engine: EngineSettings, portraits: list[GalleryPortrait], settings: object = None
) -> Iterator[Studio]:
    """A studio whose first engine is made and warm. Raises what making an engine raises."""
    few_arenas()
    from realtime.media.backgrounds import Behind
    from realtime.server.places.here import Studio, StudioSettings
    from realtime.server.serving import Spare
    from realtime.session.core import Rendering, warm_encoder

    assert settings is None or isinstance(settings, StudioSettings)
    shared = [*portraits, *builtin_gallery()]

    def warm(made: Engine) -> None:
        rendering = Rendering(made)
        rendering.swap(shared[0].ready_for(made, Behind()))
        warm_encoder(made, rendering.still)

    spare = Spare(lambda: make_engine(engine, live=True), warm)
    spare.fill()
    try:
        yield Studio(spare, shared, settings)
    finally:
        spare.close()


def builtin_gallery() -> list[GalleryPortrait]:
    """The portraits that come with the package."""
    from realtime.media.portraits import builtin_portrait, builtin_portraits
    from realtime.server.hosting.gallery import GalleryPortrait

    return [GalleryPortrait(name, name.capitalize(), builtin_portrait(name)) for name in builtin_portraits()]


def read_gallery(specs: Iterable[str], views: Sequence[str] = ()) -> list[GalleryPortrait]:
    """The portraits that `--portrait` names. views: more pictures of the person, for each of them. Raises BadFile."""
    from realtime.server.hosting.gallery import GalleryPortrait, View

    more = [View(file.image, file.name) for file in map(read_portrait, views)]
    return [
        GalleryPortrait(f"given-{i}", Path(file.name).stem[:40], file.image, views=more)
        for i, file in enumerate(map(read_portrait, specs))
    ]


def serve(
    place: Place,
    policy: Policy,
    address: Address,
    tls: Tls | None = None,
    *,
    open_browser: bool = False,
    proxies: Sequence[str] = (),
    hint: str = "",
    quiet: bool = False,
    started: Callable[[str], None] = lambda link: None,
    more: APIRouter | None = None,
    stops: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:
    """Serve until interrupted. proxies: see `server_config`. hint: said after the link; "{port}" in it is the
    port. started: called with the link once it answers. more: further routes. stops: given what ends the server.
    Raises BadValue, DeviceError."""
    import uvicorn

    from realtime.server.http.app import create_app
    from realtime.server.serving import advice, allow_many_files, listen, reachable_name, server_config, threshold

    sock = listen(address)
    port = sock.getsockname()[1]
    link = policy.link(reachable_name(address.host), port)
    base = link.partition("?")[0].rstrip("/")

    def announce(view: str, how: str) -> None:
        say(f"{how} session: seen at {base}/view/{view}")

    sys.setswitchinterval(0.001)  # seconds: the event loop waits at most this long for a busy worker thread
    allow_many_files()
    app = create_app(place, policy, announce)
    if more is not None:
        app.include_router(more)
    config = server_config(app, place.terms.limits, tls, proxies)
    server, sock = uvicorn.Server(config), threshold(sock, config)

    def tell() -> None:
        while not server.started and not server.should_exit:
            threading.Event().wait(0.05)
        if server.started:
            if not quiet:
                say(f"Open {link}")
                for line in filter(None, [advice(policy), hint.replace("{port}", str(port))]):
                    say(line)
                say("Ctrl-C ends it")
            started(link)
            if open_browser:
                webbrowser.open(link)

    def stop() -> None:
        server.should_exit = True

    stops(stop)
    threading.Thread(target=tell, daemon=True).start()
    settle()
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        pass
    finally:
        server.should_exit = True
        sock.close()
