"""The few things the store asks of a bucket, with failures as messages. Called by `bucket.py` only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from repoexpert.errors import BadInput, InfrastructureError

_BATCH = 16
"""Files in flight at once."""


class Objects:
    """Objects below one prefix of one bucket, by relative name. Connects at first use.

    Address and credentials are the AWS SDK's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, profiles, instance roles.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._base = f"{bucket}/{prefix}".rstrip("/")
        self._connected: Any = None

    def read(self, name: str) -> bytes | None:
        """Content, or None when there is no such object."""
        with self._reaching():
            try:
                return bytes(self._fs().cat_file(self._path(name)))
            except FileNotFoundError:
                self._require_bucket()
                return None

    def write(self, name: str, content: bytes) -> None:
        """Replace the object; one put is atomic."""
        with self._reaching():
            self._fs().pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Put on the condition that there is none (If-None-Match: *); False when somebody was faster."""
        with self._reaching():
            try:
                self._fs().pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                raise
        return True

    def names(self, below: str) -> list[str]:
        """Names of all objects below a prefix, relative to the store; a missing prefix has none."""
        with self._reaching():
            try:
                found = self._fs().find(self._path(below))
            except FileNotFoundError:
                self._require_bucket()
                return []
        return [name.removeprefix(self._base + "/") for name in found]

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        if names:
            with self._reaching(), contextlib.suppress(FileNotFoundError):
                self._fs().rm([self._path(name) for name in names])

    def upload(self, folder: Path, root: str, paths: Sequence[str]) -> None:
        """Upload each `folder / path` as the object `root/path`."""
        if not paths:
            return
        with self._reaching():
            local = [str(folder / path) for path in paths]
            self._fs().put(local, [self._path(f"{root}/{path}") for path in paths], batch_size=_BATCH)

    def download(self, root: str, paths: Sequence[str], folder: Path) -> list[str]:
        """Download each object `root/path` to `folder / path`; returns the paths whose object is missing, if any."""
        folder.mkdir(parents=True, exist_ok=True)
        present = set(self.names(root)) if paths else set()
        missing = [path for path in paths if f"{root}/{path}" not in present]
        if missing or not paths:
            return missing
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with self._reaching():
            local = [str(folder / path) for path in paths]
            self._fs().get([self._path(f"{root}/{path}") for path in paths], local, batch_size=_BATCH)
        return []

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}".rstrip("/")

    def _require_bucket(self) -> None:
        if not self._fs().exists(self._bucket):
            raise BadInput(f"the bucket s3://{self._bucket} does not exist: create it, or correct --store")

    def _fs(self) -> Any:
        if self._connected is None:
            try:
                import s3fs
            except ImportError as error:
                raise BadInput("an s3:// store needs s3fs: install repoexpert[core]") from error
            self._connected = s3fs.S3FileSystem(
                use_listings_cache=False,
                skip_instance_cache=True,
                config_kwargs={"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}},
            )
            self._connected.retries = 3
        return self._connected

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise BadInput(
                f"no credentials for s3://{self._bucket}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from error
        except BotoCoreError as error:
            raise InfrastructureError(
                f"the store s3://{self._base} cannot be reached: {error}. Check AWS_ENDPOINT_URL and the network"
            ) from error
        except PermissionError as error:
            raise BadInput(f"the bucket s3://{self._bucket} refuses these credentials: {error}") from error
        except FileNotFoundError as error:
            raise BadInput(f"s3://{self._bucket}: {error}. Does the bucket exist?") from error
        except TimeoutError as error:
            raise InfrastructureError(f"the store s3://{self._base} did not answer in time") from error


def _code(error: BaseException) -> str:
    """The S3 error code below an OSError that s3fs made of a ClientError."""
    cause: Any = error.__cause__
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return "PreconditionFailed" if "PreconditionFailed" in str(error) or "pre-conditions" in str(error) else ""
