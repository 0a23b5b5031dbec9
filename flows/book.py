"""The book of all flows, by name."""

from flows.account import ACCOUNT
from flows.buy import BUY
from flows.call_me import CALL_ME
from flows.engine import Book
from flows.home import HOME
from flows.link import LINK
from flows.messages import MESSAGES
from flows.my_orders import MY_ORDERS
from flows.problem import PROBLEM
from flows.register import REGISTER
from flows.safe_pay import SAFE_PAY
from flows.sell import SELL
from flows.share import SHARE
from flows.wallet import WALLET

BOOK: Book = {
    flow.name: flow
    for flow in (
        *(HOME, REGISTER, ACCOUNT, LINK, BUY, MY_ORDERS, SELL, WALLET),
        *(SAFE_PAY, PROBLEM, MESSAGES, CALL_ME, SHARE),
    )
}
