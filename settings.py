"""The settings: read from the environment once, at the start, and all judged together."""

import hashlib
import hmac
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from core.rules import Rules

SECRET_LETTERS_MIN = 16
SECRET_VARIETY_MIN = 8  # different letters in a secret

# M-Pesa refuses a callback address with one of these in it (Daraja, CallBackURL).
REFUSED_BY_MPESA = re.compile("m-?pesa|safaricom|exec?|cmd|sql|query", re.IGNORECASE)
PATH_PART = re.compile(r"[A-Za-z0-9_-]+")

# What production demands of a setting.
_GIVEN = "given"  # named, and not what a laptop uses
_HTTPS = "https"  # that, and an https:// address
_STRONG = "strong"  # that, and not to be guessed
_STRONG_OR_OFF = "strong or off"  # that where it is named; without it the gateway is not there
_SECRETS = frozenset({_STRONG, _STRONG_OR_OFF})


def _setting(default: Any, about: str, production: str | None = None, **limits: Any) -> Any:
    """One name: its default in development, one line of help, what production demands of it."""
    how = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=about, json_schema_extra={"production": production}, **how, **limits)


def _at(port: str, path: str = "") -> Callable[[dict[str, Any]], str]:
    """The address of a server of this machine, made of the names that stand before."""

    def address(earlier: dict[str, Any]) -> str:
        host = earlier.get("host", "127.0.0.1")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
        return f"http://{host}:{earlier.get(port, 0)}{path}"

    return address


def _broker(earlier: dict[str, Any]) -> str | None:
    return broker_url(earlier.get("redis_url"))


def _in_the_pretend_world(value: str) -> Callable[[dict[str, Any]], str | None]:
    """Nothing in production, unless it is named."""

    def default(earlier: dict[str, Any]) -> str | None:
        return None if earlier.get("sokoni_env") == "production" else value

    return default


def _statement_url(earlier: dict[str, Any]) -> str | None:
    if earlier.get("sokoni_env") == "production":
        return None
    return _at("simulator_port", "/simulator/api/statement?format=csv")(earlier)


def _sender(earlier: dict[str, Any]) -> str | None:
    """The short code that the pretend world's phones write to."""
    return None if earlier.get("sokoni_env") == "production" else "22384"


def _quiet_hours(earlier: dict[str, Any]) -> str:
    """None in the pretend world, where nobody sleeps: it looks the same at any hour."""
    return "21-7" if earlier.get("sokoni_env") == "production" else "0-0"


