import re

import pytest
from pydantic import SecretStr

from settings import Settings, SettingsError, broker_url, from_environment, load, manual, refuse

STRONG = {
    "SECRET_KEY": "b1Xo7Zc4Qe9TfLm2VnRd",
    "PIN_PEPPER": "k8Hs3Wq6YpJt1GvCx5Nz",
    "AFRICASTALKING_API_KEY": "atsk_4f9d0c27be81a635",
    "AFRICASTALKING_SECRET": "Q7mXr2TzLw9BvKc4HdYs",
    "DARAJA_CONSUMER_KEY": "nF6bTjW0Rz3LqXe8VhAp",
    "DARAJA_CONSUMER_SECRET": "u5KdPg1MzYc7SwEx9RtB",
    "DARAJA_PASSKEY": "5d8e0b7c4a1f93265d8e0b7c4a1f9326",
    "DARAJA_C2B_SECRET": "J2vNc8ZtGy4RbHk6XwLf",
    "TELEGRAM_TOKEN": "123456789:AAFq3xLz8RtV0bNcYwKd7",
    "TELEGRAM_SECRET": "w4GzT9pXb1LrVy6CmHqK",
}
PRODUCTION = {
    "SOKONI_ENV": "production",
    "PUBLIC_BASE_URL": "https://sokoni.example",
    "DATABASE_URL": "postgresql://sokoni:hunter22@db.example/sokoni",
    "REDIS_URL": "redis://cache.example/0",
    "AFRICASTALKING_BASE_URL": "https://api.africastalking.example",
    "AFRICASTALKING_INSIGHTS_URL": "https://insights.africastalking.example",
    "AFRICASTALKING_USERNAME": "sokoni",
    "DARAJA_BASE_URL": "https://api.daraja.example",
    "DARAJA_SHORTCODE": "600123",
    "DARAJA_B2C_SHORTCODE": "600124",
    "DARAJA_INITIATOR": "sokoni",
    "DARAJA_INITIATOR_PASSWORD": "Ukweli#2026",
    "DARAJA_CERTIFICATE": "-----BEGIN CERTIFICATE-----",
    "TELEGRAM_BASE_URL": "https://api.telegram.example",
    "TELEGRAM_BOT_NAME": "SokoniKenyaBot",
    "SUPPORT_MSISDN": "+254711222333",
    **STRONG,
}


def wrong(environ: dict[str, str]) -> dict[str, str]:
    """Name to line."""
    with pytest.raises(SettingsError) as refused:
        load(environ)
    return {line.split(":")[0]: line for line in refused.value.lines}


def test_a_laptop_needs_no_settings_and_talks_to_the_pretend_world():
    settings = load({})
    assert settings.sokoni_env == "development"
    assert settings.database_url is None
    assert settings.daraja_base_url == settings.africastalking_base_url == "http://127.0.0.1:8001"
    assert settings.public_base_url == "http://127.0.0.1:8000"


def test_addresses_follow_the_host_and_the_ports():
    settings = load({"HOST": "0.0.0.0", "PORT": "8100", "SIMULATOR_PORT": "8101"})
    assert settings.public_base_url == "http://127.0.0.1:8100"
    assert settings.telegram_base_url == "http://127.0.0.1:8101/telegram"


def test_an_empty_value_counts_as_none():
    assert load({"DATABASE_URL": "", "PORT": " "}) == load({})


def test_other_names_of_the_environment_are_none_of_ours():
    assert load({"PATH": "/bin", "port": "1", "LANG": "C"}) == load({})


def test_all_wrong_values_are_named_together_each_with_its_help():
    lines = wrong({"PORT": "http", "USSD_SERVICE_CODE": "384", "DATABASE_URL": "mysql://x"})
    assert list(lines) == ["PORT", "DATABASE_URL", "USSD_SERVICE_CODE"]
    assert "the web server's port" in lines["PORT"]


def test_two_servers_cannot_have_one_port():
    assert list(wrong({"PORT": "8001"})) == ["SIMULATOR_PORT"]


