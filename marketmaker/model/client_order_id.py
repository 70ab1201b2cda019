"""Client order ids on the wire: how a bot, a slot, a side and a sequence number travel through a venue and back.

The venue keeps this id for us, so after `kill -9` with nothing on disk every open order and every trade can be given
back to its slot. These forms cover all venues; the adapter picks the one its venue takes:

    form          tag        slot            sequence             used where
    text, 17      3 letters  ± 839,807       36**8, in ms: 89 y   text ids (letters and digits only, lower case)
    text, lead    3 letters  ± 839,807       36**8, in ms: 89 y   the same behind a lead the venue asks for (Gate: "t-")
    integer, 63   7 bits     ± 65,535        38 bits, in ms: 8 y  64-bit ids
    integer, 48   5 bits     ± 16,383        27 bits, wraps       48-bit ids
    integer, 32   3 bits     ± 2,047         16 bits, wraps       unsigned 32-bit ids (Backpack)
    integer, 31   3 bits     ± 2,047         15 bits, wraps       31-bit ids

Sequence numbers start at the clock in milliseconds (see `first_sequence`), so a restart that lost its disk does not
meet the numbers of the run before as long as fewer than 1,000 orders a second were sent: ids are then never used
twice, as Bybit asks. The three short forms wrap; use them only where a venue frees an id with its order.

An id of someone else must never decode. The text form starts with the whole tag and ends with a check character; the
integer forms carry a hash of the tag, so two bots on one account need tags whose hashes differ (`tags_clash`).
"""

from __future__ import annotations

from typing import Final, Protocol
from zlib import crc32

from marketmaker.model.order import ClientOrderId, Side

DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
EPOCH_MS: Final = 1_735_689_600_000
"""2025-01-01T00:00:00Z, where sequence numbers begin."""

SIDE_LETTER: Final = {Side.BUY: "b", Side.SELL: "s"}
LETTER_SIDE: Final = {letter: side for side, letter in SIDE_LETTER.items()}


class ClientOrderIdForm(Protocol):
    """`sequences`: how many sequence numbers exist before they wrap. `max_slot`: the largest |slot|."""

    sequences: int
    max_slot: int

    def encode(self, order: ClientOrderId) -> str: ...

    def decode(self, wire: str) -> ClientOrderId | None:
        """None for an id that this bot did not make."""
        ...


def valid_tag(tag: str) -> bool:
    """One to three lower-case letters or digits, the first a letter."""
    return 1 <= len(tag) <= 3 and tag[0] in DIGITS[10:] and all(c in DIGITS for c in tag)


def first_sequence(now_ms: int, form: ClientOrderIdForm) -> int:
    """The sequence number a process starting at `now_ms` (Unix milliseconds) begins with."""
    return (now_ms - EPOCH_MS) % form.sequences


REMEMBERED: Final = 4096
PAIRS: Final = [first + second for first in DIGITS for second in DIGITS]


def base36(number: int, width: int) -> str:
    """`width` digits, an even number of them, zeros in front."""
    text = ""
    for _ in range(width // 2):
        number, pair = divmod(number, 1296)
        text = PAIRS[pair] + text
    return text


def zigzag(slot: int) -> int:
    """Signed to unsigned: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4."""
    return slot * 2 if slot >= 0 else -slot * 2 - 1


def unzigzag(code: int) -> int:
    return code // 2 if code % 2 == 0 else -(code + 1) // 2


TEXT_SEQUENCES: Final = 36**8
TEXT_MAX_SLOT: Final = 36**4 // 2 - 1


class TextForm:
    """17 lower-case letters and digits: tag 3, side 1, slot 4, sequence 8, check 1; `lead` stands before them."""

    def __init__(self, tag: str, lead: str = "") -> None:
        self.sequences = TEXT_SEQUENCES
        self.max_slot = TEXT_MAX_SLOT
        if not valid_tag(tag):
            raise ValueError(f"bot tag {tag!r} is not 1 to 3 lower-case letters or digits")
        self.prefix = lead + tag.rjust(3, "0")
        self.length = 17 + len(lead)
        self._at = len(self.prefix)
        self._made: dict[str, ClientOrderId] = {}

    def encode(self, order: ClientOrderId) -> str:
        """Remembered for a while, since an order's id comes back in its answer and in its events."""
        body = (
            self.prefix
            + SIDE_LETTER[order.side]
            + base36(zigzag(order.slot), 4)
            + base36(order.sequence % self.sequences, 8)
        )
        wire = body + check_character(body)
        if order.sequence < self.sequences:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            self._made[wire] = order
        return wire

    def decode(self, wire: str) -> ClientOrderId | None:
        made = self._made.get(wire)
        if made is not None:
            return made
        if len(wire) != self.length or not wire.startswith(self.prefix):
            return None
        own = wire[self._at :]
        side = LETTER_SIDE.get(own[0])
        if side is None or not (own.isascii() and own.isalnum() and own == own.lower()):
            return None
        if check_character(wire[:-1]) != wire[-1]:
            return None
        return ClientOrderId(unzigzag(int(own[1:5], 36)), side, int(own[5:13], 36))


def check_character(body: str) -> str:
    return DIGITS[crc32(body.encode()) % 36]


LAYOUTS: Final = {63: (7, 17, 38), 48: (5, 15, 27), 32: (3, 12, 16), 31: (3, 12, 15)}
"""Bits of an integer id: those of the tag's hash, the slot and the sequence number."""


class IntegerForm:
    """A positive integer of `bits` bits, in decimal text: tag hash, slot, side, sequence from high to low."""

    def __init__(self, tag: str, bits: int) -> None:
        if not valid_tag(tag):
            raise ValueError(f"bot tag {tag!r} is not 1 to 3 lower-case letters or digits")
        self.tag_bits, self.slot_bits, self.sequence_bits = LAYOUTS[bits]
        self.bits = bits
        self.tag_hash = tag_hash(tag, self.tag_bits)
        self.sequences = 1 << self.sequence_bits
        self.max_slot = (1 << (self.slot_bits - 1)) - 1

    def encode(self, order: ClientOrderId) -> str:
        number = self.tag_hash
        number = number << self.slot_bits | zigzag(order.slot)
        number = number << 1 | (order.side is Side.SELL)
        number = number << self.sequence_bits | order.sequence % self.sequences
        return str(number)

    def decode(self, wire: str) -> ClientOrderId | None:
        if not (wire.isascii() and wire.isdigit()) or len(wire) > 19:
            return None
        number = int(wire)
        if number >> (self.slot_bits + 1 + self.sequence_bits) != self.tag_hash:
            return None
        sequence = number & (self.sequences - 1)
        number >>= self.sequence_bits
        side = Side.SELL if number & 1 else Side.BUY
        slot = unzigzag(number >> 1 & ((1 << self.slot_bits) - 1))
        return ClientOrderId(slot, side, sequence)


def tag_hash(tag: str, bits: int) -> int:
    """Never 0, so that a small number somebody typed is not taken for ours."""
    return crc32(tag.encode()) % ((1 << bits) - 1) + 1


def tags_clash(first: str, second: str, bits: int) -> bool:
    """Whether two bots on one account would take each other's integer ids for their own."""
    tag_bits = LAYOUTS[bits][0]
    return tag_hash(first, tag_bits) == tag_hash(second, tag_bits)
