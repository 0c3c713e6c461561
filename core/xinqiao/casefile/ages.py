"""Ages as the law counts them: whole years in Beijing time, the strict reading on every edge."""

from datetime import date

CONSENT_AGE = 14
MAJORITY = 18


def birthday(born: date, age: int) -> date:
    """The day on which somebody reaches ``age``; 29 February counts as 1 March in a common year."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 3, 1)


def under_fourteen(birth_date: str, today: date) -> bool:
    """Whether a guardian must consent (PIPL art. 31)."""
    return _under(CONSENT_AGE, birth_date, today)


def of_age(birth_date: str, today: date) -> bool:
    """Whether a guardian has no say any more (Civil Code art. 17)."""
    return not _under(MAJORITY, birth_date, today)


def _under(age: int, birth_date: str, today: date) -> bool:
    """The birthday itself still counts as under age, and so does an unknown birth date: the stricter reading."""
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return True
    return today <= birthday(born, age)
