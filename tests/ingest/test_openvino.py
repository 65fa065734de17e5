"""The converted embedder: torch's vectors, without torch, and only where it is right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from phi3kit.ingest import conversion
from phi3kit.ingest.embed import LocalEmbedder
from phi3kit.ingest.openvino import OpenvinoEncoder
from phi3kit.models.packaged import minilm

ROOT = Path(__file__).resolve().parents[2]


def texts() -> list[str]:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    return [" ".join(words[at:at + 1 + at % 300]) for at in range(0, len(words), 40)] + [
        "", "?", "Ä", "東京 " * 400]


@pytest.mark.model
def test_vectors_are_those_of_torch_in_float32() -> None:
    from sentence_transformers import SentenceTransformer

    embedder = LocalEmbedder("minilm", minilm(), "cpu")
    assert embedder._fast is not None
    found = embedder.encode(texts())
    reference = SentenceTransformer(str(minilm()), device="cpu").encode(
        texts(), normalize_embeddings=True, show_progress_bar=False)
    cosines = (found * reference).sum(axis=1)
    assert cosines.min() > 0.999
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert embedder.dimension == reference.shape[1]


@pytest.mark.model
def test_torch_is_never_imported_and_nothing_reports_home() -> None:
    LocalEmbedder("minilm", minilm(), "cpu").encode(["converted by now"])
    code = ("import sys; from phi3kit.ingest.embed import open_embedder; "
            "open_embedder('minilm', device='cpu').encode(['a', 'b c']); "
            "print([m for m in ('torch', 'transformers', 'openvino_telemetry') "
            "if sys.modules.get(m)])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.model
@pytest.mark.timeout(120)
def test_threads_encode_at_once_and_one_that_fails_blocks_no_other() -> None:
    embedder = LocalEmbedder("minilm", minilm(), "cpu")
    parts = [texts()[at::4] for at in range(4)]
    alone = [embedder.encode(part) for part in parts]

    def fail(done: int) -> None:
        raise InterruptedError

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):  # each would keep what it works with, if it did not give it back
            failing = [pool.submit(embedder.encode, part, advance=fail) for part in parts]
            assert all(isinstance(one.exception(), InterruptedError) for one in failing)
        beside = list(pool.map(embedder.encode, parts))
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.model
def test_openvino_meets_numpy_before_there_are_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two threads may wait for each other for ever: 3 of 13 first ingests did."""
    met = []
    monkeypatch.setattr("phi3kit.ingest.openvino._first_array", lambda: met.append(True))
    embedder = LocalEmbedder("minilm", minilm(), "cpu")
    assert embedder.dimension and met


@pytest.mark.model
def test_what_is_made_for_this_cpu_is_kept_and_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it was cut off, as by a kill or by another process that reads too early."""
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))

    def encoded() -> tuple[np.ndarray, bool]:
        embedder = LocalEmbedder("minilm", minilm(), "cpu")
        assert embedder._fast is not None
        return (embedder.encode(texts()),
                bool(embedder._fast._compiled.get_property("LOADED_FROM_CACHE")))

    first, again = encoded(), encoded()
    assert (first[1], again[1]) == (False, True)
    blob, = tmp_path.glob("openvino/*/compiled/*")
    assert blob.stat().st_size < 2 * 2**20  # without the weights
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1000])
    cut, mended = encoded(), encoded()
    assert (cut[1], mended[1]) == (False, True)
    monkeypatch.setattr("os.access", lambda *_: False)  # a cache that cannot be written
    unkept = encoded()
    assert not unkept[1]
    for other in (again, cut, mended, unkept):
        assert np.array_equal(first[0], other[0])


@pytest.mark.model
def test_where_bfloat16_is_slower_the_model_runs_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found out when it is converted, and remembered; which is faster is the CPU's affair."""
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))
    asked = []

    def seconds(encoder: OpenvinoEncoder) -> float:
        asked.append(encoder)
        return 2.0 if len(asked) == 1 else 1.0  # the second one is in float32

    monkeypatch.setattr(conversion, "_seconds", seconds)
    monkeypatch.setattr(conversion, "has_bfloat16", lambda: True)  # a CPU without would ask nothing
    for _ in range(2):
        embedder = LocalEmbedder("minilm", minilm(), "cpu")
        assert embedder._fast is not None
        told = embedder._fast._compiled.get_property("INFERENCE_PRECISION_HINT")
        assert told.to_string() == "f32"
    assert len(asked) == 2


@pytest.mark.model
def test_the_dimension_is_the_encoders_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DistilBERT's configuration calls it `dim`, not `hidden_size`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path / "cache"))
    tokenizer = AutoTokenizer.from_pretrained(str(minilm()))
    plain, folder = str(tmp_path / "plain"), tmp_path / "distilbert"
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), dim=64, hidden_dim=128, n_layers=2,
                                     n_heads=4)).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    model = SentenceTransformer(modules=[
        Transformer(plain, max_seq_length=128), Pooling(64, "mean"), Normalize()], device="cpu")
    model.save(str(folder))
    embedder = LocalEmbedder("distilbert", folder, "cpu")
    assert embedder._fast is not None and embedder.dimension == 64
    found = embedder.encode(["The seal of the pump is made of Viton."])
    assert (found * model.encode(["The seal of the pump is made of Viton."])).sum() > 0.999


def changed(tmp_path: Path, name: str, **values: object) -> Path:
    copy = Path(shutil.copytree(minilm(), tmp_path / "model"))
    path = copy / name
    told = json.loads(path.read_text())
    told.update(values)
    path.write_text(json.dumps(told))
    return copy


@pytest.mark.parametrize(("name", "values"), [
    ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
    ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}),
    ("sentence_bert_config.json", {"do_lower_case": True}),
])
def test_models_that_do_something_else_are_left_to_torch(
    tmp_path: Path, name: str, values: dict[str, object],
) -> None:
    assert conversion.pooling_of(minilm()) == "mean"
    assert conversion.pooling_of(changed(tmp_path, name, **values)) is None


def test_a_further_module_is_left_to_torch(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(minilm(), tmp_path / "model"))
    modules = json.loads((copy / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense",
                    "type": "sentence_transformers.models.Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    assert conversion.pooling_of(copy) is None


@pytest.mark.model
def test_a_conversion_that_is_not_exact_enough_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))
    monkeypatch.setattr(conversion, "LEAST_COSINE", 1.1)
    embedder = LocalEmbedder("minilm", minilm(), "cpu")
    assert embedder._fast is None
    assert "not exact enough (a cosine to float32 of" in capsys.readouterr().err
    assert embedder.encode(["torch does it"]).shape == (1, 384)
    monkeypatch.setattr(conversion, "_torch_model", None)  # it is not converted a second time
    assert LocalEmbedder("minilm", minilm(), "cpu")._fast is None


@pytest.mark.model
def test_a_damaged_conversion_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))
    LocalEmbedder("minilm", minilm(), "cpu").encode(["converted"])
    next(tmp_path.glob("openvino/*/model.xml")).write_text("<nonsense")
    embedder = LocalEmbedder("minilm", minilm(), "cpu")
    assert embedder.encode(["torch does it"]).shape == (1, 384)
    assert "embedding with torch" in capsys.readouterr().err


def test_who_shares_the_cache_may_read_what_was_converted(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))
    monkeypatch.setattr(conversion, "_lowest_cosine", lambda *_: 1.0)
    path, cosine = conversion.checked_once("one", minilm(), lambda path: path.touch())
    assert cosine == 1.0 and path.parent.stat().st_mode & 0o777 == 0o755
