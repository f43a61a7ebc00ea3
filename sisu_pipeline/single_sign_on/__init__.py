"""People who are identified by an OpenID Connect provider or by the signed header of a proxy."""
