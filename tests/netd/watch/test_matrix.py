"""Loss and latency as a matrix."""

import json

from hawser.netd.watch.matrix import Cell, Sample, matrix, packed, unpacked

SAMPLES = [
    Sample(source="a", target="b", times=(0.001, 0.003, 0.002)),
    Sample(source="b", target="a", times=(0.001, None)),
    Sample(source="a", target="c", times=(None, None)),
]


def test_a_cell_has_least_mean_most_and_median() -> None:
    found = matrix(SAMPLES)
    assert found.cells["a", "b"] == Cell(
        sent=3, received=3, loss=0.0, least=0.001, mean=0.002, most=0.003, median=0.002
    )
    assert found.cells["b", "a"].loss == 50.0
    assert found.cells["a", "c"] == Cell(sent=2, received=0, loss=100.0)


def test_the_table_shows_medians_and_losses() -> None:
    assert list(matrix(SAMPLES).lines()) == [
        "from \\ to                a     b     c",
        "a                        -  2 ms  lost",
        "b          1 ms (50% lost)     -     -",
        "7 sent, 4 received, 43% lost",
    ]


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(matrix(SAMPLES).document()))
    assert (document["sent"], document["received"], document["loss_percent"]) == (7, 4, 42.857)
    assert document["pairs"][0] == {
        "source": "a",
        "target": "b",
        "sent": 3,
        "received": 3,
        "loss_percent": 0.0,
        "min_ms": 1.0,
        "avg_ms": 2.0,
        "max_ms": 3.0,
        "p50_ms": 2.0,
    }
    assert document["pairs"][2]["p50_ms"] is None


def test_samples_of_one_pair_are_taken_together() -> None:
    found = matrix([SAMPLES[0], Sample(source="a", target="b", times=(None,))])
    assert (found.sent, found.received, found.loss) == (4, 3, 25.0)


def test_a_loss_never_rounds_to_nothing() -> None:
    times = (*(0.001,) * 999, None)
    assert list(matrix([Sample(source="a", target="b", times=times)]).lines())[-1].endswith("0.1% lost")


def test_nobody_is_an_empty_matrix() -> None:
    assert list(matrix([]).lines()) == ["from \\ to", "0 sent, 0 received, 0% lost"]


def test_what_is_packed_comes_back() -> None:
    samples = [
        Sample(source="a", target="b", times=(0.000123, None, 1.5)),
        Sample(source="b", target="a", times=(None,)),
    ]
    assert unpacked(json.loads(json.dumps(packed(samples)))) == samples
    assert unpacked(packed([])) == []
