"""The shape of the whole: what may know what, and what must be said in one place only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import outbox
from flows.book import BOOK
from settings import Settings
from worker import tasks

ROOT = Path(__file__).parent.parent
OURS = (
    "app.py",
    "settings.py",
    "logs.py",
    "channels",
    "console",
    "core",
    "flows",
    "local",
    "payments",
    "storage",
    "worker",
)
DARAJA_WORDS = re.compile(
    r"CheckoutRequestID|MerchantRequestID|stkCallback|MpesaReceiptNumber|ResultCode"
)


def sources(*places: str) -> Iterator[tuple[str, str]]:
    for place in places:
        path = ROOT / place
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        yield from ((str(file.relative_to(ROOT)), file.read_text()) for file in files)


def literals(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_calls_go_down():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_environment_is_read_in_settings_only():
    readers = [
        name
        for name, source in sources(*OURS, "simulator")
        if re.search(r"\bos\.environ|\bgetenv\b|import environ", source)
    ]
    # local/ hands its children an environment; the pretend world is a program of its own.
    allowed = {"settings.py", "simulator/__main__.py", "simulator/phone.py"}
    assert {name for name in readers if not name.startswith("local/")} <= allowed


def test_darajas_words_stay_in_its_adapter_and_its_callbacks():
    speakers = {name for name, source in sources(*OURS) if DARAJA_WORDS.search(source)}
    assert speakers == {"payments/daraja.py", "payments/callbacks.py"}


def test_no_rule_asks_the_databases_clock():
    asking = [
        name
        for name, source in sources("core", "flows")
        for text in literals(source)
        if re.search(r"\bnow\(\)|current_timestamp|clock_timestamp|localtime", text, re.IGNORECASE)
    ]
    assert asking == []


def test_sql_is_put_together_from_literals_only():
    """A `%s` of Python's, a `.format` or an f-string of a variable would let a value in as SQL."""
    for name, source in sources("core", "flows", "channels", "console", "payments", "worker"):
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"row", "rows", "value", "run"}
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "db"
            ):
                sql = next((a for a in node.args if _looks_like_sql(a)), None)
                assert sql is not None, f"{name}:{node.lineno} has no literal SQL"


def _looks_like_sql(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.JoinedStr(values=parts):
            return all(
                isinstance(part, ast.Constant) or _is_constant_name(part.value)  # type: ignore[attr-defined]
                for part in parts
            )
        case _:
            return _is_constant_name(node)


def _is_constant_name(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(re.fullmatch(r"_?[A-Z][A-Z_]+", name))


def test_every_kind_of_the_outbox_has_a_task_and_every_task_a_kind():
    assert set(tasks.TASKS) == set(outbox.KINDS)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(name):
    assert f"`{name.upper()}`" in (ROOT / "README.md").read_text()


def test_every_flow_has_its_words_beside_it_and_its_dialogues():
    for name in BOOK:
        assert (ROOT / "flows" / f"{name}.toml").exists(), name
        assert list((ROOT / "tests" / "transcripts" / name).glob("*.txt")), name


# They keep a conversation, or remind of it, and know its channel as a value; one flow links chats.
KNOW_CHANNELS = {"conversations.py", "run.py", "nudges.py", "link.py"}
CHANNEL_WORDS = re.compile(r"(?<![a-z])(ussd|sms|telegram|whatsapp)(?![a-z])", re.I)


def test_no_flow_knows_on_which_channel_it_is_held():
    """Neither in what it names nor in what it writes; what it says to people may name a service."""
    for name, source in sources("flows"):
        if Path(name).name not in KNOW_CHANNELS:
            said = {*identifiers(source), *literals(without_docstrings(source))}
            assert [word for word in said if CHANNEL_WORDS.search(word)] == [], name


def identifiers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for name in ("id", "attr", "name", "arg"):
            if isinstance(found := getattr(node, name, None), str):
                yield found.replace("_", " ")


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_no_folder_of_migrations_is_a_package():
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_locks_name_hashes_and_no_addresses():
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, lock.name
        assert "index-url" not in text.replace("--no-emit-index-url", ""), lock.name


def test_every_address_says_who_may_call_it(new_database):
    """A route is a health check, or its path carries a secret that the caller must know."""
    import app
    import settings

    with new_database() as url:
        web = app.create_app(settings.load({"SOKONI_ENV": "test", "DATABASE_URL": url}))
        open_to_all = {
            rule.rule
            for rule in web.url_map.iter_rules()
            if "<secret>" not in rule.rule and "<token>" not in rule.rule
        }
        web.extensions["sokoni.database"].close()
    assert open_to_all == {"/health/live", "/health/ready"}
