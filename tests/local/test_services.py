import pytest

from local import postgres, services, valkey
from settings import broker_url, load


@pytest.fixture
def settings(home):
    return load({"SOKONI_HOME": str(home)})


def test_servers_that_run_are_found_by_every_other_command_of_that_home(settings):
    database, redis = services.start_postgres(settings), services.start_valkey(settings)
    try:
        found = services.resolve(settings)
    finally:
        postgres.stop(database)
        valkey.stop(redis)
    assert "/sokoni?host=" in found.database_url
    assert found.redis_url == redis.url
    assert found.celery_broker_url == broker_url(redis.url)
    left = services.resolve(settings)
    assert (left.database_url, left.redis_url, left.celery_broker_url) == (None, None, None)


def test_a_home_where_nothing_ever_ran_has_no_servers_and_is_not_made(settings):
    assert services.resolve(settings) == settings
    assert not settings.sokoni_home.exists()


def test_servers_that_the_settings_name_are_never_replaced(home):
    named = load(
        {
            "SOKONI_HOME": str(home),
            "DATABASE_URL": "postgresql://db.example/sokoni",
            "REDIS_URL": "redis://cache.example/0",
            "CELERY_BROKER_URL": "redis://queue.example/1",
        }
    )
    assert services.resolve(named) == named
    assert services.using(named, "postgresql:///other", "unix:///other") == named
