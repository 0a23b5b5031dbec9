import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import carrier

from core import phone
from core.errors import Invalid


@pytest.mark.parametrize(
    "typed",
    [
        "0712345678",
        "712345678",
        "254712345678",
        "+254712345678",
        "00254712345678",
        "000254712345678",
        " 0712 345 678 ",
        "+254 (712) 345-678",
        "+254.712.345.678",
        "٠٧١٢٣٤٥٦٧٨",
    ],
)
def test_a_number_is_read_however_it_is_typed(typed: str) -> None:
    assert phone.parse(typed) == "+254712345678"


@pytest.mark.parametrize(
    ("typed", "msisdn"),
    [
        ("+255754123456", "+255754123456"),
        ("+12025550123", "+12025550123"),
        ("0110123456", "+254110123456"),
        ("+254199999999", "+254199999999"),  # a range no library knows yet
        ("+254700000001", "+254700000001"),
    ],
)
def test_foreign_and_new_ranges_are_numbers_too(typed: str, msisdn: str) -> None:
    assert phone.parse(typed) == msisdn


def test_a_number_without_its_prefix_is_of_the_region_asked_for() -> None:
    assert phone.parse("0754123456", "TZ") == "+255754123456"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "+",
        "7",
        "12345",
        "07123456789",
        "+2547123456",
        "+999712345678",
        "0712-FLOWERS",
        "0712345678 ext 5",
        "tel:+254712345678",
        "+254712345678;drop",
        "+254712345678\x00",
        "😀",
        "\ud800712345678",
        "0" * 33,
        "9" * 10_000,
    ],
)
def test_what_is_no_number_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        phone.parse(typed)
    assert refused.value.hint == "phone"
    assert refused.value.__cause__ is None
    assert refused.value.values == {}


@given(st.text(alphabet="0123456789+ ()-.", max_size=16))
def test_reading_a_number_again_changes_nothing(typed: str) -> None:
    try:
        msisdn = phone.parse(typed)
    except Invalid:
        return
    assert phone.parse(msisdn) == msisdn


@pytest.mark.parametrize(
    ("msisdn", "answer"),
    [
        ("+254712345678", True),
        ("+254110123456", True),
        ("+254202222222", False),
        ("+255754123456", False),
        ("254712345678", False),
        ("+2547123456789", False),
        ("+254712345678\n", False),
    ],
)
def test_a_kenyan_mobile_is_told_by_its_form(msisdn: str, answer: bool) -> None:
    assert phone.is_kenyan_mobile(msisdn) is answer


@pytest.mark.parametrize(
    ("msisdn", "shown"),
    [("+254712345678", "0712345678"), ("+254110123456", "0110123456"), ("+255754123456",) * 2],
)
def test_a_number_is_shown_as_it_is_dialled_at_home(msisdn: str, shown: str) -> None:
    assert phone.local(msisdn) == shown
    assert phone.parse(shown) == msisdn


def test_a_range_of_another_network_has_no_mpesa() -> None:
    numbers = [f"+254{digit}{rest:02}345678"[:13] for digit in "17" for rest in range(100)]
    networks = [
        carrier.name_for_valid_number(phonenumbers.parse(number), "en") for number in numbers
    ]
    assert "Airtel" in networks
    expected = [network in ("", "Safaricom") for network in networks]
    assert [phone.has_mpesa(number) for number in numbers] == expected


@pytest.mark.parametrize("number", ["+256772123456", "+254202123456", "+25471234567", ""])
def test_what_is_no_kenyan_mobile_has_no_mpesa(number: str) -> None:
    assert not phone.has_mpesa(number)
