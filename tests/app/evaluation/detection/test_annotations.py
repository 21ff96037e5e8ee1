from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.evaluation.detection.annotations import Annotated, read_annotations
from app.evaluation.photos import EvaluationError

LIST = """0--Parade/b.jpg
2
449 330 122 149 0 0 0 0 0 0
10 20 30 40 2 0 0 1 0 0
0--Parade/a10.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Picnic/a2.jpg
2
5 6 7 8
5 6 0 8 0 0 0 0 0 0
"""
VOC = """<annotation><filename>{name}</filename><size><width>50</width></size>
<object><name>with mask</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22.5</ymax></bndbox></object>
<object><name>without</name><difficult>1</difficult>
<bndbox><xmin>30</xmin><ymin>30</ymin><xmax>30</xmax><ymax>31</ymax></bndbox></object>
<object><bndbox><ymax>4</ymax><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax></bndbox></object>
</annotation>"""
BOX = "<object><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>{}</object>"
COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "sub/a.jpg"}],
    "annotations": [
        {"image_id": 7, "bbox": [1, 2, 10.5, 20], "iscrowd": 0, "category_id": 1},
        {"image_id": 7, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        {"image_id": 7, "bbox": [3, 3, 4, 5], "ignore": 1},
    ],
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("0--Parade/b.jpg", "0--Parade/a10.jpg", "1--Picnic/a2.jpg", "sub/a.jpg", "b.jpg", "c.png", "x.JPG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"nobody looks")
    return folder


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def told(read: tuple[Annotated, ...]) -> dict[str, tuple[list[list[float]], list[bool]]]:
    return {one.photo.name: (one.boxes.tolist(), one.ignored.tolist()) for one in read}


def test_widers_list(tmp_path: Path, images: Path) -> None:
    read = read_annotations(written(tmp_path, "wider.txt", LIST), images)
    assert told(read) == {
        "0--Parade/a10.jpg": ([], []),
        "0--Parade/b.jpg": ([[449, 330, 571, 479], [10, 20, 40, 60]], [False, True]),
        "1--Picnic/a2.jpg": ([[5, 6, 12, 14], [5, 6, 5, 14]], [False, True]),
    }
    assert read[0].photo.source == images / "0--Parade/a10.jpg"
    assert read[0].boxes.shape == (0, 4)


def test_a_photo_without_faces_may_lack_the_line_of_zeros(tmp_path: Path, images: Path) -> None:
    read = read_annotations(written(tmp_path, "wider.txt", "b.jpg\n0\nsub/a.jpg\n1\n1 1 2 2\n\n"), images)
    assert told(read) == {"b.jpg": ([], []), "sub/a.jpg": ([[1, 1, 3, 3]], [False])}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b.jpg\nmany\n", "line 2: 'many', expected how many faces b.jpg shows"),
        ("b.jpg", "line 2: 'the end', expected how many faces b.jpg shows"),
        ("1\n1 2 3 4\n", "line 1: '1', expected the path of a photo"),
        ("b.jpg\n1\n\n", "line 3: the end, expected x y width height"),
        ("b.jpg\n1\n1 2 3\n", "line 3: '1 2 3', expected x y width height"),
        ("b.jpg\n1\n1 2 3 nan\n", "line 3: '1 2 3 nan', expected x y"),
        ("b.jpg\n2\n1 2 3 4\nsub/a.jpg\n0\n", "line 4: 'sub/a.jpg', expected x y"),
        ("b.jpg\n1\n1 2 3 4\n5 6 7 8\n", "line 4: '5 6 7 8', expected the path of a photo"),
        ("b.jpg\n0\nb.jpg\n0\n", "b.jpg is annotated twice"),
        ("", "annotates 0 photos"),
    ],
)
def test_a_list_that_makes_no_sense(tmp_path: Path, images: Path, text: str, said: str) -> None:
    path = written(tmp_path, "wider.txt", text)
    with pytest.raises(EvaluationError) as caught:
        read_annotations(path, images)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_list_that_is_no_text(tmp_path: Path, images: Path) -> None:
    (tmp_path / "wider.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match="no text in UTF-8"):
        read_annotations(tmp_path / "wider.txt", images)


def test_vocs_boxes_count_from_one_and_include_their_corners(tmp_path: Path, images: Path) -> None:
    """One pixel from (3, 3) to (4, 4) is 2 px wide; the second object is one column, 30, and ignored."""
    written(tmp_path, "voc/b.xml", VOC.format(name="b.jpg"))
    faces = [[0, 1, 11, 22.5], [29, 29, 30, 31], [2, 2, 4, 4]]
    assert told(read_annotations(tmp_path / "voc", images)) == {"b.jpg": (faces, [False, True, False])}


def test_vocs_photo_may_be_called_otherwise_than_the_xml_says(tmp_path: Path, images: Path) -> None:
    """The folder of `filename` is where it lay elsewhere; without a photo of that name it is the XML's own."""
    written(tmp_path, "voc/whatever.xml", VOC.format(name="C:\\me\\b.jpg"))
    written(tmp_path, "voc/c.xml", VOC.format(name="lost.jpg"))
    read = read_annotations(tmp_path / "voc", images)
    assert [(one.photo.name, one.photo.source) for one in read] == [
        ("b.jpg", images / "b.jpg"),
        ("lost.jpg", images / "c.png"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation>\n<object>\n</annotation>", "b.xml, line 3: mismatched tag"),
        ("<html/>", "b.xml is a <html>"),
        (f"<annotation>{BOX.format(3, '')}{BOX.format('left', '')}</annotation>", "b.xml, object 2: bndbox ['left',"),
        (f"<annotation>{BOX.format(12, '')}</annotation>", "b.xml, object 1: {'xmin': '12'"),
        (f"<annotation>{BOX.format('inf', '')}</annotation>", "b.xml, object 1: bndbox ['inf'"),
        (f"<annotation>{BOX.format(3, '<difficult>very</difficult>')}</annotation>", "difficult 'very'"),
        ("<annotation><object><name>face</name></object></annotation>", "object 1: bndbox [None"),
    ],
)
def test_xml_that_makes_no_sense(tmp_path: Path, images: Path, text: str, said: str) -> None:
    written(tmp_path, "voc/b.xml", text)
    with pytest.raises(EvaluationError) as caught:
        read_annotations(tmp_path / "voc", images)
    assert said in str(caught.value)


def test_a_folder_without_xml(tmp_path: Path, images: Path) -> None:
    with pytest.raises(EvaluationError, match="has no XML files"):
        read_annotations(images, images)


def test_cocos_boxes(tmp_path: Path, images: Path) -> None:
    read = read_annotations(written(tmp_path, "coco.json", json.dumps(COCO)), images)
    assert told(read) == {
        "b.jpg": ([[1, 2, 11.5, 22], [0, 0, 50, 50], [3, 3, 7, 8]], [False, True, True]),
        "sub/a.jpg": ([], []),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"images": [],\n"annotations": }', "line 2: unexpected character"),
        ("[]", "has no list `images`"),
        (json.dumps({"images": []}), "has no list `annotations`"),
        (json.dumps(COCO | {"images": [{"id": 7}]}), "images[0]: {'id': 7}; expected an id of its own and a file_name"),
        (json.dumps(COCO | {"images": COCO["images"] * 2}), "images[2]: {'id': 7"),
        (json.dumps(COCO | {"annotations": [{"image_id": 8}]}), "annotations[0]: {'image_id': 8}; expected the id"),
        (json.dumps(COCO | {"annotations": [3]}), "annotations[0]: 3; expected the id"),
        (
            json.dumps(COCO | {"annotations": [*COCO["annotations"], {"image_id": 7, "bbox": [1, 2, 3]}]}),
            "annotations[3]: bbox [1, 2, 3]; expected x, y, width and height",
        ),
        (json.dumps(COCO | {"annotations": [{"image_id": 7, "bbox": [1, 2, 3, 0]}]}), "bbox [1, 2, 3, 0]"),
    ],
)
def test_json_that_makes_no_sense(tmp_path: Path, images: Path, given: str, said: str) -> None:
    path = written(tmp_path, "coco.json", given)
    with pytest.raises(EvaluationError) as caught:
        read_annotations(path, images)
    assert said in str(caught.value)


def test_photos_are_sorted_as_text_chosen_and_counted_off(tmp_path: Path, images: Path) -> None:
    path = written(tmp_path, "wider.txt", LIST)
    assert [one.photo.name for one in read_annotations(path, images, first=1)] == ["0--Parade/a10.jpg"]
    assert [one.photo.name for one in read_annotations(path, images, only="*/a*", first=2)] == [
        "0--Parade/a10.jpg",
        "1--Picnic/a2.jpg",
    ]
    with pytest.raises(EvaluationError, match="annotates 3 photos, none of them called z"):
        read_annotations(path, images, only="z*")


def test_a_photo_that_is_not_there_is_missed_unless_it_is_not_asked_for(tmp_path: Path, images: Path) -> None:
    path = written(tmp_path, "wider.txt", LIST + "gone.jpg\n0\nlost.jpg\n0\n")
    with pytest.raises(EvaluationError, match=r"2 of the 5 photos .* the first is gone\.jpg; .*--only or --first"):
        read_annotations(path, images)
    assert len(read_annotations(path, images, first=3)) == 3
