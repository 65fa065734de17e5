"""Memory that has ended is one line, whoever says so; the errors are real ones."""

from __future__ import annotations

import errno
import os
import re
import sys

import pytest

from phi3kit.cli import app
from phi3kit.errors import DataError, OutOfMemoryError
from phi3kit.models.generate import LocalGenerator
from phi3kit.models.loading import load_base
from phi3kit.models.out_of_memory import out_of_memory

MORE_THAN_ANY = 2**50  # bytes: no process can address as many
CUDA = ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.64 GiB "
        "of which 1.06 GiB is free. Process 1 has 22.57 GiB memory in use.")


def torch_takes_all(*_, **__):
    import torch

    torch.empty(MORE_THAN_ANY, dtype=torch.uint8)


def numpy_takes_all():
    import numpy as np

    np.empty(MORE_THAN_ANY, dtype=np.uint8)


def a_card_is_full():
    import torch

    raise torch.OutOfMemoryError(CUDA)


def python_takes_all():
    bytearray(MORE_THAN_ANY)


def raises(error):
    def work():
        raise error

    return work


def line_of(work, doing="loading x"):
    with (pytest.raises(OutOfMemoryError) as caught,
          out_of_memory(doing, lambda: "Take y", device="cpu")):
        work()
    return str(caught.value)


@pytest.mark.parametrize("work", [
    torch_takes_all, numpy_takes_all, python_takes_all, a_card_is_full,
    raises(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
    raises(RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:246:\n[CPU] Gather "
                        "node Check 'ptr' failed:\nFailed to allocate 3145728 bytes of memory\n")),
    raises(RuntimeError("[CPU] MVN node with name 'LayerNorm/MVN' can't alloc")),
    raises(RuntimeError("std::bad_alloc")),
    raises(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "model.safetensors")),
])
def test_every_library_is_understood(work):
    assert re.fullmatch(r"out of memory loading x \(.* are free\)\. Take y", line_of(work))


@pytest.mark.parametrize("error", [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no"),
    FileNotFoundError(errno.ENOENT, "no such file"), DataError("the model is out of memory")])
def test_another_error_stays_as_it_is(error):
    with pytest.raises(type(error)) as caught, out_of_memory("x", lambda: "y", device="cpu"):
        raise error
    assert caught.value is error


def test_the_line_tells_what_was_asked_for_and_what_is_left():
    assert "(2.5 GiB more were asked for; " in line_of(a_card_is_full)
    assert f"({MORE_THAN_ANY / 2**30:.1f} GiB more were" in line_of(torch_takes_all)
    assert re.search(r"x \([\d.]+ [MG]iB are free\)", line_of(python_takes_all))


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_what_is_left_is_what_the_process_may_still_take(monkeypatch):
    import resource

    import psutil

    from phi3kit.models.out_of_memory import _left_on_host

    taken = psutil.Process().memory_info().vms
    assert _left_on_host() > 2**20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (taken + 2**20, taken + 2**20))
    assert 0 <= _left_on_host() <= 2**20


def test_what_stands_nearest_to_it_is_told():
    with (pytest.raises(OutOfMemoryError, match="inside"),
          out_of_memory("outside", lambda: "", device="cpu"),
          out_of_memory("inside", lambda: "", device="cpu")):
        raise MemoryError


def test_a_base_that_does_not_fit(tiny_settings, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", torch_takes_all)
    with pytest.raises(OutOfMemoryError, match=r"loading .* in float32") as caught:
        load_base(tiny_settings, quantization="none")
    assert "bfloat16" not in str(caught.value)  # float32 was asked for


@pytest.mark.parametrize(("place", "how", "training", "way"), [
    ("cuda", "none", False, "model.quantization: nf4"), ("cuda", "none", True, "--qlora"),
    ("cuda", "nf4", True, "Take a smaller model"), ("cpu", "none", False, "bfloat16")])
def test_the_way_out_of_a_base_fits_the_device(place, how, training, way):
    from phi3kit.models.loading import _smaller
    from phi3kit.settings import ModelSettings

    told = _smaller(ModelSettings(), how, "float32", place, training=training)
    assert way in told and "`phi3kit plan`" in told


def test_a_prompt_that_does_not_fit(tiny, monkeypatch):
    generator = LocalGenerator(tiny)
    monkeypatch.setattr(tiny.model.lm_head, "forward", torch_takes_all)
    with pytest.raises(OutOfMemoryError, match=r"answering a prompt of \d+ tokens .*--passages"):
        list(generator.stream([{"role": "user", "content": "seal"}], max_new_tokens=4))


@pytest.mark.parametrize(("work", "line"), [
    (python_takes_all, "out of memory. Make"), (torch_takes_all, "allocate memory"),
    (raises(RuntimeError("no matter of memory")), None)])
def test_what_no_door_has_told_the_command_line_tells(monkeypatch, capsys, work, line):
    monkeypatch.setattr(app, "app", work)
    if line is None:
        with pytest.raises(RuntimeError):
            app.main()
        return
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("phi3kit: out of memory") and line in said
