"""Variables of other programs whose names begin like settings of this project."""

import re

_READ_BY_OTHERS = frozenset(
    {"DBOS__VMID", "DBOS__APPID", "DBOS__CLOUD", "DBOS__CONDUCTOR_KEY", "DBOS__CONDUCTOR_URL", "OC_EDITOR"}
)
# Kubernetes describes a Service named `sisu` or `sisu-…` to every container of its namespace.
_SERVICE = re.compile(
    r"SISU_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_URL = re.compile(r"SISU_(\w+_)?PORT")


def is_foreign(name: str, value: str) -> bool:
    """Whether a variable, its name in upper case, is meant for DBOS, for OpenShift's client or by Kubernetes.

    The value tells `SISU_PORT=tcp://10.0.0.1:3001` of a Service from a mistaken `SISU_PORT=3001`.
    """
    if name in _READ_BY_OTHERS or _SERVICE.fullmatch(name) is not None:
        return True
    return _SERVICE_URL.fullmatch(name) is not None and "://" in value
