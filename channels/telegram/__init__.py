"""Telegram: the same conversations with buttons; a shared contact proves the phone.

`updates` reads what Telegram posts, `chat` acts on it, `webhook` is the address; `sender` writes to
chats, from the worker. Source: Bot API 10.0; package python-telegram-bot 22.8.
"""
