"""Batched greedy answers: the same as single ones, complete, in order, whatever fails."""

import threading

import pytest

from phi3kit.errors import ModelError
from phi3kit.models import adapters
from phi3kit.models.generate import LocalGenerator, open_generator, plan_batches
from phi3kit.settings import ModelSettings

WORDS = ("seal", "gate", "winch", "grease", "crane", "motor", "pump", "fault", "label",
         "passage", "question", "lock")


def _prompts(n):
    """Prompts of different lengths, the shortest and the longest not next to each other."""
    return [[{"role": "system", "content": "Answer briefly."},
             {"role": "user", "content": " ".join(WORDS[(i * k) % 12] for k in range(
                 1 + (i * 7) % 23))}] for i in range(n)]


@pytest.fixture
def generator(tiny):
    return LocalGenerator(tiny)


def test_batched_answers_are_the_single_ones_in_the_order_of_the_prompts(generator):
    prompts = _prompts(12)
    together = generator.generate(prompts, max_new_tokens=12, batch_tokens=300)
    alone = [generator.generate([p], max_new_tokens=12, batch_tokens=300)[0] for p in prompts]
    assert [(g.text, g.tokens_in, g.tokens_out) for g in together] == [
        (g.text, g.tokens_in, g.tokens_out) for g in alone]
    assert [g.tokens_in for g in together] == [generator.count_tokens(p) for p in prompts]
    assert len({g.text for g in together}) > 3  # the prompts matter


def test_each_batch_is_reported_once_with_its_indices(generator):
    seen = {}
    batches = []

    def on_batch(indices, results):
        batches.append(len(indices))
        assert not seen.keys() & set(indices)
        seen.update(zip(indices, results, strict=True))

    results = generator.generate(_prompts(9), max_new_tokens=4, batch_tokens=120,
                                 on_batch=on_batch)
    assert [seen[i] for i in range(9)] == results
    assert len(batches) > 1
    assert max(batches) > 1


def test_no_prompts_no_answers(generator):
    assert generator.generate([], max_new_tokens=4, batch_tokens=100) == []


def test_time_is_shared_out_by_tokens(generator):
    results = generator.generate(_prompts(3), max_new_tokens=6, batch_tokens=10_000)
    assert all(g.seconds > 0 for g in results)
    assert [g.tokens_out for g in results] == [6, 6, 6]
    assert len({round(g.seconds / g.tokens_out, 9) for g in results}) == 1


def test_every_end_of_turn_id_stops_and_is_not_in_the_text(generator):
    prompt = _prompts(1)
    free = generator.generate(prompt, max_new_tokens=12, batch_tokens=100)[0]
    assert free.tokens_out == 12
    generated = _ids(generator, prompt[0], 12)
    generator._stops = sorted({*generator._stops, generated[3]})
    stopped = generator.generate(prompt, max_new_tokens=12, batch_tokens=100)[0]
    assert stopped.tokens_out == generated.index(generated[3]) + 1


def _ids(generator, messages, n):
    from phi3kit.models.decoding import greedy

    return greedy(generator.loaded.model, [generator._tokenize(messages)],
                  stops=generator._stops, max_new_tokens=n)[0]


def test_a_models_own_sampling_settings_do_not_leak_in(tiny):
    prompts = _prompts(4)
    plain = LocalGenerator(tiny).generate(prompts, max_new_tokens=16, batch_tokens=1000)
    config = tiny.model.generation_config
    config.do_sample, config.temperature, config.top_k = True, 5.0, 3
    config.repetition_penalty, config.no_repeat_ngram_size = 7.0, 1
    config.min_length, config.suppress_tokens = 30, list(range(50, 300))
    again = LocalGenerator(tiny).generate(prompts, max_new_tokens=16, batch_tokens=1000)
    assert [g.text for g in again] == [g.text for g in plain]


def test_a_prompt_too_long_for_the_context_says_the_numbers(generator):
    long = [{"role": "user", "content": "seal " * 600}]
    short = _prompts(1)[0]
    seen = []
    results = generator.generate([short, long], max_new_tokens=8, batch_tokens=1000,
                                 on_batch=lambda i, r: seen.extend(i))
    assert results[0].error == ""
    assert results[1].text == ""
    tokens = generator.count_tokens(long)
    for number in (str(tokens), "512", "504", "8 "):
        assert number in results[1].error
    assert sorted(seen) == [0, 1]
    with pytest.raises(ModelError, match=str(tokens)):
        next(generator.stream(long, max_new_tokens=8))


def test_a_batch_that_fails_is_tried_in_halves(generator, monkeypatch):
    from phi3kit.models import decoding

    real, sizes = decoding.greedy, []

    def memory_for_one(model, batch, **more):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise RuntimeError("CUDA out of memory")
        if len(batch[0]) == longest:
            raise RuntimeError("out of memory\nsecond line")
        return real(model, batch, **more)

    prompts = _prompts(4)
    longest = max(generator.count_tokens(p) for p in prompts)
    expected = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)
    monkeypatch.setattr(decoding, "greedy", memory_for_one)
    results = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    for got, want in zip(results, expected, strict=True):
        if want.tokens_in == longest:
            assert (got.text, got.error) == ("", "out of memory")
        else:
            assert (got.text, got.error) == (want.text, "")


def test_a_defect_of_ours_is_not_an_answer(generator, monkeypatch):
    from phi3kit.models import decoding

    monkeypatch.setattr(decoding, "greedy", lambda *_, **__: {}["defect"])
    with pytest.raises(KeyError):
        generator.generate(_prompts(1), max_new_tokens=6, batch_tokens=100)


