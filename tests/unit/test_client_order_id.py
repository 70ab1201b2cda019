"""Client order ids: golden texts, and what is refused."""

from __future__ import annotations

import pytest

from marketmaker.model.client_order_id import (
    EPOCH_MS,
    TEXT_MAX_SLOT,
    IntegerForm,
    TextForm,
    base36,
    check_character,
    first_sequence,
    tag_hash,
    tags_clash,
    valid_tag,
    zigzag,
)
from marketmaker.model.order import ClientOrderId, Side


def with_check(body: str) -> str:
    return body + check_character(body)


@pytest.mark.parametrize(
    ("tag", "order", "body"),
    [
        ("mm", ClientOrderId(0, Side.BUY, 0), "0mmb000000000000"),
        ("mm", ClientOrderId(-1, Side.SELL, 35), "0mms00010000000z"),
        ("a", ClientOrderId(1, Side.BUY, 36), "00ab000200000010"),
        ("bot", ClientOrderId(-839_807, Side.SELL, 36**8 - 1), "botszzzxzzzzzzzz"),
        ("bot", ClientOrderId(839_807, Side.SELL, 36**8 - 1), "botszzzyzzzzzzzz"),
    ],
)
def test_the_text_form_is_tag_side_slot_sequence_check(
    tag: str, order: ClientOrderId, body: str
) -> None:
    assert TextForm(tag).encode(order) == with_check(body)
    assert TextForm(tag).decode(with_check(body)) == order


def test_the_text_form_never_changes_between_releases() -> None:
    order = ClientOrderId(-12, Side.BUY, 123_456_789)
    assert TextForm("mm").encode(order) == "0mmb000n0021i3v93"


@pytest.mark.parametrize(
    ("bits", "number"),
    [(63, "7566060293244071993"), (48, "255093005889593"), (31, "1075294265")],
)
def test_the_integer_forms_never_change_between_releases(bits: int, number: str) -> None:
    form = IntegerForm("mm", bits)
    assert form.encode(ClientOrderId(-12, Side.SELL, 12_345)) == number
    assert form.decode(number) == ClientOrderId(-12, Side.SELL, 12_345)


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "web_abc123",
        "0mmb00000000000",
        with_check("0mmb0000000000000"),
        with_check("0mnb000000000000"),
        with_check("0mmx000000000000"),
        with_check("0mmb0000000000-0"),
        with_check("0mmB000000000000"),
        with_check("0mmb00000000000A"),
        with_check("0mmb00000000000é"),
        with_check("0mmb00000000000²"),
        "0mmb000000000000" + ("0" if check_character("0mmb000000000000") != "0" else "1"),
    ],
)
def test_a_text_id_of_someone_else_does_not_decode(wire: str) -> None:
    assert TextForm("mm").decode(wire) is None


@pytest.mark.parametrize(
    "wire", ["", "-5", "+5", "abc", "1.5", "²", "٣", "0", "12345", "9" * 19, "9" * 20, "9" * 5000]
)
@pytest.mark.parametrize("bits", [63, 48, 31])
def test_an_integer_id_of_someone_else_does_not_decode(bits: int, wire: str) -> None:
    assert IntegerForm("mm", bits).decode(wire) is None


@pytest.mark.parametrize("tag", ["a", "mm", "b2c", "zzz"])
def test_a_tag_is_one_to_three_letters_or_digits_starting_with_a_letter(tag: str) -> None:
    assert valid_tag(tag)


@pytest.mark.parametrize("tag", ["", "abcd", "1a", "A", "a-b", "é", "a b", "0mm"])
def test_any_other_tag_is_refused_by_every_form(tag: str) -> None:
    assert not valid_tag(tag)
    with pytest.raises(ValueError, match="bot tag"):
        TextForm(tag)
    with pytest.raises(ValueError, match="bot tag"):
        IntegerForm(tag, 63)


def test_a_short_tag_and_a_longer_one_ending_alike_do_not_collide() -> None:
    order = ClientOrderId(5, Side.BUY, 77)
    for ours, theirs in (("m", "mm"), ("m", "amm"), ("b", "ab")):
        assert TextForm(ours).decode(TextForm(theirs).encode(order)) is None
        assert TextForm(theirs).decode(TextForm(ours).encode(order)) is None


@pytest.mark.parametrize("bits", [7, 5, 3])
def test_a_tag_hash_is_never_nought_and_fits(bits: int) -> None:
    hashes = {tag_hash(f"{a}{b}", bits) for a in "abcdefghij" for b in "0123456789"}
    assert min(hashes) >= 1
    assert max(hashes) < 1 << bits


def test_a_tag_clashes_with_itself_and_not_with_one_of_another_hash() -> None:
    assert tags_clash("mm", "mm", 63)
    others = [f"{a}{b}" for a in "abc" for b in "xyz"]
    assert any(not tags_clash("mm", other, 63) for other in others)


def test_the_slot_limits_are_as_documented() -> None:
    assert TextForm("mm").max_slot == 839_807
    assert [IntegerForm("mm", bits).max_slot for bits in (63, 48, 31)] == [65_535, 16_383, 2_047]
    assert zigzag(-TEXT_MAX_SLOT) < zigzag(TEXT_MAX_SLOT) < 36**4


def test_the_first_sequence_counts_milliseconds_and_wraps_in_the_short_forms() -> None:
    assert first_sequence(EPOCH_MS, TextForm("mm")) == 0
    assert first_sequence(EPOCH_MS + 5, TextForm("mm")) == 5
    short = IntegerForm("mm", 31)
    assert first_sequence(EPOCH_MS + short.sequences + 3, short) == 3


def test_base36_writes_the_low_digits_in_a_fixed_width() -> None:
    assert base36(0, 4) == "0000"
    assert base36(36**4 - 1, 4) == "zzzz"
    assert base36(37, 6) == "000011"
