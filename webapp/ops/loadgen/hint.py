"""Why orders may not settle: which participant's pool does not answer."""

from __future__ import annotations

from ordersaga.database import first_line
from webapp.ops.broker import alarm_words, blocked
from workers.celery_app import application
from workers.settings import settings

PATIENCE = 2.0
"""Seconds in which a pool that runs will have answered."""


def hint() -> str:
    """One sentence for whoever waits in vain."""
    wanted = [module.rsplit(".", 1)[-1] for module in settings().participants]
    modules = dict(zip(wanted, settings().participants, strict=True))
    try:
        if reason := blocked(settings().broker_url):
            return f"{alarm_words(reason)} These orders go on as soon as it does."
        listening = _listening(wanted[0])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the broker is the hint
        return (
            f"The broker does not answer ({first_line(error)}). ORDERSAGA_BROKER_URL says where it should be."
        )
    if missing := [name for name in wanted if name not in listening]:
        commands = " and ".join(f"celery -A {modules[name]} worker" for name in missing)
        return f"No pool answers for {', '.join(missing)}. Start: {commands}"
    return "All pools answer, so it may only take longer. The admin's page of sagas shows where they stand."


def _listening(name: str) -> set[str]:
    """The queues that some pool listens to."""
    app = application(name)
    app.control.mailbox._producer_pool = (
        None  # ask on the connection below, which this process closes in time
    )
    with app.connection_for_write(connect_timeout=PATIENCE) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * PATIENCE)
        answers = app.control.inspect(timeout=PATIENCE, connection=connection).active_queues() or {}
    return {queue["name"] for queues in answers.values() for queue in queues}