def test_plan_batches_keeps_its_bounds():
    lengths = [5, 100, 7, 7, 300, 6, 50, 50, 1]
    batches = plan_batches([range(i, i + length) for i, length in enumerate(lengths)], 110,
                           max_batch=3)
    assert sorted(i for batch in batches for i in batch) == list(range(9))
    assert batches[0] == [4]  # longer than the budget: alone, and first
    for batch in batches:
        assert len(batch) <= 3
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 110
    assert plan_batches([], 100) == []


def test_prompts_that_begin_alike_share_a_batch():
    prompts = [[1, 2, 3], [7, 8, 9], [1, 2, 4], [7, 8, 8]]
    assert plan_batches(prompts, 6) == [[0, 2], [3, 1]]


def test_prompts_that_cannot_share_are_batches_by_length(generator, monkeypatch):
    from phi3kit.models import decoding, generate

    prompts = _prompts(8)
    expected = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)
    lengths = sorted(g.tokens_in for g in expected)
    monkeypatch.setattr(generate, "longest", lambda _: lengths[3] + 6)
    monkeypatch.setattr(decoding, "longest", lambda _: lengths[3] + 6)
    real, batches = decoding.greedy, []
    monkeypatch.setattr(decoding, "greedy", lambda model, batch, **more: (
        batches.append([len(ids) for ids in batch]), real(model, batch, **more))[1])
    found = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)
    assert [g.text for g in found] == [g.text for g in expected]
    sharing, others = batches
    assert sorted(sharing) == [n for n in lengths if n <= lengths[3]]
    assert others == sorted((n for n in lengths if n > lengths[3]), reverse=True)


def test_without_memory_for_what_they_share_each_batch_reads_it(generator, monkeypatch):
    from phi3kit.models import decoding

    prompts = _prompts(4)
    expected = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)

    def none(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(decoding, "beginning", none)
    found = generator.generate(prompts, max_new_tokens=6, batch_tokens=10_000)
    assert [g.text for g in found] == [g.text for g in expected]


def test_rows_that_have_ended_leave_the_batch(generator):
    prompts = _prompts(8)
    ids = [_ids(generator, prompt, 12) for prompt in prompts]
    # A token that most answers have, but at other places, ends them now.
    stop = max({t for row in ids for t in row}, key=lambda t: sum(t in row[:9] for row in ids))
    generator._stops = [stop]
    ends = [row.index(stop) + 1 if stop in row else 12 for row in ids]
    assert len(set(ends)) > 2
    rows = []
    seen = generator.loaded.model.model.embed_tokens.register_forward_hook(
        lambda _, args, __: rows.append(args[0].shape))
    together = generator.generate(prompts, max_new_tokens=12, batch_tokens=10_000)
    seen.remove()
    assert [g.tokens_out for g in together] == ends
    steps = [count for count, length in rows if length == 1]
    assert steps[0] == 8
    assert steps == sorted(steps, reverse=True)
    # At most half of the rows of any step are of answers that had ended before.
    assert all(count <= 2 * sum(end > at for end in ends) or count == 1
               for at, count in enumerate(steps))
    alone = [generator.generate([p], max_new_tokens=12, batch_tokens=100)[0] for p in prompts]
    assert [g.text for g in together] == [g.text for g in alone]


def test_stream_gives_the_batched_answer_piece_by_piece(generator):
    prompt = _prompts(1)[0]
    whole = generator.generate([prompt], max_new_tokens=20, batch_tokens=100)[0]
    pieces = list(generator.stream(prompt, max_new_tokens=20))
    assert "".join(pieces).strip() == whole.text


@pytest.mark.model
def test_a_closed_stream_stops_the_model():
    generator = open_generator(ModelSettings(device="cpu"))
    model, steps = generator.loaded.model, []
    handle = model.register_forward_hook(lambda *_: steps.append(1))
    pieces = generator.stream([{"role": "user", "content": "Count from one to one hundred."}],
                              max_new_tokens=4000)
    next(pieces)
    pieces.close()
    handle.remove()
    assert len(steps) < 100
    assert not [t for t in threading.enumerate() if t.name == "phi3kit-stream"]


def test_a_model_that_fails_while_streaming_does_not_hang(generator, monkeypatch):
    def fail(**_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(generator.loaded.model, "generate", fail)
    with pytest.raises(ModelError, match="out of memory"):
        list(generator.stream(_prompts(1)[0], max_new_tokens=4))


def test_quantization_auto_is_the_adapters_own(tiny_settings, tmp_path):
    from phi3kit.models.loading import load_base

    trained = load_base(tiny_settings, quantization="nf4", training=True)
    adapters.add_lora(trained, rank=2, alpha=4, dropout=0.0, seed=0)
    adapters.save(trained, tmp_path / "adapter", run="r", instruction="i")
    opened = open_generator(tiny_settings, adapter=tmp_path)
    assert opened.loaded.quantization == "nf4"
    assert opened.adapter
    plain = open_generator(tiny_settings)
    assert plain.loaded.quantization == "none"
    assert not plain.adapter


def test_without_adapter_the_base_answers(tiny_settings, tmp_path):
    import torch

    from phi3kit.models.loading import load_base

    trained = load_base(tiny_settings, quantization="none")
    model = adapters.add_lora(trained, rank=4, alpha=8, dropout=0.0, seed=0)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    adapters.save(trained, tmp_path / "adapter", run="r", instruction="i")
    prompts = _prompts(4)
    base = open_generator(tiny_settings).generate(prompts, max_new_tokens=8, batch_tokens=1000)
    opened = open_generator(tiny_settings, adapter=tmp_path)

    def texts():
        return [g.text for g in opened.generate(prompts, max_new_tokens=8, batch_tokens=1000)]

    adapted = texts()
    assert adapted != [g.text for g in base]
    with opened.without_adapter():
        assert texts() == [g.text for g in base]
    assert texts() == adapted