class Settings(BaseModel):
    """Every field is the environment's name in lower case. Secrets hide themselves in a repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sokoni_env: Literal["development", "test", "production"] = _setting(
        "development", "where this runs; production takes no default secret"
    )
    sokoni_home: Path = _setting(
        Path(".sokoni"), "the folder of the embedded servers' data and of the logs"
    )
    host: str = _setting("127.0.0.1", "the address that web and pretend world listen on")
    port: int = _setting(8000, "the web server's port", ge=1, le=65535)
    simulator_port: int = _setting(8001, "the pretend world's port", ge=1, le=65535)
    public_base_url: str = _setting(
        _at("port"), "our address as M-Pesa and the gateways reach it", _HTTPS
    )
    web_processes: int = _setting(2, "processes of the web server", ge=1, le=64)
    web_threads: int = _setting(
        4, "threads a web process; about 16 where the disk needs 2 ms", ge=1, le=64
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting(
        "INFO", "the least a log line must matter"
    )

    database_url: str | None = _setting(
        None,
        "PostgreSQL 15 or newer, postgresql://…; without it an embedded one",
        _GIVEN,
        repr=False,
    )
    redis_url: str | None = _setting(
        None,
        "Redis or Valkey, redis://… or unix://…; without it an embedded one",
        _GIVEN,
        repr=False,
    )
    celery_broker_url: str | None = _setting(
        _broker, "Celery's broker, if not REDIS_URL", repr=False
    )
    embedded_pg_bin: Path | None = _setting(
        None, "the folder of the PostgreSQL programs to embed, if not the wheel's"
    )

    secret_key: SecretStr = _setting(
        SecretStr("sandbox-secret-key"), "keys what we sign and derive; 32 random letters", _STRONG
    )
    pin_pepper: SecretStr = _setting(
        SecretStr("sandbox-pin-pepper"),
        "mixed into every Sokoni PIN; changed, no PIN fits any more",
        _STRONG,
    )

    ussd_service_code: str = _setting(
        "*384*7042#", "the code that people dial", pattern=r"^\*[0-9]+(\*[0-9]+)*#$"
    )
    ussd_room_septets: int = _setting(
        156, "room of a USSD screen on the strictest network, after the prefix", ge=60, le=182
    )
    ussd_room_by_network: str = _setting(
        "",
        "other rooms, by network code: 63903=180,63907=156 (63903 is Airtel Kenya)",
        pattern=r"^([0-9]{5,6}=[0-9]{2,3}(,[0-9]{5,6}=[0-9]{2,3})*)?$",
    )
    ussd_dialled_ahead: bool = _setting(
        True, "whether answers dialled with the code (*384*7042*1#) are taken"
    )
    hop_seconds_max: float = _setting(
        3, "a USSD answer later than this says sorry instead", gt=0, le=9
    )

    listing_seconds_max: float = _setting(
        1, "how old a list of goods on a screen may be; 0: each is read anew", ge=0, le=10
    )

    hops_a_minute_max: int = _setting(
        120, "USSD answers that one phone gets in a minute; 0 sets no limit", ge=0
    )

    africastalking_base_url: str = _setting(
        _at("simulator_port"), "where Africa's Talking takes SMS", _HTTPS
    )
    africastalking_username: str = _setting("sandbox", "our user at Africa's Talking", _GIVEN)
    africastalking_api_key: SecretStr = _setting(
        SecretStr("sandbox-api-key"), "our key at Africa's Talking", _STRONG
    )
    africastalking_sender: str | None = _setting(
        _sender,
        "the sender id or short code registered for our SMS, a short code if people shall reply;"
        " in production their shared one without it",
        pattern=r"^[A-Za-z0-9 ]{3,11}$",
    )
    africastalking_secret: SecretStr = _setting(
        SecretStr("sandbox-path-secret"), "the secret part of their callback paths", _STRONG
    )

    africastalking_insights_url: str = _setting(
        _at("simulator_port"), "where Africa's Talking says whether a line got another SIM", _HTTPS
    )
    sim_check: Literal["on", "off"] = _setting(
        "on", "off: money goes to a line whoever holds its SIM by now; only where none can be asked"
    )
    sim_swap_days: int = _setting(
        14, "days after another SIM in which a person approves what goes to the line", ge=1, le=365
    )

    number_cooling_hours: int = _setting(
        24, "hours before money goes to a new number, or after a PIN reset", ge=0, le=720
    )
    support_msisdn: str = _setting(
        "+254700000000",
        "the phone people call who can no longer dial us",
        _GIVEN,
        pattern=r"^\+254[0-9]{9}$",
    )

    hubtel_secret: SecretStr | None = _setting(
        SecretStr("sandbox-hubtel-secret"), "the secret part of Hubtel's path", _STRONG_OR_OFF
    )
    hubtel_service_code: str = _setting(
        "713",
        "our code at Hubtel as dialled between star and hash: 713, or 713*9597 on a shared one",
        pattern=r"^[0-9]+(\*[0-9]+)*$",
    )
    advanta_secret: SecretStr | None = _setting(
        SecretStr("sandbox-advanta-secret"), "the secret part of Advanta's path", _STRONG_OR_OFF
    )
    advanta_service_code: str = _setting(
        "*415*33#",
        "our code at Advanta, with our extension where it is shared",
        pattern=r"^\*[0-9]+(\*[0-9]+)*#$",
    )

    sms_an_hour_max: int = _setting(
        60, "SMS that one phone gets in an hour, advertising not counted; more is an incident", ge=1
    )
    sms_a_day_max: int = _setting(500, "the same in a day", ge=1)
    quiet_hours: str = _setting(
        _quiet_hours,
        "when nobody is written to unasked, 21-7; 0-0 is never; production keeps 21-7 unless named",
        pattern=r"^(1?[0-9]|2[0-3])-(1?[0-9]|2[0-3])$",
    )
    nudge_after_seconds: int = _setting(
        30, "from a USSD session that was cut off to the SMS about it", ge=1, le=600
    )
    marketing_an_hour_max: int = _setting(
        1, "advertising messages that one phone gets in an hour", ge=1
    )
    marketing_a_day_max: int = _setting(2, "the same in a day", ge=1)

    daraja_base_url: str = _setting(_at("simulator_port"), "where M-Pesa's API is", _HTTPS)
    daraja_consumer_key: SecretStr = _setting(
        SecretStr("sandbox-consumer-key"), "our app's key at Daraja", _STRONG
    )
    daraja_consumer_secret: SecretStr = _setting(
        SecretStr("sandbox-consumer-secret"), "our app's secret at Daraja", _STRONG
    )
    daraja_shortcode: str = _setting(
        "174379", "our paybill at M-Pesa", _GIVEN, pattern=r"^[0-9]{5,7}$"
    )
    daraja_passkey: SecretStr = _setting(
        # Safaricom publishes this one for everybody's trials.
        SecretStr("bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"),
        "the paybill's passkey for M-Pesa prompts",
        _STRONG,
    )
    daraja_calls_per_second: float = _setting(
        5, "our calls to M-Pesa a second, from each machine with a worker", gt=0, le=1000
    )
    daraja_c2b_secret: SecretStr = _setting(
        SecretStr("sandbox-c2b-path"), "the secret part of the paths for payments by hand", _STRONG
    )

    daraja_pull_msisdn: str | None = _setting(
        _in_the_pretend_world("+254700000000"),
        "the number that M-Pesa knows us by, to pull transactions; without it none are pulled",
        pattern=r"^\+254[17][0-9]{8}$",
    )
    daraja_statement_url: str | None = _setting(
        _statement_url,
        "where a day's statement is had as CSV; M-Pesa's own portal gives it to people only",
        pattern=r"^https?://\S+$",
    )
    daraja_b2c_shortcode: str = _setting(
        "600997", "our shortcode that pays out at M-Pesa", _GIVEN, pattern=r"^[0-9]{5,7}$"
    )
    daraja_initiator: str = _setting(
        "sokoni-api", "our operator's name at M-Pesa, for payouts and reversals", _GIVEN
    )
    daraja_initiator_password: SecretStr = _setting(
        SecretStr("Sandbox#Initiator1"),
        "that operator's password; 90 days old, it expires",
        _GIVEN,
    )
    daraja_certificate: str | None = _setting(
        None,
        "M-Pesa's certificate, a file or PEM; without it the pretend world's own",
        _GIVEN,
        repr=False,
    )
    dispute_second_above: int = _setting(
        20_000, "shillings held by a dispute above which two people of ours decide it", ge=0
    )
    difference_second_above: int = _setting(
        5_000, "shillings of a difference with M-Pesa above which two people of ours book it", ge=0
    )
    decisions_alone_max: int = _setting(
        50_000,
        "shillings of disputes and differences that one of ours decides alone in a day",
        ge=0,
    )
    proposal_hours: int = _setting(
        72,
        "hours that a proposal of ours waits for a second person before it lapses",
        ge=1,
        le=720,
    )
    payout_automatic_max: int = _setting(
        20_000, "shillings a member is sent in a day without a second person's eyes", ge=0
    )

    payout_float_floor: int = _setting(
        100_000,
        "shillings below which the payout float is filled up from the collection float; 0: never",
        ge=0,
    )

    telegram_base_url: str = _setting(
        _at("simulator_port", "/telegram"), "where Telegram's API is", _HTTPS
    )
    telegram_token: SecretStr = _setting(
        SecretStr("7000000000:sandbox-telegram-token"), "our bot's token", _STRONG
    )
    telegram_bot_name: str = _setting(
        "SokoniBot", "our bot's name, as in t.me/SokoniBot", _GIVEN, pattern=r"^\w{5,32}$"
    )
    telegram_secret: SecretStr = _setting(
        SecretStr("sandbox-telegram-secret"),
        "the secret in the path and the header of Telegram's calls",
        _STRONG,
    )

    evidence_s3_bucket: str | None = _setting(
        None, "the S3 bucket for photos of disputes; without it a folder in SOKONI_HOME"
    )
    evidence_s3_endpoint: str | None = _setting(
        None, "where its S3 is, https://…; without it Amazon's own"
    )
    evidence_s3_region: str = _setting("us-east-1", "the bucket's region")
    evidence_s3_access_key: SecretStr | None = _setting(None, "our key to the bucket")
    evidence_s3_secret_key: SecretStr | None = _setting(None, "our secret to the bucket")

    push_after_seconds: int = _setting(
        4, "from the closing USSD screen to the M-Pesa prompt", ge=0, le=120
    )
    reservation_minutes: int = _setting(15, "stock waits this long for its payment", ge=1, le=1440)
    fee_basis_points: int = _setting(
        250, "the seller's fee, in hundredths of a percent", ge=0, le=10_000
    )

    @field_validator(
        "africastalking_secret",
        "hubtel_secret",
        "advanta_secret",
        "daraja_c2b_secret",
        "telegram_secret",
    )
    @classmethod
    def _fits_a_path(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not PATH_PART.fullmatch(secret.get_secret_value()):
            raise ValueError("only letters, digits, - and _ may stand in a path")
        return secret

    @field_validator("daraja_c2b_secret", "public_base_url")
    @classmethod
    def _taken_by_mpesa(cls, value: Any) -> Any:
        found = REFUSED_BY_MPESA.search(
            value.get_secret_value() if isinstance(value, SecretStr) else value
        )
        if found:
            raise ValueError(f"M-Pesa refuses callback addresses with {found[0].lower()!r} in them")
        return value

    @field_validator(
        "public_base_url",
        "africastalking_base_url",
        "daraja_base_url",
        "telegram_base_url",
        "evidence_s3_endpoint",
    )
    @classmethod
    def _is_web_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ValueError("not an address like https://example.org")
        return url.rstrip("/") if url else None

    @field_validator("daraja_certificate")
    @classmethod
    def _is_certificate(cls, given: str | None) -> str | None:
        if given is not None and "BEGIN CERTIFICATE" not in given and not Path(given).is_file():
            raise ValueError("neither a file nor PEM")
        return given

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"postgres(ql)?(\+psycopg)?://", url):
            raise ValueError("not an address like postgresql://user@host/name")
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"(rediss?|unix)://", url):
            raise ValueError("not an address like redis://host:6379/0")
        return url

    def ussd_rooms(self) -> dict[str, int]:
        """Septets of a screen by network code, where it is not ussd_room_septets."""
        pairs = [pair.split("=") for pair in self.ussd_room_by_network.split(",") if pair]
        return {network: int(septets) for network, septets in pairs}

    @field_validator("ussd_room_by_network")
    @classmethod
    def _is_room(cls, rooms: str) -> str:
        for pair in rooms.split(",") if rooms else []:
            if not 60 <= int(pair.split("=")[1]) <= 182:
                raise ValueError("a room is 60 to 182 septets")
        return rooms

    def _quiet_between(self) -> tuple[int, int]:
        begin, end = map(int, self.quiet_hours.split("-"))
        return begin, end

    @property
    def in_production(self) -> bool:
        return self.sokoni_env == "production"

    def rules(self) -> Rules:
        """What the business needs of the settings; it knows nothing of where they come from."""
        key = self.secret_key.get_secret_value().encode()
        word = f"{self.daraja_initiator} {self.daraja_initiator_password.get_secret_value()}"
        return Rules(
            fee_basis_points=self.fee_basis_points,
            reservation_minutes=self.reservation_minutes,
            push_after_seconds=self.push_after_seconds,
            payout_automatic_max_cents=self.payout_automatic_max * 100,
            payout_float_floor_cents=self.payout_float_floor * 100,
            sim_check=self.sim_check == "on",
            sim_swap_days=self.sim_swap_days,
            number_cooling_hours=self.number_cooling_hours,
            support_msisdn=self.support_msisdn,
            dispute_second_above_cents=self.dispute_second_above * 100,
            difference_second_above_cents=self.difference_second_above * 100,
            decisions_alone_max_cents=self.decisions_alone_max * 100,
            proposal_hours=self.proposal_hours,
            paybill=self.daraja_shortcode,
            payout_shortcode=self.daraja_b2c_shortcode,
            sms_an_hour_max=self.sms_an_hour_max,
            sms_a_day_max=self.sms_a_day_max,
            marketing_an_hour_max=self.marketing_an_hour_max,
            marketing_a_day_max=self.marketing_a_day_max,
            quiet_hours=self._quiet_between(),
            nudge_after_seconds=self.nudge_after_seconds,
            dial_code=self.ussd_service_code,
            bot_name=self.telegram_bot_name,
            pin_pepper=self.pin_pepper.get_secret_value().encode(),
            initiator_key=hmac.digest(key, word.encode(), hashlib.sha256),
            token_key=hmac.digest(key, b"the tokens in callback paths", hashlib.sha256),
        )


class SettingsError(Exception):
    """Some settings cannot be used. lines: one a name, with its help; no value of any."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(environ: Mapping[str, str]) -> Settings:
    """The settings from these names. An empty value counts as none. Raises SettingsError."""
    given = {
        name: environ[name.upper()]
        for name in Settings.model_fields
        if environ.get(name.upper(), "").strip()
    }
    wrong: dict[str, str] = {}
    off: list[str] = []
    if given.get("sokoni_env") == "production":
        wrong |= dict(_unfit_for_production(given))
        off = [name for name in Settings.model_fields if _demand(name) == _STRONG_OR_OFF]
    try:
        settings = Settings.model_validate({**dict.fromkeys(off), **given})
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            if problem["type"] == "default_factory_not_called":
                continue  # it waits for one of the others
            said = problem["msg"].removeprefix("Value error, ")
            wrong[str(problem["loc"][0])] = said[:1].lower() + said[1:]
    else:
        if settings.port == settings.simulator_port:
            wrong["simulator_port"] = "the same as PORT"
        for key in ("evidence_s3_access_key", "evidence_s3_secret_key"):
            if settings.evidence_s3_bucket and getattr(settings, key) is None:
                wrong[key] = "missing, and EVIDENCE_S3_BUCKET is named"
    if wrong:
        raise SettingsError(
            [
                f"{name.upper()}: {wrong[name]} ({field.description})"
                for name, field in Settings.model_fields.items()
                if name in wrong
            ]
        )
    return settings


