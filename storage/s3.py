"""S3: evidence in a bucket of Amazon's or of anything that speaks its protocol.

Source: Amazon S3 API reference, PutObject, GetObject, DeleteObject; package boto3.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import Unavailable
from core.storage import Missing

# A whole photo of 10 MB at a slow 1 MB/s; with both tries it ends well before its task is killed.
READ_SECONDS_MAX: Final = 15
CONNECT_SECONDS_MAX: Final = 3
TRIES_MAX: Final = 2  # each of our calls may be made twice without harm


@dataclass(frozen=True)
class Place:
    """A bucket, and what opens it. endpoint: None for Amazon's own."""

    bucket: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    endpoint: str | None = None


class Bucket:
    """See core.storage.Storage. Safe for threads; one for each process."""

    def __init__(self, place: Place) -> None:
        self._bucket = place.bucket
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region,
            aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key,
            config=Config(
                connect_timeout=CONNECT_SECONDS_MAX,
                read_timeout=READ_SECONDS_MAX,
                retries={"total_max_attempts": TRIES_MAX, "mode": "standard"},
                # What others than Amazon understand: the bucket in the path, no new checksums.
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, content: bytes, content_type: str) -> None:
        self._call("put_object", Key=key, Body=content, ContentType=content_type)

    def get(self, key: str) -> bytes:
        try:
            content: bytes = self._call("get_object", Key=key)["Body"].read()
        except BotoCoreError as error:
            raise Unavailable(f"the bucket broke off: {type(error).__name__}") from error
        return content

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=key)

    def _call(self, verb: str, **given: Any) -> Any:
        """Raises Missing, or Unavailable: also where keys or bucket are wrong, for a person."""
        try:
            return getattr(self._client, verb)(Bucket=self._bucket, **given)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchKey":
                raise Missing(given["Key"]) from None
            raise Unavailable(f"the bucket refuses: {code}") from error
        except BotoCoreError as error:
            raise Unavailable(f"the bucket is out of reach: {type(error).__name__}") from error