def test_production_takes_what_is_complete():
    assert load(PRODUCTION).in_production


def test_production_names_everything_that_is_missing_at_once():
    lines = wrong({"SOKONI_ENV": "production"})
    assert set(lines) == set(PRODUCTION) - {"SOKONI_ENV"}
    assert all(": missing (" in line for line in lines.values())


def test_production_names_wrong_values_and_missing_secrets_together():
    given = {**PRODUCTION, "PORT": "none"}
    del given["PIN_PEPPER"]
    assert list(wrong(given)) == ["PORT", "PIN_PEPPER"]


@pytest.mark.parametrize("name", STRONG)
@pytest.mark.parametrize("weak", ["kurz", "aaaaaaaaaaaaaaaaaaaaaaaa", "0101010101010101010101"])
def test_production_refuses_a_weak_secret_without_repeating_it(name, weak):
    lines = wrong({**PRODUCTION, name: weak})
    assert list(lines) == [name]
    assert weak not in lines[name]


@pytest.mark.parametrize(
    "name",
    sorted(set(PRODUCTION) - {"SOKONI_ENV", "DATABASE_URL", "REDIS_URL", "DARAJA_CERTIFICATE"}),
)
def test_production_refuses_what_a_laptop_uses(name):
    default = getattr(load({}), name.lower())
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    assert list(wrong({**PRODUCTION, name: value})) == [name]


def test_mpesas_certificate_is_there_or_refused(tmp_path):
    assert list(wrong({"DARAJA_CERTIFICATE": str(tmp_path / "none.pem")})) == ["DARAJA_CERTIFICATE"]
    file = tmp_path / "mpesa.pem"
    file.write_text("-----BEGIN CERTIFICATE-----")
    assert load({"DARAJA_CERTIFICATE": str(file)}).daraja_certificate == str(file)


def test_production_is_reached_by_https():
    assert list(wrong({**PRODUCTION, "PUBLIC_BASE_URL": "http://sokoni.example"})) == [
        "PUBLIC_BASE_URL"
    ]


@pytest.mark.parametrize(
    "word", ["mpesa", "M-Pesa", "safaricom", "exe", "exec", "cmd", "SQL", "query"]
)
def test_words_that_mpesa_refuses_in_callback_addresses_are_refused_here_first(word):
    given = {"PUBLIC_BASE_URL": f"https://{word}.example", "DARAJA_C2B_SECRET": f"a{word}b"}
    assert list(wrong(given)) == ["PUBLIC_BASE_URL", "DARAJA_C2B_SECRET"]


@pytest.mark.parametrize("name", ["AFRICASTALKING_SECRET", "HUBTEL_SECRET", "ADVANTA_SECRET"])
def test_a_path_secret_must_fit_a_path(name):
    assert list(wrong({name: "a/b?c"})) == [name]


def test_in_production_a_further_gateway_is_off_until_it_has_a_secret():
    assert load({}).hubtel_secret is not None
    assert load({}).advanta_secret is not None
    assert load(PRODUCTION).hubtel_secret is None
    assert load({**PRODUCTION, "ADVANTA_SECRET": " "}).advanta_secret is None
    given = load({**PRODUCTION, "HUBTEL_SECRET": "T4wYq9LmZr6XbNc2VhKs"})
    assert given.hubtel_secret is not None
    assert given.advanta_secret is None


@pytest.mark.parametrize("name", ["HUBTEL_SECRET", "ADVANTA_SECRET"])
@pytest.mark.parametrize("weak", ["kurz", "0101010101010101", "the default"])
def test_a_further_gateway_is_not_opened_by_a_weak_secret(name, weak):
    default = getattr(load({}), name.lower()).get_secret_value()
    secret = default if weak == "the default" else weak
    assert list(wrong({**PRODUCTION, name: secret})) == [name]


