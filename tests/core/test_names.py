"""By which of their names a person is called."""

import pytest

from core import names


@pytest.mark.parametrize(
    ("whole", "called"),
    [
        ("Amina Wanjiru", "Amina"),
        ("Amina", "Amina"),
        ("Mama Njeri Wa Kamau", "Mama Njeri"),
        ("MAMA njeri", "MAMA njeri"),
        ("Dr. Otieno", "Dr. Otieno"),
        ("Mama", "Mama"),
        ("Mamati Wafula", "Mamati"),
    ],
)
def test_a_person_is_called_by_the_first_name_and_after_a_title_by_the_next(
    whole: str, called: str
) -> None:
    assert names.called(whole) == called
