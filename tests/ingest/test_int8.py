"""int8 on request: another embedder, measured against float32, and never instead of another."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phi3kit import settings
from phi3kit.errors import ModelError, SettingsError
from phi3kit.ingest import fidelity, int8
from phi3kit.ingest.embed import LocalEmbedder, open_embedder
from phi3kit.ingest.int8 import Int8Embedder
from phi3kit.ingest.watch import Tell
from phi3kit.models.packaged import minilm
from phi3kit.records import IngestReport

ROOT = Path(__file__).resolve().parents[2]


def quantiser() -> bool:
    try:
        return bool(importlib.metadata.version("nncf"))
    except ImportError:
        return False


needs_nncf = pytest.mark.skipif(not quantiser(), reason="the extra int8 is not installed")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if NNCF were installed: what is refused before it is needed."""
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version",
                        lambda name: "3.4.0" if name == "nncf" else real(name))


def texts() -> list[str]:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    return [" ".join(words[at:at + 1 + at % 200]) for at in range(0, len(words), 20)]


@needs_nncf
@pytest.mark.model
def test_vectors_are_near_float32_and_not_equal_to_it() -> None:
    quantised = Int8Embedder("minilm", minilm(), "cpu")
    found = fidelity.compare(quantised.in_float32().encode(texts()), quantised.encode(texts()))
    assert found is not None
    assert 0.98 < found.cosine_mean < 0.9999  # bfloat16's is above it
    assert 0.9 < found.overlap < 1
    assert (found.texts, found.nearest) == (len(texts()), 10)


@needs_nncf
@pytest.mark.model
def test_the_yardstick_is_float32() -> None:
    from sentence_transformers import SentenceTransformer

    found = Int8Embedder("minilm", minilm(), "cpu").in_float32().encode(texts()[:20])
    reference = SentenceTransformer(str(minilm()), device="cpu").encode(
        texts()[:20], normalize_embeddings=True, show_progress_bar=False)
    assert (found * reference).sum(axis=1).min() > 0.99999


@needs_nncf
@pytest.mark.model
@pytest.mark.slow
def test_quantised_twice_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    for name in ("one", "other"):
        monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path / name))
        made.append(Int8Embedder("minilm", minilm(), "cpu").encode(texts()[:40]))
    assert (made[0] == made[1]).all()


def test_it_is_another_embedder(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = open_embedder("minilm")
    quantised = open_embedder("minilm", precision="int8")
    assert quantised.fingerprint != plain.fingerprint
    assert quantised.fingerprint == open_embedder("minilm", precision="int8").fingerprint
    monkeypatch.setattr(int8, "_texts", lambda: ["other calibration"])
    other = open_embedder("minilm", precision="int8")
    assert other.fingerprint not in (plain.fingerprint, quantised.fingerprint)


def test_calibration_has_all_lengths_and_every_part_of_the_documents() -> None:
    found = int8._texts()
    lengths = [len(text.split()) for text in found]
    assert len(found) == 128 and min(lengths) < 5 and max(lengths) > 150
    assert found == int8._texts() and all(found)


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ModelError, match=r"pip install 'phi3kit\[int8\]'"):
        open_embedder("minilm", precision="int8")


def test_refused_where_it_cannot_be_had(installed: None, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.device is cuda"):
        open_embedder("minilm", device="cuda", precision="int8")
    with pytest.raises(SettingsError, match="provider"):
        open_embedder("http://localhost:1/v1#m", precision="int8")
    copy = Path(shutil.copytree(minilm(), tmp_path / "model"))
    config = copy / "1_Pooling" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "pooling_mode_max_tokens": True,
                                  "pooling_mode_mean_tokens": False}))
    with pytest.raises(SettingsError, match="mean or CLS pooling"):
        open_embedder(str(copy), precision="int8")


@pytest.mark.model
def test_what_fails_or_changes_too_much_is_refused_and_not_replaced(
    installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))

    def quantise(plain: Path, path: Path, tokenizer: object) -> None:
        for suffix in (".xml", ".bin"):
            shutil.copy(plain.with_suffix(suffix), path.with_suffix(suffix))

    def broken(*_: object) -> None:
        raise RuntimeError("no such layer\nsecond line")

    monkeypatch.setattr(int8, "_quantise", broken)
    with pytest.raises(ModelError, match=r"in int8 \(no such layer\)"):
        open_embedder("minilm", precision="int8").encode(["a"])
    monkeypatch.setattr(int8, "_quantise", quantise)
    monkeypatch.setattr(int8, "LEAST_COSINE", 1.1)
    with pytest.raises(ModelError, match="too much"):
        open_embedder("minilm", precision="int8").encode(["a"])


def test_overlap_is_the_share_of_the_nearest() -> None:
    random = np.random.default_rng(0)
    exact = random.normal(size=(60, 8)).astype(np.float32)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    same = fidelity.compare(exact, exact)
    assert same is not None and same.overlap == 1 and same.cosine_least == pytest.approx(1)
    other = fidelity.compare(exact, exact[::-1])
    assert other is not None and other.overlap < 0.6
    assert fidelity.compare(exact[:1], exact[:1]) is None
    few = fidelity.compare(exact[:4], exact[:4])
    assert few is not None and (few.nearest, few.overlap) == (3, 1)


@needs_nncf
@pytest.mark.model
def test_as_a_user_does(run_cli, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name, text in {"pumps": "The K7 runs at 6 bar.", "cranes": "It lifts 12 tonnes.",
                       "gates": "The north gate is checked daily."}.items():
        (tmp_path / "docs" / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    done = run_cli("ingest", "docs", "--precision", "int8", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["fidelity"]
    assert (told["texts"], told["nearest"]) == (3, 2)
    assert 0.9 < told["cosine_least"] < 0.9999 and "of the 2 nearest by float32" in done.stderr
    refused = run_cli("ingest", "docs")
    assert refused.returncode == 1
    assert "ingest.precision int8, not auto" in refused.stderr
    again = run_cli("ingest", "docs", "--precision", "int8", "--json")
    assert json.loads(again.stdout)["fidelity"] is None  # nothing was embedded
    found = run_cli("search", "How much can the crane lift?", "--json")
    assert found.returncode == 0, found.stderr
    assert "cranes.md" in found.stdout


def test_other_precisions_measure_nothing(project: Path) -> None:
    report = IngestReport("c", "s", (), (), (), (), (), 1, 1, 0, 1, 0.0)
    assert fidelity.measured(settings.load().values, report) is report


def test_a_watch_measures_once(monkeypatch):
    report = IngestReport("c", "s", (), (), (), (), (), 1, 1, 0, 1, 0.0)
    found = fidelity.Fidelity(1, 1.0, 1.0, 1, 1.0)
    measured = [report, replace(report, fidelity=found)]  # at first nothing was embedded
    monkeypatch.setattr(fidelity, "measured", lambda settings, report: measured.pop(0))
    told = []
    tell = Tell(settings.load({"ingest.precision": "int8"}).values, told.append)
    for _ in range(3):
        tell(report)
    assert [report.fidelity for report in told] == [None, found, None] and not measured
    assert type(open_embedder("minilm")) is LocalEmbedder
