"""Fetching published weights from the Hugging Face hub, and registering files that are here already.

The hub's own client does the transfer: it resumes, shows progress, and honours HF_ENDPOINT and HF_TOKEN. A file is
registered only when its checksum is the hub's and the network in it has been checked whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from realtime.engines.weights.registry import (
    Published,
    Record,
    catalogue,
    find_weights,
    gatherer,
    models_folder,
    record_of,
    records,
    sha256_of,
    weight_files,
    write,
)
from realtime.errors import BadFile, BadValue, ConnectionLost, MissingExtra, UnknownName
from realtime.families import FAMILIES
from realtime.home import user_path
from realtime.outputs import not_written, write_whole

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def published(name: str) -> Published:
    """Raises UnknownName, and BadValue for weights that their authors publish where no client can fetch them."""
    models = catalogue()
    if name not in models:
        raise UnknownName("published model", name, models)
    model = models[name]
    if not model.repository:
        raise BadValue("model", name, f"get the file from {model.where}, then: avatar models add {name} PATH")
    return model


def licence_accepted(model: Published) -> bool:
    """Whether this user has accepted the licence of these weights before."""
    return _accepted().get(model.name) == model.licence


def accept_licence(model: Published) -> None:
    """Remember that the licence was accepted. Raises BadFile, NotWritten."""
    path = _licences()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from error
    write_whole(path, json.dumps({**_accepted(), model.name: model.licence}, indent=1) + "\n")


def _licences() -> Path:
    return models_folder() / "accepted" / "licences.json"


def _accepted() -> dict[str, str]:
    try:
        content = json.loads(_licences().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def pull(model: Published) -> Record:
    """Fetch, check and register. The licence must have been accepted. A transfer that was cut off goes on.

    Raises ConnectionLost, BadFile, BadValue, MissingExtra.
    """
    if not licence_accepted(model):
        raise BadValue("licence", model.licence, "it has to be accepted first: --accept-licence")
    folder = models_folder() / model.name
    fetched = [_checked(model, folder, name) for name in model.filenames or (model.filename,)]
    path, digest = fetched[0]
    if model.filenames:
        path, digest = _gathered(model.name, model.family, folder)
        for part, _ in fetched:
            part.unlink(missing_ok=True)
    about = _content(path, model.family)
    origin = f"{_endpoint() or 'https://huggingface.co'}/{model.repository}"
    record = Record(
        model.name, model.family, about, str(path), digest, path.stat().st_size, origin, accepted=model.licence
    )
    write(record)
    return record


def _checked(model: Published, folder: Path, filename: str) -> tuple[Path, str]:
    """A fetched file and its SHA-256, which is the one that the hub states. Raises BadFile, ConnectionLost."""
    path, told = _fetch(model, folder, filename)
    digest = sha256_of(path)
    if told and told != digest:
        path.unlink(missing_ok=True)
        raise BadFile(path, "does not have the checksum that the hub gives; it was removed, pull it again")
    return path, digest


def _gathered(name: str, family: str, folder: Path) -> tuple[Path, str]:
    """The weights in `folder` as one file of ours, and its SHA-256. Raises BadFile, MissingExtra."""
    gather = gatherer(family)
    if gather is None:
        raise BadFile(folder, "is a folder, not a weight file")
    path = models_folder() / name / f"{name}.safetensors"
    with _torch():
        gather(folder, path)
    return path, sha256_of(path)


def _endpoint() -> str | None:
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _fetch(model: Published, folder: Path, filename: str) -> tuple[Path, str]:
    """The downloaded file, and its SHA-256 as the hub states it ("" where it states none)."""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
        from huggingface_hub.utils.logging import set_verbosity_error
    except ModuleNotFoundError as error:
        raise MissingExtra("avatar models pull", "huggingface_hub", "torch") from error
    set_verbosity_error()  # what goes wrong is said once, below
    endpoint = _endpoint()
    host = endpoint or "https://huggingface.co"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            etag = get_hf_file_metadata(hf_hub_url(model.repository, filename, endpoint=endpoint)).etag
        except RemoteEntryNotFoundError:
            filename = _remote_name(model, filename, endpoint)
            etag = get_hf_file_metadata(hf_hub_url(model.repository, filename, endpoint=endpoint)).etag
        path = Path(hf_hub_download(model.repository, filename, local_dir=folder, endpoint=endpoint))
    except LocalEntryNotFoundError as error:
        raise ConnectionLost(host, f"cannot be reached; {_elsewhere(model)}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        why = {401: "asks for a login (HF_TOKEN)", 403: "asks for a login (HF_TOKEN)", 404: "does not have it"}
        reason = why.get(status, f"answers with status {status}")
        raise ConnectionLost(f"{host}/{model.repository}", f"{reason}; {_elsewhere(model)}") from error
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise BadFile(error.filename, f"cannot be written ({error.strerror})") from error
        raise ConnectionLost(host, f"the transfer broke off, pull again to go on ({_brief(error)})") from error
    except Exception as error:
        # The hub's client lets the errors of its HTTP library through, whichever that is.
        if not type(error).__module__.partition(".")[0].startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise
        raise ConnectionLost(host, f"cannot be reached; {_elsewhere(model)} ({_brief(error)})") from error
    stated = (etag or "").strip('"').lower()
    return path, stated if _SHA256.fullmatch(stated) else ""


def _remote_name(model: Published, filename: str, endpoint: str | None) -> str:
    """Where the weight file went in the repository: the same name in another folder, else the only one there is."""
    from huggingface_hub import HfApi

    files = [f for f in HfApi(endpoint=endpoint).list_repo_files(model.repository) if f.endswith(SUFFIXES)]
    same = [f for f in files if f.rsplit("/", 1)[-1] == filename]
    if model.filenames or (not same and len(files) != 1):
        known = ", ".join(files) or "none"
        raise BadValue("model", model.name, f"{model.repository} has no {filename} any more (weights: {known})")
    return (same or files)[0]


def _elsewhere(model: Published) -> str:
    return f"a file from elsewhere is registered by: avatar models add {model.name} PATH"


def _brief(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:160]


def add(name: str, path: Path, progress: Callable[[int], None] | None = None) -> Record:
    """Register a file that stays where it is, after checking it whole; of a folder of several files one is made.

    Raises BadFile, BadValue."""
    if not _NAME.fullmatch(name):
        raise BadValue("name", name, "letters, digits, dots and dashes")
    model, path = catalogue().get(name), user_path(path).resolve()
    if path.is_dir():
        several = model.family if model is not None else next(filter(gatherer, FAMILIES), name)
        path = _gathered(name, several, path)[0]
    path = find_weights(name, path)
    family = model.family if model is not None else _family(path)
    about = _content(path, family)
    record = Record(name, family, about, str(path), sha256_of(path, progress), path.stat().st_size, "added by hand")
    write(record)
    return record


def verify(name: str, progress: Callable[[int], None] | None = None) -> Record:
    """Read a registered file again: same checksum, whole network. Raises UnknownName, BadFile."""
    record = record_of(name)
    if record is None:
        raise UnknownName("registered model", name, [r.name for r in records()])
    path = find_weights(record.family, name)
    if sha256_of(path, progress) != record.sha256:
        raise BadFile(path, f"is no longer the file that was registered as {name!r} (its checksum differs)")
    _content(path, record.family)
    return record


def _content(path: Path, family: str) -> str:
    """What the file holds, in words, after loading it whole. Raises BadFile, MissingExtra."""
    with _torch():
        for files in weight_files(family):
            return files.check(path, family)
    raise BadFile(path, f"is registered for {family}, which is not known here")


def _family(path: Path) -> str:
    """The family whose network is in the file. Raises BadFile, MissingExtra."""
    with _torch():
        for files in weight_files():
            if family := files.family_of(path):
                return family
        from realtime.engines.weights.reader import read_state

        read_state(path)  # raises what is wrong with a file that cannot be read at all
    known = ", ".join(name for name, family in FAMILIES.items() if family.weights)
    raise BadFile(path, f"holds weights of a network that is not known here (known: {known})")


@contextlib.contextmanager
def _torch() -> Iterator[None]:
    """Raises MissingExtra where torch or safetensors are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra("checking weights", error.name or "torch", "torch") from error
