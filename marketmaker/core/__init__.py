"""Verbs, pure: an event goes in, actions come out. No clock, no I/O, no randomness, no logging."""
