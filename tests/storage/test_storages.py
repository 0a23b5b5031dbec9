"""Storages: a folder and an S3 bucket keep the same promises; the bucket over the real protocol."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

import settings
import storage as storage_
from core import storage
from core.errors import Unavailable
from core.storage import Folder, Missing, Storage
from storage.s3 import Bucket, Place

KEY = "evidence/0f/aa01"
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 4000  # a megabyte
PLACE = {"region": "eu-west-1", "access_key": "a key", "secret_key": "a secret"}


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(s3_url: str) -> Bucket:
    admin = boto3.client(
        "s3",
        endpoint_url=s3_url,
        region_name="eu-west-1",
        aws_access_key_id="admin",
        aws_secret_access_key="admin",
    )
    admin.create_bucket(
        Bucket="evidence", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return Bucket(Place("evidence", endpoint=s3_url, **PLACE))


@pytest.fixture(params=["folder", "bucket"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    made: Storage = (
        Folder(tmp_path / "evidence")
        if request.param == "folder"
        else request.getfixturevalue("bucket")
    )
    made.delete(KEY)
    return made


def test_what_was_put_is_got_back_whole(kept: Storage) -> None:
    kept.put(KEY, PHOTO, "image/jpeg")
    assert kept.get(KEY) == PHOTO


def test_the_same_key_once_more_replaces_it(kept: Storage) -> None:
    kept.put(KEY, PHOTO, "image/jpeg")
    kept.put(KEY, b"\x89PNG", "image/png")
    assert kept.get(KEY) == b"\x89PNG"


def test_what_is_not_there_is_missing(kept: Storage) -> None:
    with pytest.raises(Missing):
        kept.get(KEY)


def test_what_was_deleted_is_gone_and_may_be_deleted_again(kept: Storage) -> None:
    kept.put(KEY, PHOTO, "image/jpeg")
    kept.delete(KEY)
    kept.delete(KEY)
    with pytest.raises(Missing):
        kept.get(KEY)


def test_two_that_put_the_same_at_once_leave_one_whole(kept: Storage) -> None:
    threads = [Thread(target=kept.put, args=(KEY, PHOTO, "image/jpeg")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert kept.get(KEY) == PHOTO


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_holds_nothing_but_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.put(KEY, b"before", "image/jpeg")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(Unavailable):
        folder.put(KEY, PHOTO, "image/jpeg")
    assert folder.get(KEY) == b"before"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["aa01"]


def test_a_file_and_each_folder_above_it_are_on_the_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(storage.os, "fsync", note)
    Folder(tmp_path).put(KEY, PHOTO, "image/jpeg")
    assert synced[1:] == [tmp_path / "evidence" / "0f", tmp_path / "evidence", tmp_path]


def test_nobody_else_on_the_machine_can_read_a_photo(tmp_path: Path) -> None:
    Folder(tmp_path).put(KEY, PHOTO, "image/jpeg")
    assert (tmp_path / KEY).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("key", ["", "../secrets", "a//b", "/etc/passwd", "a/.b", "a/b\n"])
def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(AssertionError):
        Folder(tmp_path / "evidence").put(key, PHOTO, "image/jpeg")
    assert list(tmp_path.iterdir()) == []


# --- the bucket -----------------------------------------------------------------------------------


def test_the_bucket_keeps_the_type_of_a_file(bucket: Bucket) -> None:
    bucket.put(KEY, PHOTO, "image/jpeg")
    known = bucket._client.head_object(Bucket="evidence", Key=KEY)
    assert known["ContentType"] == "image/jpeg"


@pytest.mark.parametrize("verb", ["put", "get", "delete"])
def test_a_bucket_that_is_not_there_is_a_thing_to_try_later(s3_url: str, verb: str) -> None:
    nowhere: Any = Bucket(Place("nowhere", endpoint=s3_url, **PLACE))
    given = (PHOTO, "image/jpeg") if verb == "put" else ()
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        getattr(nowhere, verb)(KEY, *given)


@pytest.mark.parametrize("verb", ["put", "get", "delete"])
def test_a_server_that_is_down_is_a_thing_to_try_later(verb: str) -> None:
    down: Any = Bucket(Place("evidence", endpoint="http://127.0.0.1:9", **PLACE))
    given = (PHOTO, "image/jpeg") if verb == "put" else ()
    with pytest.raises(Unavailable):
        getattr(down, verb)(KEY, *given)


def test_the_keys_of_a_bucket_are_not_shown() -> None:
    shown = repr(Place("evidence", **PLACE))
    assert PLACE["access_key"] not in shown
    assert PLACE["secret_key"] not in shown


# --- which of them --------------------------------------------------------------------------------


def test_without_a_bucket_files_lie_in_the_home_folder(tmp_path: Path) -> None:
    kept = storage_.connect(settings.load({"SOKONI_HOME": str(tmp_path)}))
    kept.put(KEY, PHOTO, "image/jpeg")
    assert (tmp_path / "evidence" / KEY).read_bytes() == PHOTO


def test_the_settings_name_a_bucket_of_whatever_speaks_s3(s3_url: str, bucket: Bucket) -> None:
    named = {
        "EVIDENCE_S3_BUCKET": "evidence",
        "EVIDENCE_S3_ENDPOINT": s3_url,
        "EVIDENCE_S3_REGION": "eu-west-1",
        "EVIDENCE_S3_ACCESS_KEY": "a key",
        "EVIDENCE_S3_SECRET_KEY": "a secret",
    }
    storage_.connect(settings.load(named)).put(KEY, b"by the settings", "image/jpeg")
    assert bucket.get(KEY) == b"by the settings"
