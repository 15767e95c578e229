"""Tests of the counts in the report of an import."""

from mdnrnn.data.drawings import Remark
from mdnrnn.data.importing.report import Report


def test_remarks_are_counted_per_reason_with_the_first_detail() -> None:
    report = Report()
    pressure = [Remark("pressure values", "a.inkml", count=5), Remark("pressure values", "b.inkml", count=7)]
    report.add_drawings(2, dropped=[Remark("empty", "c.svg")], repaired=[], lost=pressure)
    report.add_drawings(1, dropped=[Remark("empty", "d.svg")], repaired=[], lost=[Remark("text elements", "e.svg")])
    assert (report.read, report.kept) == (5, 3)
    assert report.dropped == {"empty": (2, "c.svg")}
    assert report.lost == {"pressure values": (12, "a.inkml"), "text elements": (1, "e.svg")}
