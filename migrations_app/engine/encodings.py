"""In which encodings two databases keep their text."""

from __future__ import annotations

from .connect import Connection
from .values import frozen
from .versions import has_publications

_WITHOUT_CODEC = ("EUC_TW",)


@frozen(kw_only=False)
class Encodings:
    """Server encodings of both ends of one database."""

    source: str
    target: str

    @property
    def same_unicode(self) -> bool:
        """Say whether text can travel without being converted or looked at."""
        return self.source == self.target == "UTF8"


def encodings_of(source: Connection, target: Connection) -> Encodings:
    """Return the encodings of the databases of two open sessions, as both servers said at the login."""
    said = [one.info.parameter_status("server_encoding") or "UTF8" for one in (source, target)]
    return Encodings(said[0], said[1])


def stream_encoding(source: Connection) -> str:
    """Return the encoding in which the changes of a session's database travel: its own, so that bytes stay as they are.

    UTF8 where Python has no codec for that: the server converts what pgoutput tells.
    """
    own = source.info.parameter_status("server_encoding") or "UTF8"
    return "UTF8" if own in _WITHOUT_CODEC and has_publications(source.info.server_version) else own
