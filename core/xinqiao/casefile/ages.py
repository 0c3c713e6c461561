"""Ages as the law counts them: whole years in Beijing time, the strict reading on every edge."""

from datetime import date

CONSENT_AGE = 14


def birthday(born: date, age: int) -> date:
    """The day on which somebody reaches ``age``; 29 February counts as 1 March in a common year."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 3, 1)


def under_fourteen(birth_date: str, today: date) -> bool:
    """Whether a guardian must consent (PIPL art. 31).

    The 14th birthday itself still counts as under 14, and so does an unknown birth date: the stricter reading.
    """
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return True
    return today <= birthday(born, CONSENT_AGE)
