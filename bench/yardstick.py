"""The yardstick: what this machine can do at all, to compare figures of two machines by.

A form, one SELECT, one INSERT, one COMMIT that does not wait for the disk, and nothing else: Flask
on the same server with psycopg.
"""

from uuid import uuid4

from flask import Flask, Response, request
from psycopg_pool import ConnectionPool

from settings import Settings, load_environment

BEGINS = "1"


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Without settings it takes the process's own."""
    settings = settings or load_environment()
    app = Flask("yardstick", static_folder=None)
    pool = ConnectionPool(
        settings.database_url or "",
        min_size=settings.web_threads,
        kwargs={"options": "-c synchronous_commit=off"},
        open=True,
    )
    with pool.connection() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")  # every worker process comes here
        connection.execute(
            "CREATE TABLE IF NOT EXISTS yardstick (id uuid PRIMARY KEY, note text NOT NULL)"
        )

    @app.get("/health/ready")
    def ready() -> str:
        return "ready"

    @app.post("/channels/ussd/africastalking/<secret>")
    def hop(secret: str) -> Response:  # noqa: ARG001
        with pool.connection() as connection:
            connection.execute(
                "SELECT id FROM members WHERE msisdn = %s AND deleted_at IS NULL",
                [request.form["phoneNumber"]],
            ).fetchone()
            connection.execute(
                "INSERT INTO yardstick VALUES (%s, %s)", [uuid4(), request.form["text"]]
            )
        return Response(f"CON {BEGINS}", content_type="text/plain; charset=utf-8")

    return app
