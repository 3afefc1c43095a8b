"""Fetching published weights from the Hugging Face hub, and registering files that are here already.

The hub's own client does the transfer: it resumes, shows progress, and honours HF_ENDPOINT and HF_TOKEN. A file is
registered only when its checksum is the hub's and the network in it has been checked whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from realtime.engines.weights.registry import (
    Published,
    Record,
    catalogue,
    files_in,
    find_weights,
    gatherer,
    in_folder,
    models_folder,
    record_of,
    records,
    sha256_of,
    sha256_of_folder,
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
    if in_folder(model.family):
        return _pull_folder(model, folder)
    fetched = [_checked(model, folder, name) for name in model.filenames or (model.filename,)]
    path, digest = fetched[0]
    if model.filenames:
        path, digest = _gathered(model.name, model.family, folder)
        for part, _ in fetched:
            part.unlink(missing_ok=True)
    about = _content(path, model.family)
    record = Record(
        model.name,
        model.family,
        about,
        str(path),
        digest,
        path.stat().st_size,
        _origin(model),
        accepted=model.licence,
    )
    write(record)
    return record


def _pull_folder(model: Published, folder: Path) -> Record:
    """Fetch a repository whole. Files that are there with the hub's checksum are not fetched again."""
    _check_room(model, folder)
    names = _listed(model, folder)
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name} {_checked(model, folder, name)[1]}\n".encode())
    about = _content(folder, model.family)
    size = sum((folder / name).stat().st_size for name in names)
    record = Record(
        model.name, model.family, about, str(folder), digest.hexdigest(), size, _origin(model), accepted=model.licence
    )
    write(record)
    return record


def _check_room(model: Published, folder: Path) -> None:
    """Raise BadFile where what is still to come does not fit on the disk, as far as its size is known."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    free, missing = shutil.disk_usage(existing).free, model.size - here
    if missing > free:
        reason = f"{model.name} takes {missing / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free here"
        raise BadFile(existing, f"{reason}: make room, or export AVATAR_HOME=FOLDER on a larger disk")


def _listed(model: Published, folder: Path) -> list[str]:
    """The files of the repository that are weights, configuration or vocabulary."""
    with _hub_errors(model):
        from huggingface_hub import HfApi

        listed = HfApi(endpoint=_endpoint()).list_repo_files(model.repository)
    return [name for name in listed if name.endswith((*SUFFIXES, ".json", ".txt", ".model", ".index"))]


def _origin(model: Published) -> str:
    return f"{_endpoint() or 'https://huggingface.co'}/{model.repository}"


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
    with _hub_errors(model):
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import RemoteEntryNotFoundError

        endpoint = _endpoint()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            etag = get_hf_file_metadata(hf_hub_url(model.repository, filename, endpoint=endpoint)).etag
        except RemoteEntryNotFoundError:
            filename = _remote_name(model, filename, endpoint)
            etag = get_hf_file_metadata(hf_hub_url(model.repository, filename, endpoint=endpoint)).etag
        path = Path(hf_hub_download(model.repository, filename, local_dir=folder, endpoint=endpoint))
    stated = (etag or "").strip('"').lower()
    return path, stated if _SHA256.fullmatch(stated) else ""


@contextlib.contextmanager
def _hub_errors(model: Published) -> Iterator[None]:
    """Turns what goes wrong on the way to the hub into one sentence. Raises ConnectionLost, BadFile, MissingExtra."""
    try:
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        from huggingface_hub.utils.logging import set_verbosity_error
    except ModuleNotFoundError as error:
        raise MissingExtra("avatar models pull", "huggingface_hub", "torch") from error
    set_verbosity_error()  # what goes wrong is said once, below
    host = _endpoint() or "https://huggingface.co"
    try:
        yield
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
    if path.is_dir() and not (path / "model_index.json").exists():
        several = model.family if model is not None else next(filter(gatherer, FAMILIES), name)
        path = _gathered(name, several, path)[0]
    if not path.is_dir():
        path = find_weights(name, path)
    family = model.family if model is not None else _family(path)
    about = _content(path, family)
    record = Record(name, family, about, str(path), _digest(path, progress), _size(path), "added by hand")
    write(record)
    return record


def verify(name: str, progress: Callable[[int], None] | None = None) -> Record:
    """Read a registered file again: same checksum, whole network. Raises UnknownName, BadFile."""
    record = record_of(name)
    if record is None:
        raise UnknownName("registered model", name, [r.name for r in records()])
    path = find_weights(record.family, name)
    if _digest(path, progress) != record.sha256:
        raise BadFile(path, f"is no longer the file that was registered as {name!r} (its checksum differs)")
    _content(path, record.family)
    return record


def _digest(path: Path, progress: Callable[[int], None] | None) -> str:
    return sha256_of_folder(path, progress) if path.is_dir() else sha256_of(path, progress)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in files_in(path)) if path.is_dir() else path.stat().st_size


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
            if files.folder == path.is_dir() and (family := files.family_of(path)):
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
