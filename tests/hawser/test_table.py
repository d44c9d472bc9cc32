"""Tables that people and awk can read."""

from hawser.table import PS_COLUMNS, ps_rows, render, state


def test_columns_are_aligned_and_empty_cells_show_as_a_dash() -> None:
    text = render(("NAME", "UP"), [("a", True), ("longer", None)])
    assert text.splitlines() == ["NAME    UP", "a       yes", "longer  -"]


def test_lists_are_joined_and_nothing_is_padded_at_the_end() -> None:
    assert render(("X", "Y"), [([1, 2], "")]).splitlines()[1] == "1,2  -"


def test_a_container_row_has_every_column_and_a_short_command() -> None:
    entry = {
        "id": "0123456789ab",
        "name": "web",
        "tenant": "blue",
        "image": "base",
        "state": "exited",
        "code": 137,
        "addresses": ["10.0.0.2/24", "fd00::2/64"],
        "publish": ["8080:80/tcp"],
        "argv": ["/bin/sh", "-c", "x" * 60],
    }
    (row,) = ps_rows([entry])
    assert len(row) == len(PS_COLUMNS)
    assert row[4:7] == ("exited(137)", ["10.0.0.2", "fd00::2"], ["8080:80/tcp"])
    assert str(row[-1]).endswith("...")
    assert len(str(row[-1])) == 40


def test_a_running_container_shows_no_code() -> None:
    assert state({"state": "running", "code": None}) == "running"
