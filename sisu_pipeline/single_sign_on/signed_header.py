"""The identity that a proxy sends with each request: a JWT in a header, signed with a key that both know."""

from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey

from sisu_pipeline.contracts.access import Person
from sisu_pipeline.single_sign_on.claim_rules import ClaimRules, IdentityRefused

MAX_AGE_S = 300
"""Seconds since `iat` after which a header is stale, whatever its `exp`."""
LEEWAY_S = 30
"""Seconds by which the clocks of proxy and server may differ."""
_LEAST_SECRET = 32
_LONGEST_HEADER = 16 * 1024


@dataclass(frozen=True)
class SignedHeader:
    """Verifies the header `name`. The algorithm follows from the kind of the key, never from the header."""

    name: str
    key: OctKey | ECKey | RSAKey
    algorithm: str
    audience: str
    rules: ClaimRules

    def person(self, value: str, now: int) -> Person:
        """The person of a header's value at the time `now`. Raises IdentityRefused."""
        if len(value) > _LONGEST_HEADER:
            raise IdentityRefused(f"the header is longer than {_LONGEST_HEADER} bytes")
        registry = jwt.JWTClaimsRegistry(
            now=now,
            leeway=LEEWAY_S,
            aud={"essential": True, "value": self.audience},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            claims = jwt.decode(value, self.key, algorithms=[self.algorithm]).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as failure:
            raise IdentityRefused(f"the header is not accepted: {type(failure).__name__}") from None
        if claims["iat"] < now - MAX_AGE_S - LEEWAY_S:
            raise IdentityRefused(f"the header is older than {MAX_AGE_S} seconds")
        return self.rules.person(claims)


def signed_header(name: str, key: str, audience: str, rules: ClaimRules) -> SignedHeader:
    """The verifier for a key in PEM, EC P-256 or RSA, or a shared secret. Raises ValueError for another key."""
    if "-----BEGIN" not in key:
        secret = key.strip().encode()
        if len(secret) < _LEAST_SECRET:
            raise ValueError(f"the key of the identity header must have at least {_LEAST_SECRET} bytes")
        return SignedHeader(name, OctKey.import_key(secret), "HS256", audience, rules)
    kinds: tuple[tuple[type[ECKey] | type[RSAKey], str], ...] = ((ECKey, "ES256"), (RSAKey, "RS256"))
    for kind, algorithm in kinds:
        try:
            found = kind.import_key(key)
        except (JoseError, ValueError):
            continue
        if isinstance(found, RSAKey) or found.curve_name == "P-256":
            return SignedHeader(name, found, algorithm, audience, rules)
    raise ValueError("the key of the identity header must be an EC P-256 or RSA public key in PEM, or a secret")
