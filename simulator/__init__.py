"""The pretend world: people with phones, M-Pesa with its own books, gateways, and Telegram.

An independent double of the providers Sokoni stands on. It shares no code with Sokoni and meets it
over HTTP only, as the real ones do: Sokoni calls the providers' real paths here, and this world
calls Sokoni's callbacks back, in the providers' own forms, on time, late, twice, wrongly or never.
`python -m simulator` serves it; `world.World` with a virtual clock and `server.create_app` is the
same world inside a test; `python -m simulator.phone` is a handset in the terminal.
"""
