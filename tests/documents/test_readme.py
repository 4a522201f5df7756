"""The README's code runs, and so does its saga."""

from __future__ import annotations

from typing import Any

from ordersaga import create_tables
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.ids import new_id
from ordersaga.testing import Rehearsal
from tests.documents.markdown import page
from tests.support.databases import Databases


def declared(**databases: str) -> dict[str, Any]:
    """Return the names that the README's Python blocks define, with test databases."""
    code = "\n".join(block.text for block in page("README.md").blocks_of("python"))
    for name, url in databases.items():
        code = code.replace(f"postgresql://{name}@localhost/{name}", url)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - it is our own README
    return names


def test_the_saga_of_the_readme_is_confirmed(databases: Databases) -> None:
    readme = declared(desk=databases.orders, hotel=databases.inventory)
    assert isinstance(readme["desk"].database, SQLAlchemyDatabase)
    create_tables(readme["choreography"])
    with readme["desk"].database.begin() as tx:
        saga = readme["trip"].start(readme["TripAsked"](guest="a"), db=tx.db)
    Rehearsal(readme["choreography"]).run()
    with readme["desk"].database.begin() as tx:
        assert readme["trip"].status(saga, db=tx.db) == ("CONFIRMED", True, None, None)
        assert readme["trip"].status(new_id(), db=tx.db) is None
    for participant in ("desk", "hotel"):
        readme[participant].database.discard()


def test_the_saga_is_declared_in_ten_lines() -> None:
    [_, saga] = page("README.md").blocks_of("python")

    assert len([line for line in saga.text.splitlines() if line.strip()]) == 10