def load_environment() -> Settings:
    """The settings of this process. Raises SettingsError."""
    return load(os.environ)


def from_environment(*, needs: tuple[str, ...] = ("database_url",)) -> Settings:
    """For entry points: the process's settings, with the servers it shall use filled in.

    Where no database or Redis is named, those that `make run` or `make services` started are
    taken. needs: the fields without which this process cannot work.
    Settings that cannot be used are named on stderr, and the process ends with 2.
    """
    from local import services  # which itself needs Settings

    try:
        settings = services.resolve(load_environment())
        missing = [name for name in needs if getattr(settings, name) is None]
        if missing:
            raise SettingsError(
                [f"{name.upper()}: missing, and no embedded server runs" for name in missing]
            )
    except SettingsError as error:
        refuse(error)
    return settings


def environment_of(settings: Settings) -> dict[str, str]:
    """What a child process gets so that it reads exactly these settings."""
    named = {name.upper(): getattr(settings, name) for name in Settings.model_fields}
    return {**os.environ} | {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in named.items()
        if value is not None
    }


def refuse(error: SettingsError) -> NoReturn:
    print("Sokoni cannot start with these settings:", file=sys.stderr)
    for line in error.lines:
        print(f"  {line}", file=sys.stderr)
    print("`make settings` lists them all.", file=sys.stderr)
    raise SystemExit(2)


