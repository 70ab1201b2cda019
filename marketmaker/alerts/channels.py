"""One address to one function that sends, nearly always through apprise. Only the messenger's process loads this."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import apprise

from marketmaker.alerts.robots import robot_of
from marketmaker.errors import ConfigError
from marketmaker.model.action import Severity

Send = Callable[[str, str, Severity], str]
"""(title, body, severity) to "" when it was taken, or what went wrong. Waits for the network."""
KINDS = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.ERROR: apprise.NotifyType.FAILURE,
}


class Complaints(logging.Handler):
    """What apprise said last in each thread: it answers only yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self._last.text = record.getMessage()

    def take(self) -> str:
        text = getattr(self._last, "text", "")
        self._last.text = ""
        return str(text)


complaints = Complaints()
logging.getLogger("apprise").addHandler(complaints)
logging.getLogger("apprise").propagate = False


def open_channel(name: str, url: str) -> Send:
    """Raises ConfigError for an address that is not understood; it is not quoted."""
    robot = robot_of(url)
    if robot is not None:
        return lambda title, body, severity: robot(f"{title}\n{body}")
    asset = apprise.AppriseAsset(
        app_id="marketmaker", app_url="", image_url_mask="", image_url_logo=""
    )
    # The service itself, not apprise's dispatcher: that hands it to a pool of threads which hung ones would fill.
    service = apprise.Apprise.instantiate(url, asset=asset)
    if not isinstance(service, apprise.NotifyBase):
        complaints.take()  # it quotes the address
        scheme = url.partition("://")[0]
        raise ConfigError(
            f"alert channel {name}: its address, beginning {scheme}://, is not understood; "
            "`marketmaker alerts channels` shows how addresses look"
        )

    def send(title: str, body: str, severity: Severity) -> str:
        complaints.take()
        taken = service.notify(
            body=body,
            title=title,
            notify_type=KINDS[severity],
            body_format=apprise.NotifyFormat.TEXT,
        )
        return "" if taken else complaints.take() or "it was not taken"

    return send
