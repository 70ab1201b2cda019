"""Frames and bodies that were good once: wounded, cut, and grafted with what no venue should send."""

from __future__ import annotations

import random

TOKENS = [
    *(b"null", b"true", b"{}", b"[]", b'""', b"-1", b"0", b"1e999", b"NaN", b'"NaN"', b'"1e999"'),
    *(b'"-1"', b'"\xff"', b"9" * 40, b"9" * 5000, b'"' + b"9" * 5000 + b'"', b'"0.0000001"'),
    *(b"[" * 2000, b'{"a":' * 2000, b"\x00", b'"BUY"', b'"ETHUSDT"', b"\xed\xa0\x80", b"1e-400"),
    *(b'"1_000"', b'"\xe2\x91\xa0"', b'"Infinity"', b"[[]]", b'{"":{}}', b"9223372036854775808"),
]


def mutate(frame: bytes, rng: random.Random) -> bytes:
    """One to four wounds."""
    text = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        match rng.randint(0, 5):
            case 0:
                del text[at:]
            case 1:
                del text[at : min(end, at + 8)]
            case 2:
                text[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
            case 3 if text:
                text[min(at, len(text) - 1)] ^= 1 << rng.randrange(8)
            case 4:
                text = bytearray(swap_value(bytes(text), rng))
            case _:
                text[at:at] = text[at : min(end, at + 40)]
    return bytes(text)


def swap_value(text: bytes, rng: random.Random) -> bytes:
    """The value after some colon becomes another token."""
    colons = [n for n, byte in enumerate(text) if byte == ord(":")]
    if not colons:
        return text
    start = rng.choice(colons) + 1
    ends = [n for n in (text.find(b",", start), text.find(b"}", start)) if n > 0]
    return text[:start] + rng.choice(TOKENS) + text[min(ends, default=len(text)) :]
