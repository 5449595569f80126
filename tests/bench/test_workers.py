"""The report of the measurement of workers, from made-up samples."""

from bench.load import Sample
from bench.workers import COUNTS, loads, report


def test_ratios_are_to_one_worker_of_the_same_column() -> None:
    samples = {
        (workers, depth, name): [Sample(1000.0 * workers, 1.0, 2.0, cpu) for cpu in (9.0, 10.0 + workers, 30.0)]
        for workers in COUNTS
        for depth, name, _ in loads(1, short=True)
    }
    section = report(samples, pinned_to_cores=False, short=True)
    costs, rates = section.tables
    assert costs.header == ("workers", "SET P=1", "GET P=1", "SET P=16", "GET P=16")
    assert [row[0] for row in costs.rows] == ["1", "2"]
    assert all("11" in cell for cell in costs.rows[0][1:])
    assert all("12" in cell and "1.09" in cell for cell in costs.rows[1][1:])
    assert all("2.00" in cell for cell in rates.rows[1][1:])
    assert "nothing pinned" in section.about
    assert "pinned to a core" in report(samples, pinned_to_cores=True, short=True).about


def test_each_worker_has_as_many_clients() -> None:
    one, two = ([load.clients for _, _, load in loads(workers, short=False)] for workers in COUNTS)
    assert [2 * count for count in one] == two
