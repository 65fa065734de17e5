"""Which row of a sheet names its columns."""

from __future__ import annotations

import csv

import hostile_parts
import pytest

from phi3kit.ingest.readers import read_document
from phi3kit.ingest.readers.sheet import read_sheet


@pytest.mark.parametrize(("text", "above", "names"), [
    ("Torques 2024\npart,torque,note\nM8,25,dry\nM10,49,", ["Torques 2024"],
     ["part", "torque", "note"]),
    ("Torques,,\n,,\npart,torque,note\nM8,25,dry\nM10,49,", ["Torques"],
     ["part", "torque", "note"]),
    ("\n,\npart,torque\nM8,25", [], ["part", "torque"]),
    ("Report:,Sales\nFrom:,2024-01-01\n\nDate,Region,Units,Price\n2024-01-02,North,4,5\n"
     "2024-01-03,South,4,5\nTotal,,8,", ["Report: Sales", "From: 2024-01-01"],
     ["Date", "Region", "Units", "Price"]),
    ("Glossary\nterm,meaning\nK7,a pump\nK8,a winch", ["Glossary"], ["term", "meaning"]),
    ("Population,,,\nRegion,2023,2024,2025\nN,1,2,3\nS,4,5,6", ["Population"],
     ["Region", "2023", "2024", "2025"]),
])
def test_the_names_of_the_columns_stand_below_a_title(text, above, names):
    sheet = read_sheet("", csv.reader(text.splitlines()))
    assert (sheet.above, sheet.names) == (above, names)


@pytest.mark.parametrize("text", [
    ",count\na,1\nb,2", "part,torque,\nM8,25,dry\nM10,49", "name,phone,,,\na,1,2,3,4\nb,1,2,3,4",
    "note\nfirst\nsecond, x\nthird, y\nfourth", "name,note\nK7,a,b,c\nK8,d,e,f\nK9,x",
    ",2023,,2024,\n,Q1,Q2,Q1,Q2\nNorth,1,2,3,4", "size\n8,25,3\n10,49,4\n12,85,5",
])
def test_names_that_are_few_or_above_ragged_rows_are_names(text):
    sheet = read_sheet("", csv.reader(text.splitlines()))
    assert not sheet.above and sheet.names == text.splitlines()[0].split(",")


def test_a_title_is_above_its_rows_and_no_text_is_lost(tmp_path):
    rows = [(), ("Torques of the yard",), ("All in Nm.",), ("part", "torque"), ("M8", 25)]
    book = read_document(tmp_path / "a.xlsx", hostile_parts.xlsx(rows))
    text = "\n".join(",".join(map(str, row)) for row in rows)
    table = read_document(tmp_path / "a.csv", text.encode())
    for document, sheet in ((book, ["Sheet"]), (table, [])):
        assert document.text == (
            "Torques of the yard\nAll in Nm.\n\npart: M8\ntorque: 25")
        assert [h.title for h in document.headings] == [*sheet, "Torques of the yard"]
        assert len(document.parts) == 2


@pytest.mark.parametrize("text", [
    "Torques\npart\ttorque\tprice\nM8\t25\t1,50\nM10\t49\t2,75\n",
    "Yard, list 3\npart;torque;price\nM8;25;1,50\nM10;49;2,75\n",
    "part|torque|price\nM8|25|1,50\nM10|49|2,75\n",
])
def test_neither_a_title_nor_commas_in_numbers_hide_the_delimiter(text, tmp_path):
    document = read_document(tmp_path / "a.csv", text.encode())
    assert document.text.endswith("part: M8\ntorque: 25\nprice: 1,50\n\n"
                                  "part: M10\ntorque: 49\nprice: 2,75")
