"""What happened, for good: orders, trades, fees, funding, balances and configurations, in SQLite or PostgreSQL.

    url       what a ledger's address may look like, and how it is shown
    schema    the tables
    database  an engine for an address
    writer    the daemon's side: takes rows without waiting, writes them in batches
    rows      what is read back: frozen values
    reader    the other side
    pnl       profit and loss of a period, from rows
    lots      which purchase each sale disposed of
    report    all of it together

The database library is imported by `schema`, `database`, `writer` and `reader` only: a daemon without a ledger never
loads it.
"""
