"""The verbs about vectors as a user types them: embed, search, neighbours, map."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netwright.cli.main import code_of
from netwright.records.vectors import Vectors, read_vectors, write_vectors

SMALL = ["resnet20(width=4)", "--weights", "random", "--image-size", "32", "--device", "cpu"]


@pytest.fixture
def vectors(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "vectors.npz"
    assert code_of(["embed", SMALL[0], str(photos), "-o", str(out), *SMALL[1:]]) == 0
    assert "63 pictures as vectors of 16 numbers" in capsys.readouterr().out
    return out


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a user's mistake."""
    assert code_of([*arguments]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "fix:" in printed.err
    return printed.err


def test_from_photos_to_neighbours_and_a_map(
    vectors: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = photos / "test" / "red" / "0.jpg"
    assert code_of(["search", str(vectors), str(query), "-k", "4", "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"][0]["name"] == "test/red/0.jpg"
    assert found["results"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert found["searched"] == 63
    assert code_of(["search", str(vectors), str(query), "-k", "99", "--metric", "l2"]) == 0
    printed = capsys.readouterr().out
    assert "99 were asked for; the file has 63" in printed
    assert "test/red/0.jpg" in printed.splitlines()[1]

    page = tmp_path / "n.html"
    assert code_of(["neighbours", str(vectors), "-k", "3", "--against", str(vectors), "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "15 test pictures among 36 training pictures, by cosine" in printed
    assert "precision@3" in printed
    assert "not resolved" in printed
    content = page.read_text("utf-8")
    assert content.count("data:image/jpeg") >= 24
    assert "precision@3" in content
    assert "<script" not in content

    assert code_of(["neighbours", str(vectors), "--json", "--queries", "all", "--no-probe"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["neighbours"]) == 63
    assert all(len(each["neighbours"]) == 5 for each in found["neighbours"])
    assert {each["name"] for each in found["measures"]} == {
        "precision@5", "1-NN accuracy", "5-NN accuracy", "20-NN accuracy",
    }  # fmt: skip
    assert all({"low", "high", "n"} <= set(each) for each in found["measures"])

    for ending in ("html", "png", "svg"):
        out = tmp_path / f"map.{ending}"
        assert code_of(["map", str(vectors), "-o", str(out)]) == 0
        assert "trustworthiness" in capsys.readouterr().out
        assert out.stat().st_size > 1000
    assert (tmp_path / "map.html").read_text("utf-8").count("data:image/jpeg") == 63


def test_moved_pictures_are_asked_for(
    vectors: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos.rename(tmp_path / "moved")
    out = tmp_path / "map.html"
    assert code_of(["map", str(vectors), "-o", str(out)]) == 0
    assert "--pictures" in capsys.readouterr().out
    assert code_of(["map", str(vectors), "-o", str(out), "--pictures", str(tmp_path / "moved")]) == 0
    assert out.read_text("utf-8").count("data:image/jpeg") == 63


def test_embed_says_what_it_made_as_json(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "v.npz"
    stage = ["--stage", "0", "--pool", "avg_max"]
    assert code_of(["embed", SMALL[0], str(photos), "-o", str(out), *SMALL[1:], *stage, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"], found["dimension"]) == (63, 8)
    assert found["meta"]["pool"] == "avg_max"


def test_others_vectors_have_neighbours_and_a_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    path, nothing = tmp_path / "v.npz", [""] * 12
    write_vectors(path, Vectors([str(n) for n in range(12)], matrix, nothing, nothing, nothing))
    assert code_of(["neighbours", str(path), "--page", str(tmp_path / "n.html")]) == 0
    assert "nothing is measured" in capsys.readouterr().out
    assert code_of(["map", str(path), "-o", str(tmp_path / "m.html")]) == 0


def test_mistakes_are_told(vectors: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, query = str(vectors), str(photos / "test" / "red" / "0.jpg")
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "cannot read" in told(capsys, "search", here, str(bad))
    assert "no such file" in told(capsys, "search", here, str(tmp_path / "none.jpg"))
    assert "is empty" in told(capsys, "search", str(tmp_path / "empty.npz"), query)
    assert "vectors.npz" in told(capsys, "search", str(tmp_path / "vector.npz"), query)
    assert "did you mean 'cosine'" in told(capsys, "search", here, query, "--metric", "cosin")
    assert "'umap'" in told(capsys, "map", here, "-o", str(tmp_path / "m.html"), "--method", "umpa")
    assert ".svg" in told(capsys, "map", here, "-o", str(tmp_path / "m.pdf"))
    assert "there is no folder" in told(capsys, "map", here, "-o", str(tmp_path / "none" / "m.png"))
    assert "'test'" in told(capsys, "neighbours", here, "--queries", "tset")
    assert "--weights random" in told(capsys, "embed", SMALL[0], str(photos), "-o", str(tmp_path / "w.npz"))
    assert ".parquet" in told(capsys, "embed", *SMALL[:3], str(photos), "-o", str(tmp_path / "w.parqet"))
    assert "does not exist" in told(capsys, "embed", *SMALL[:3], str(tmp_path / "none"), "-o", str(tmp_path / "w.npz"))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / ".hidden").touch()
    for more in ([], ["--plain"]):
        said = told(capsys, "embed", *SMALL[:3], str(tmp_path / "nothing"), "-o", str(tmp_path / "w.npz"), *more)
        assert "is empty" in said
        assert "one folder for each class" not in said


def test_two_queries_say_nothing_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A difference of 100 points over two queries: an interval of no width would say that it is sure."""
    n, sides = 12, ["train"] * 10 + ["test"] * 2
    labels, names = ["ant", "bee"] * 6, [str(row) for row in range(n)]
    good = np.eye(2, dtype=np.float32)[np.arange(n) % 2] + 1e-3 * np.arange(n)[:, None].astype(np.float32)
    for name, matrix in (("good", good), ("bad", np.vstack([good[:10], good[10:][::-1]]))):
        write_vectors(tmp_path / f"{name}.npz", Vectors(names, matrix, sides, labels, [""] * n))
    command = ["neighbours", str(tmp_path / "good.npz"), "--against", str(tmp_path / "bad.npz"), "--no-probe"]
    page = tmp_path / "n.html"
    assert code_of([*command, "--page", str(page)]) == 0
    for printed in (capsys.readouterr().out, page.read_text("utf-8")):
        assert "+100.0 (no interval: 2 queries)" in printed
        assert "nan" not in printed
    assert code_of([*command, "--json"]) == 0
    for each in json.loads(capsys.readouterr().out)["measures"]:
        assert each["difference"]["low"] is None
        assert each["resolved"] is False


def test_weights_of_the_hub_that_a_file_asks_for_are_not_fetched(
    vectors: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = read_vectors(vectors)
    write_vectors(vectors, replace(held, meta={**held.meta, "weights": "hf-hub:nobody/none"}))
    said = told(capsys, "search", str(vectors), str(photos / "test" / "red" / "0.jpg"))
    assert "anybody may have made" in said
    assert "--model hf-hub:nobody/none" in said
