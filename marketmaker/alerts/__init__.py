"""Telling the owner: alerts to chat, mail and webhooks, and a heartbeat that says whether we quote.

rules     which alert goes where, how often, and what shares a message; pure
wire      what the daemon and its messenger say to each other, a line each
desk      the daemon's side: writes lines into a pipe, never waits
messenger the other side: a process of its own, a thread for each channel
channels  one address to one function that sends

Trading must not feel any of it. The daemon only writes into a pipe that never blocks; what does not fit waits in a
queue of `desk.MAX_WAITING` lines, of which the oldest are dropped and counted. Libraries, names, sockets and servers
that never answer live in the messenger's process; a channel that hangs holds up only its own thread, while its alerts
wait in a list of `rules.MAX_WAITING`, of which the oldest are dropped and counted as well. The count is told with the
next message that gets through.
"""
