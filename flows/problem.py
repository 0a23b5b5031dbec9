"""Problem: a buyer says what is wrong with an order, and its money waits for a decision."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from core import disputes, evidence, money, order_book
from core.disputes import REASONS, Dispute
from core.errors import Invalid
from flows.answers import hints
from flows.engine import Ask, Call, Context, End, Flow, Menu, Option, Pick
from flows.words import Values, common

ORDERS_SHOWN_MAX = 10
TELLING_LETTERS_MIN = 4  # a shorter word of a reason stands in many other sentences too


@dataclass
class Answers:
    """order and text may be given before the flow begins, by whatever leads here."""

    order: UUID | None = None
    text: str | None = None
    reason: str | None = None


def orders(context: Context, _answers: Any) -> list[Option[UUID]]:
    found = disputes.disputable(context.db, context.buyer.id, ORDERS_SHOWN_MAX)
    return [
        Option(
            order.order_id,
            {
                "order": str(order.number),
                "seller": order.seller_name,
                "total": money.show(order.total_cents),
            },
        )
        for order in found
    ]


def which(
    context: Context, answers: Any
) -> Literal["unsaid", "disputable", "already_open", "not_yet", "too_late", "not_yours"]:
    if answers.order is None:
        return "unsaid"
    return disputes.stands(context.db, answers.order, context.buyer.id)


def understand(_context: Context, answers: Any) -> Literal["understood", "unclear"]:
    """Does a text given in advance name one of the reasons, in whatever language?"""
    said = _telling(answers.text or "")
    meant = [
        reason
        for reason in REASONS
        if any(said & _telling(label) for label in common().texts[f"problem.{reason}"].values())
    ]
    if len(meant) != 1:
        return "unclear"
    (answers.reason,) = meant
    return "understood"


def _telling(text: str) -> set[str]:
    words = (word.strip(".,;:!?") for word in text.casefold().split())
    return {word for word in words if len(word) >= TELLING_LETTERS_MIN}


def reasons(context: Context, _answers: Any) -> list[Option[str]]:
    return [Option(reason, {"problem": _reason(context, reason)}) for reason in REASONS]


def enough(_context: Context, answers: Any) -> Literal["said", "say_more"]:
    return "say_more" if answers.reason == "other" and not answers.text else "said"


@hints("words")
def words(_context: Context, _answers: Any, text: str) -> str:
    if sum(map(str.isalpha, text)) < 2:
        raise Invalid("words")
    return text


def order_line(context: Context, answers: Any) -> Values:
    order = order_book.for_buyer(context.db, answers.order, context.buyer.id, context.language)
    assert order is not None, "an order that was shown is not the buyer's"
    return {
        "order": str(order.number),
        "seller": order.seller_name,
        "total": money.show(order.total_cents),
        "problem": _reason(context, answers.reason) if answers.reason else "",
    }


def report(context: Context, answers: Any) -> Literal["opened", "already_open", "too_late"]:
    outcome = disputes.open(
        context.db, answers.order, context.buyer.id, answers.reason, answers.text, context.now
    )
    # It was hers and sent when she chose it, and no order goes back.
    assert outcome != "not_yours", f"order {answers.order} has another buyer"
    assert outcome != "not_yet", f"order {answers.order} is not sent any more"
    return outcome


def case_line(context: Context, answers: Any) -> Values:
    dispute = _dispute(context, answers)
    return {**order_line(context, answers), "case": str(dispute.number)}


def given(_context: Context, answers: Any) -> Literal["given", "nothing"]:
    return "given" if answers.text else "nothing"


def add(context: Context, answers: Any) -> Literal["added", "too_many", "too_late"]:
    dispute = disputes.of_order(context.db, answers.order)
    if dispute is None:
        return "too_late"
    kept = evidence.say(context.db, dispute.id, context.buyer.id, answers.text, context.now)
    return "too_many" if kept == "too_many" else "added"


def _dispute(context: Context, answers: Any) -> Dispute:
    found = disputes.last_of(context.db, answers.order)
    assert found is not None, "nobody ever complained of an order that was shown as disputed"
    return found


def _reason(context: Context, reason: str) -> str:
    return common().texts[f"problem.{reason}"][context.language]


PROBLEM = Flow(
    "problem",
    Answers,
    (
        Call(
            "which",
            do=which,
            effect=False,
            to={
                "unsaid": "order",
                "disputable": "understand",
                "already_open": "known",
                "not_yet": "not_yet",
                "too_late": "too_late",
                "not_yours": "order",
            },
        ),
        Pick("order", options=orders, to="which", empty="none"),
        Call(
            "understand",
            do=understand,
            effect=False,
            to={"understood": "enough", "unclear": "reason"},
        ),
        Pick("reason", options=reasons, show=order_line, to="enough"),
        Call("enough", do=enough, effect=False, to={"said": "confirm", "say_more": "text"}),
        Ask("text", parse=words, to="confirm"),
        Menu(
            "confirm",
            show=order_line,
            to={"report": "report", "words": "text", "change": "reason"},
        ),
        Call(
            "report",
            do=report,
            to={"opened": "reported", "already_open": "known", "too_late": "too_late"},
        ),
        Call("known", do=given, effect=False, to={"given": "add", "nothing": "more"}),
        Ask("more", parse=words, field="text", show=case_line, to="add"),
        Call(
            "add",
            do=add,
            to={"added": "added", "too_many": "too_many", "too_late": "too_late"},
        ),
        End("reported", show=case_line),
        End("added", show=case_line),
        End("too_many", show=case_line),
        End("not_yet", show=order_line),
        End("too_late", show=order_line),
        End("none"),
    ),
    takes=("order",),
)
