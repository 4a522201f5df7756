"""``python -m ordersaga.embedded`` refuses invalid arguments before it creates anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordersaga.embedded.__main__ import main


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("broker", "taken"),
        ("postgres", "taken"),
        ("Desk", "lower-case"),
        ("a'; DROP", "lower-case"),
        ("", "lower-case"),
    ],
)
def test_a_name_that_cannot_be_a_database_is_refused(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["start", str(tmp_path / "postgres"), "desk", name])

    assert ended.value.code == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_stopping_a_server_that_never_ran_succeeds(tmp_path: Path) -> None:
    assert main(["stop", str(tmp_path / "nowhere" / "postgres")]) == 0
