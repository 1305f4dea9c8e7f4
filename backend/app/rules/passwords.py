"""Which passwords people may choose (NIST SP 800-63B 5.1.1.2, OWASP ASVS 5.0 6.2).

Length is what counts: no demands on kinds of characters, but none of those that guessers try first.
"""

from __future__ import annotations

from itertools import pairwise

SHORTEST, LONGEST = 8, 128

COMMON = frozenset(
    """
    00000000 0987654321 11111111 111111111 1111111111 11223344 112233445566 12121212 123123123
    1234512345 12341234 12345678 123456789 1234567890 12345678910 1234qwer 123qweasd 123456789a
    123456abc 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qazxsw2 22222222 33333333 44444444 55555555 66666666
    77777777 87654321 88888888 987654321 99999999 a1b2c3d4 a1234567 a12345678 aa123456 aaaaaaaa
    abc12345 abcd1234 abcdefgh abcdefghi access14 adminadmin administrator alexander arsenal1
    asdasdasd asdf1234 asdfasdf asdfghjk asdfghjkl babygirl baseball baseball1 basketball batman123
    benjamin blink182 butterfly chocolate computer corvette danielle december dolphins einstein
    elephant facebook football football1 forever21 garfield god12345 goodluck hardcore hello123
    hellohello iloveyou iloveyou1 iloveyou2 infinity internet jennifer jessica1 jonathan jordan23
    kimberly leonardo letmein1 letmein123 liverpool liverpool1 login123 lovelove loveyou1 maverick
    marlboro master123 mercedes metallica michael1 michelle midnight minecraft monkey123 mustang1
    natasha1 newpassword nicholas november p@ssw0rd p@ssword passpass passw0rd password password1
    password12 password123 password1234 pakistan patricia personal playstation pokemon1 princess
    princess1 q1w2e3r4 q1w2e3r4t5 qazwsxedc qwer1234 qwerasdf qwerty12 qwerty123 qwerty1234
    qwerty12345 qwertyui qwertyuiop rangers1 redskins samantha sapphire scooter1 scorpion secret123
    security september shadow123 slipknot snowball softball spiderman squirrel starwars steelers
    sunshine sunshine1 superman superman1 superstar swordfish test1234 testtest thunder1 trustno1
    undertaker valentina veronica victoria welcome1 welcome123 whatever william1 wordpass xbox360x
    yankees1 zaq12wsx zaqxswcde zxcvbnm1 zxcvbnm123 inboxgrove inboxgrove1 changeme changeme1
    """.split()  # noqa: SIM905  # A word list reads better than 150 quoted lines.
)
"""What guessing lists begin with, of at least eight characters; compared in lower case."""


def fault(password: str, *, personal: tuple[str, ...] = ()) -> str | None:
    """What is wrong with `password`, in words; None when it may be used.

    `personal` are words that a guesser knows of this person: address, name, company.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return f"Use {SHORTEST} to {LONGEST} characters."
    lowered = password.lower()
    if lowered in COMMON or len(set(lowered)) < 3 or _is_run(lowered):
        return "This password is one of the first that a guesser tries."
    known = {word.lower() for entry in personal for word in (entry, entry.partition("@")[0])}
    if lowered in known:
        return "Do not use your own name, company or address."
    return None


def _is_run(text: str) -> bool:
    """Whether each character follows the one before, upwards or downwards, as in 23456789."""
    steps = {ord(b) - ord(a) for a, b in pairwise(text)}
    return steps in ({1}, {-1})
