"""The addresses: found by their path alone, and nobody is sent to another one."""

import pytest

import app
from settings import Settings

NOWHERE = Settings(database_url="postgresql://nobody@127.0.0.1:1/nothing", hops_a_minute_max=0)


@pytest.fixture(scope="module")
def client():
    return app.create_app(NOWHERE).test_client()


@pytest.mark.parametrize("host", ["sokoni.example", "[::1]:8000", "127.0.0.1", "soko ni", "söko"])
def test_whatever_name_the_host_is_called_by_the_answer_is_the_same(client, host):
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["//health//live", "/health/live/", "/health", "/"])
def test_a_path_that_is_almost_ours_is_not_found_and_leads_nowhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Location" not in answer.headers


def test_what_an_address_takes_is_said(client):
    answer = client.options("/health/live")
    assert answer.status_code == 200
    assert set(answer.allow) == {"GET", "HEAD", "OPTIONS"}
