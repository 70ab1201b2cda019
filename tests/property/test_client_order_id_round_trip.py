"""Client order ids: what is encoded comes back, and nobody else's id is taken for ours."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from marketmaker.model.client_order_id import (
    DIGITS,
    ClientOrderIdForm,
    IntegerForm,
    TextForm,
    check_character,
    first_sequence,
    tags_clash,
    unzigzag,
    valid_tag,
    zigzag,
)
from marketmaker.model.order import ClientOrderId, Side

TAGS = st.text(DIGITS, min_size=1, max_size=3).filter(valid_tag)
INTEGER_BITS = st.sampled_from([63, 48, 32, 31])


def forms(tag: str) -> list[ClientOrderIdForm]:
    return [
        TextForm(tag),
        TextForm(tag, "t-"),
        *(IntegerForm(tag, bits) for bits in (63, 48, 32, 31)),
    ]


@st.composite
def forms_and_ids(draw: st.DrawFn) -> tuple[ClientOrderIdForm, ClientOrderId]:
    """One of the forms and any id it can carry, the outermost ones often."""
    form = draw(st.sampled_from(forms(draw(TAGS))))
    slot = draw(
        st.integers(-form.max_slot, form.max_slot)
        | st.sampled_from([-form.max_slot, -1, 0, 1, form.max_slot])
    )
    sequence = draw(
        st.integers(0, form.sequences - 1) | st.sampled_from([0, 1, form.sequences - 1])
    )
    return form, ClientOrderId(slot, draw(st.sampled_from(Side)), sequence)


@given(forms_and_ids())
def test_every_form_gives_back_what_it_was_given(
    pair: tuple[ClientOrderIdForm, ClientOrderId],
) -> None:
    form, order = pair
    assert form.decode(form.encode(order)) == order


@given(forms_and_ids(), forms_and_ids())
def test_two_orders_of_one_bot_never_share_an_id(
    first: tuple[ClientOrderIdForm, ClientOrderId],
    second: tuple[ClientOrderIdForm, ClientOrderId],
) -> None:
    form = first[0]
    other = second[1]
    assume(abs(other.slot) <= form.max_slot and other.sequence < form.sequences)
    assert (form.encode(first[1]) == form.encode(other)) == (first[1] == other)


@given(forms_and_ids(), st.integers(1, 5))
def test_a_sequence_past_the_last_wraps_and_keeps_slot_and_side(
    pair: tuple[ClientOrderIdForm, ClientOrderId], rounds: int
) -> None:
    form, order = pair
    later = order._replace(sequence=order.sequence + rounds * form.sequences)
    assert form.encode(later) == form.encode(order)


@given(forms_and_ids())
def test_an_id_is_short_and_made_of_lower_case_letters_and_digits(
    pair: tuple[ClientOrderIdForm, ClientOrderId],
) -> None:
    form, order = pair
    wire = form.encode(order)
    assert 1 <= len(wire) <= (20 if isinstance(form, TextForm) else 19)
    assert set(wire.removeprefix("t-")) <= set(DIGITS)


@given(forms_and_ids())
def test_an_integer_id_is_positive_and_fits_its_bits(
    pair: tuple[ClientOrderIdForm, ClientOrderId],
) -> None:
    form, order = pair
    assume(isinstance(form, IntegerForm))
    assert isinstance(form, IntegerForm)
    wire = form.encode(order)
    assert wire == str(int(wire))
    assert 0 < int(wire) < 1 << form.bits


@given(TAGS, TAGS, forms_and_ids())
def test_another_tags_text_id_never_decodes(
    ours: str, theirs: str, pair: tuple[ClientOrderIdForm, ClientOrderId]
) -> None:
    assume(ours != theirs)
    order = pair[1]
    assert TextForm(ours).decode(TextForm(theirs).encode(order)) is None


@given(TAGS, TAGS, INTEGER_BITS, st.integers(-2_047, 2_047), st.sampled_from(Side))
def test_another_tags_integer_id_decodes_only_when_the_tags_clash(
    ours: str, theirs: str, bits: int, slot: int, side: Side
) -> None:
    wire = IntegerForm(theirs, bits).encode(ClientOrderId(slot, side, 12_345))
    decoded = IntegerForm(ours, bits).decode(wire)
    assert (decoded is not None) == tags_clash(ours, theirs, bits)


@given(TAGS, st.text(max_size=24))
def test_a_decoded_text_is_the_very_id_its_order_encodes_to(tag: str, wire: str) -> None:
    for form in forms(tag):
        order = form.decode(wire)
        assert order is None or form.encode(order) == wire


@given(TAGS, st.text(DIGITS + "ABZ-_ é²٣", min_size=13, max_size=13), st.booleans())
def test_a_text_under_our_tag_decodes_only_if_it_is_canonical(
    tag: str, rest: str, mend: bool
) -> None:
    form = TextForm(tag)
    body = form.prefix + rest
    wire = body + check_character(body) if mend else body + "x"
    order = form.decode(wire)
    assert order is None or form.encode(order) == wire


@given(forms_and_ids(), st.integers(0, 16), st.sampled_from(DIGITS))
def test_a_text_id_with_one_character_changed_is_hardly_ever_ours(
    pair: tuple[ClientOrderIdForm, ClientOrderId], place: int, character: str
) -> None:
    form = TextForm("mm")
    wire = form.encode(pair[1])
    assume(wire[place] != character)
    changed = wire[:place] + character + wire[place + 1 :]
    order = form.decode(changed)
    assert order is None or (place > 2 and check_character(changed[:-1]) == changed[-1])


@given(TAGS, INTEGER_BITS, st.integers(0, 10**6))
def test_a_small_number_somebody_typed_is_never_ours(tag: str, bits: int, number: int) -> None:
    assert IntegerForm(tag, bits).decode(str(number)) is None


@given(st.integers(-(10**9), 10**9))
def test_zigzag_is_undone_and_never_negative(slot: int) -> None:
    assert zigzag(slot) >= 0
    assert unzigzag(zigzag(slot)) == slot


@given(st.integers(1_735_689_600_000, 1_900_000_000_000), st.integers(1, 86_400_000), TAGS)
def test_a_later_start_of_a_long_form_begins_with_a_higher_sequence(
    now_ms: int, later_ms: int, tag: str
) -> None:
    for form in (TextForm(tag), IntegerForm(tag, 63)):
        assert first_sequence(now_ms, form) < first_sequence(now_ms + later_ms, form)