def test_neither_a_repr_nor_an_error_shows_a_secret():
    settings = load(PRODUCTION)
    for secret in (*STRONG.values(), "hunter22", "Ukweli#2026"):
        assert secret not in repr(settings)
        assert secret not in str(settings.rules())
    lines = wrong({**PRODUCTION, "DATABASE_URL": "mysql://sokoni:hunter22@db", "PORT": "-1"})
    assert "hunter22" not in "".join(lines.values())


def test_a_bucket_is_used_with_its_keys_or_not_at_all():
    assert set(wrong({"EVIDENCE_S3_BUCKET": "evidence"})) == {
        "EVIDENCE_S3_ACCESS_KEY",
        "EVIDENCE_S3_SECRET_KEY",
    }
    keys = {"EVIDENCE_S3_ACCESS_KEY": "key", "EVIDENCE_S3_SECRET_KEY": "Xq2LpR9vTz"}
    settings = load({"EVIDENCE_S3_BUCKET": "evidence", **keys})
    assert "Xq2LpR9vTz" not in repr(settings)


def test_an_address_of_s3_is_a_web_address():
    assert set(wrong({"EVIDENCE_S3_ENDPOINT": "minio:9000"})) == {"EVIDENCE_S3_ENDPOINT"}


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load({}).port = 1


def test_every_name_is_in_the_manual_with_what_production_demands():
    said = manual()
    assert re.findall(r"^([A-Z0-9_]+)=", said, re.M) == [
        name.upper() for name in Settings.model_fields
    ]
    assert said.count("production: required") == len(PRODUCTION) - 1


def test_celery_calls_a_unix_socket_by_another_name():
    assert broker_url("unix:///run/s?db=2") == "redis+socket:///run/s?virtual_host=2"
    assert broker_url("unix:///run/s") == "redis+socket:///run/s?virtual_host=0"
    assert broker_url("redis://cache/0") == "redis://cache/0"
    assert load({"REDIS_URL": "redis://cache/0"}).celery_broker_url == "redis://cache/0"


def test_the_rules_carry_what_was_set_and_keys_of_their_own():
    rules = load({"FEE_BASIS_POINTS": "300", "RESERVATION_MINUTES": "20"}).rules()
    assert (rules.fee_basis_points, rules.reservation_minutes) == (300, 20)
    assert rules.pin_pepper == b"sandbox-pin-pepper"
    assert rules.token_key != load({"SECRET_KEY": "another"}).rules().token_key


def test_only_a_pretend_world_has_no_night_unless_one_is_named():
    assert load({}).rules().quiet_hours == (0, 0)
    assert load(PRODUCTION).rules().quiet_hours == (21, 7)
    assert load({"QUIET_HOURS": "20-6"}).rules().quiet_hours == (20, 6)
    for hours in ("24-7", "21", "21-7-8", "night"):
        assert list(wrong({"QUIET_HOURS": hours})) == ["QUIET_HOURS"]


def test_a_refusal_ends_the_process_with_2_and_names_each(capsys):
    with pytest.raises(SystemExit) as ended:
        refuse(SettingsError(["PORT: no", "HOST: no"]))
    assert ended.value.code == 2
    assert "PORT: no\n  HOST: no" in capsys.readouterr().err


def test_a_process_without_the_server_it_needs_does_not_start(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SOKONI_HOME", str(tmp_path))
    for name in ("SOKONI_ENV", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        from_environment(needs=("database_url", "redis_url"))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "DATABASE_URL: missing" in said
    assert "REDIS_URL: missing" in said


def test_a_network_may_have_a_room_of_its_own():
    found = load({"USSD_ROOM_BY_NETWORK": "63903=180,63907=160"})
    assert found.ussd_rooms() == {"63903": 180, "63907": 160}
    assert load({}).ussd_rooms() == {}


@pytest.mark.parametrize("rooms", ["63903", "63903=", "63903=900", "63903=20", "airtel=180"])
def test_a_room_that_cannot_be_is_named(rooms):
    with pytest.raises(SettingsError) as refused:
        load({"USSD_ROOM_BY_NETWORK": rooms})
    assert "USSD_ROOM_BY_NETWORK" in refused.value.lines[0]
