"""Where files lie: the folder of this machine, or a bucket where the settings name one."""

from core.storage import Folder, Storage
from settings import Settings


def connect(settings: Settings) -> Storage:
    if settings.evidence_s3_bucket is None:
        return Folder(settings.sokoni_home.resolve() / "evidence")
    from storage import s3  # a folder needs no SDK: it takes 0.3 s and 30 MB

    access, secret = settings.evidence_s3_access_key, settings.evidence_s3_secret_key
    assert access is not None, "a bucket has its keys, or the settings are refused"
    assert secret is not None, "a bucket has its keys, or the settings are refused"
    return s3.Bucket(
        s3.Place(
            settings.evidence_s3_bucket,
            settings.evidence_s3_region,
            access.get_secret_value(),
            secret.get_secret_value(),
            settings.evidence_s3_endpoint,
        )
    )
