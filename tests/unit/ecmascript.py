"""ECMAScript's Number::toString by its definition (ECMA-262 §6.1.6.1.20), slow and without `repr`.

The specification asks for integers n, k, s: s × 10^(n-k) is the number, k as small as possible, and s the
nearest such choice, the even one of two that are equally near. Here they are searched for with exact fractions.
"""

from fractions import Fraction


def number_text(value: float) -> str:
    """The text ECMAScript gives a finite double."""
    if value == 0:
        return "0"
    if value < 0:
        return "-" + number_text(-value)
    n, s = _shortest(value)
    return _layout(str(s), n)


def _shortest(value: float) -> tuple[int, int]:
    exact = Fraction(value)
    n = _magnitude(exact)
    for k in range(1, 18):
        unit = Fraction(10) ** (n - k)
        guess = round(exact / unit)
        fitting = [s for s in (guess - 1, guess, guess + 1) if s > 0 and _reads_back(s, n - k, value)]
        if fitting:
            s = min(fitting, key=lambda s: (abs(s * unit - exact), s % 2))
            # 9.99… may round up to the next power of ten: that is one digit and a larger n.
            return (n + 1, 1) if s == 10**k else (n, s)
    raise AssertionError("17 digits always suffice for a double")


def _magnitude(exact: Fraction) -> int:
    """The n with 10^(n-1) <= exact < 10^n."""
    n = len(str(exact.numerator)) - len(str(exact.denominator))
    while Fraction(10) ** n <= exact:
        n += 1
    while Fraction(10) ** (n - 1) > exact:
        n -= 1
    return n


def _reads_back(s: int, exponent: int, value: float) -> bool:
    return float(f"{s}e{exponent}") == value


def _layout(digits: str, n: int) -> str:
    k = len(digits)
    if k <= n <= 21:
        return digits + "0" * (n - k)
    if 0 < n <= 21:
        return digits[:n] + "." + digits[n:]
    if -6 < n <= 0:
        return "0." + "0" * -n + digits
    exponent = f"e{'+' if n > 0 else '-'}{abs(n - 1)}"
    return digits[0] + ("." + digits[1:] if k > 1 else "") + exponent
