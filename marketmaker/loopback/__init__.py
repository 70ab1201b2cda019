"""Venues on this machine: servers that speak a real venue's protocol over the embedded exchange's matching engine.

A live configuration can be rehearsed against one without an account, and an adapter tested against one that misbehaves.
`book` is what every venue needs of the engine, `bars` and `sockets` what they need of a market and of WebSocket
clients; a file per venue speaks its language.
"""
