"""The book of all flows, by name."""

from flows.account import ACCOUNT
from flows.buy import BUY
from flows.engine import Book
from flows.home import HOME
from flows.my_orders import MY_ORDERS
from flows.register import REGISTER
from flows.sell import SELL

BOOK: Book = {flow.name: flow for flow in (HOME, REGISTER, ACCOUNT, BUY, MY_ORDERS, SELL)}
