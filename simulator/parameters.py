"""A Bot API call's parameters, out of whichever form its body had."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from werkzeug.formparser import parse_form_data

JSON = "application/json"


class NotReadable(ValueError):
    """The body is not what its content type says."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """values: texts where the body was a form, anything where it was JSON. files: by field."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name, default)
        return value if isinstance(value, str) else json.dumps(value)

    def whole(self, name: str, default: int = 0) -> int:
        """A whole number, or the default where there is none."""
        try:
            return int(self.text(name))
        except ValueError:
            return default

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("true", "1", "yes")

    def nested(self, name: str) -> Any:
        """An object or list, which a form holds as JSON text. None: not given.

        Raises NotReadable.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise NotReadable(f"can't parse {name}") from None


def read(content_type: str, body: bytes, query: Mapping[str, str]) -> Parameters:
    """Of a JSON, form or multipart body, with those of the URL. Raises NotReadable."""
    if content_type.partition(";")[0].strip().lower() == JSON:
        try:
            values = json.loads(body or b"{}")
        except ValueError:
            raise NotReadable("can't parse JSON encoded content") from None
        if not isinstance(values, dict):
            raise NotReadable("can't parse JSON encoded content: object expected")
        return Parameters({**query, **values})
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    _, form, files = parse_form_data(environ, stream_factory=_in_memory)
    uploads = {name: each.read() for name, each in files.items()}
    return Parameters({**query, **form.to_dict()}, uploads)


def _in_memory(*_: object, **__: object) -> BytesIO:
    return BytesIO()