def broker_url(redis_url: str | None) -> str | None:
    """Celery's name for the same server; it spells unix sockets differently."""
    if redis_url is not None and redis_url.startswith("unix://"):
        path, _, number = redis_url.removeprefix("unix://").partition("?db=")
        return f"redis+socket://{path}?virtual_host={number or 0}"
    return redis_url


def manual() -> str:
    """Every name with its default, what production demands, and what it is for."""
    lines = []
    for name, field in Settings.model_fields.items():
        demand = _demand(name)
        lines.append(f"{name.upper()}={_default(name) or ''}")
        lines.append(f"    {field.description}")
        if demand:
            lines.append(f"    production: {_DEMANDS[demand]}")
    return "\n".join(lines)


_UNGUESSABLE = f"{SECRET_LETTERS_MIN} letters or more, not to be guessed"
_DEMANDS = {
    _GIVEN: "required, your own",
    _HTTPS: "required, an https:// address",
    _STRONG: f"required, {_UNGUESSABLE}",
    _STRONG_OR_OFF: f"off without it, else {_UNGUESSABLE}",
}


def _unfit_for_production(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in Settings.model_fields:
        demand, value = _demand(name), given.get(name)
        if demand is None:
            continue
        if value is None:
            if demand != _STRONG_OR_OFF:
                yield name, "missing"
        elif value == _default(name):
            yield name, "still the default of development"
        elif demand == _HTTPS and not value.startswith("https://"):
            yield name, "not an https:// address"
        elif demand in _SECRETS and len(value) < SECRET_LETTERS_MIN:
            yield name, f"weak, shorter than {SECRET_LETTERS_MIN} letters"
        elif demand in _SECRETS and len(set(value)) < SECRET_VARIETY_MIN:
            yield name, f"weak, fewer than {SECRET_VARIETY_MIN} different letters"


def _demand(name: str) -> str | None:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict), f"{name} was not made by _setting"
    demand = extra["production"]
    assert demand is None or isinstance(demand, str), f"{name} demands {demand!r}"
    return demand


def _default(name: str) -> str | None:
    default = getattr(Settings(), name)
    if default is None:
        return None
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


if __name__ == "__main__":
    print(manual())
