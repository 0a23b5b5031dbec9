"""The web application: every address of Sokoni, bound to one database."""

import gc
import os
from collections.abc import Callable
from datetime import datetime
from random import Random

from flask import Flask, Response, jsonify

import logs
import settings as settings_
from channels import limits, sms_africastalking, ussd_advanta, ussd_africastalking, ussd_hubtel
from channels.switchboard import Switchboard
from channels.telegram import webhook as telegram
from channels.ussd import Hopper
from channels.web import Web
from console import watch
from core.database import Database, utc_now
from core.errors import Unavailable
from flows.standing import Standing
from payments import callbacks, insights
from settings import Settings

READY_SECONDS_MAX = 2.0
ALLOCATIONS_BEFORE_COLLECTION = 10_000  # net, of the young; Python's own is 700


def create_app(
    settings: Settings | None = None,
    *,
    database: Database | None = None,
    clock: Callable[[], datetime] = utc_now,
    random: Random | None = None,
) -> Flask:
    """The WSGI application. Without settings it takes the process's own.

    database: somebody else's, who may roll back what is done there; so no conversation is
    remembered as it was left.
    """
    standing = Standing() if database is None else None
    is_server = settings is None
    if settings is None:
        settings = settings_.from_environment()
    logs.configure(settings.log_level)
    if database is None:
        assert settings.database_url is not None, "the settings name no database"
        database = Database(
            settings.database_url,
            clock=clock,
            random=random,
            size=settings.web_threads + 1,
            recall_seconds=settings.listing_seconds_max,
        )
    app = Web("sokoni")
    app.extensions["sokoni.database"] = database
    hopper = Hopper(
        database,
        settings.rules(),
        seconds_max=settings.hop_seconds_max,
        limit=_limit(settings),
        standing=standing,
    )
    app.register_blueprint(
        ussd_africastalking.blueprint(
            hopper,
            secret=settings.africastalking_secret.get_secret_value(),
            room_septets=settings.ussd_room_septets,
            rooms=settings.ussd_rooms(),
            dialled_ahead=settings.ussd_dialled_ahead,
        )
    )
    if settings.hubtel_secret is not None:
        app.register_blueprint(
            ussd_hubtel.blueprint(
                hopper,
                secret=settings.hubtel_secret.get_secret_value(),
                service_code=settings.hubtel_service_code,
                room_septets=settings.ussd_room_septets,
                dialled_ahead=settings.ussd_dialled_ahead,
            )
        )
    if settings.advanta_secret is not None:
        app.register_blueprint(
            ussd_advanta.blueprint(
                hopper,
                secret=settings.advanta_secret.get_secret_value(),
                service_code=settings.advanta_service_code,
                room_septets=settings.ussd_room_septets,
                dialled_ahead=settings.ussd_dialled_ahead,
            )
        )
    app.register_blueprint(
        telegram.blueprint(
            database,
            hopper,
            settings.rules(),
            secret=settings.telegram_secret.get_secret_value(),
        )
    )
    app.register_blueprint(
        sms_africastalking.blueprint(
            database,
            Switchboard(database, hopper, settings.rules()),
            secret=settings.africastalking_secret.get_secret_value(),
        )
    )
    app.register_blueprint(
        callbacks.blueprint(database, c2b_secret=settings.daraja_c2b_secret.get_secret_value())
    )
    app.register_blueprint(
        insights.blueprint(database, path_secret=settings.africastalking_secret.get_secret_value())
    )
    if not settings.in_production:
        secret = settings.africastalking_secret.get_secret_value()
        app.register_blueprint(watch.blueprint(database, secret=secret))
    _health(app, database)
    if is_server:
        _keep_for_good()
    return app


def _keep_for_good() -> None:
    """Nobody looks through what was made so far for garbage again, nor often through the rest.

    A full collection held up every thread of the process for 60 ms, which was the p99 of a hop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BEFORE_COLLECTION, 20, 20)


def _limit(settings: Settings) -> limits.HopLimit | None:
    if settings.hops_a_minute_max == 0:
        return None
    store = limits.connect(settings.redis_url)
    key = settings.secret_key.get_secret_value().encode()
    return limits.HopLimit(settings.hops_a_minute_max, store, key=key)


def _health(app: Flask, database: Database) -> None:
    @app.get("/health/live")
    def live() -> Response:
        return jsonify({"status": "live", "process": os.getpid()})

    @app.get("/health/ready")
    def ready() -> tuple[Response, int]:
        try:
            with database.begin(seconds=READY_SECONDS_MAX) as db:
                migrated = db.value("SELECT to_regclass('alembic_version') IS NOT NULL")
                version = migrated and db.value("SELECT version_num FROM alembic_version")
        except Unavailable as error:
            return jsonify({"status": "not ready", "database": type(error).__name__}), 503
        state, status = ("ready", 200) if version else ("not migrated", 503)
        return jsonify({"status": state, "database": "up", "migration": version}), status
