"""Answers measured in documents: real ones, and folders made so that the answer is known."""

import json
import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from phi3kit.advise.measure.changes import facts_change, judge, turnover
from phi3kit.advise.measure.corpus import PASSAGE_WORDS, Corpus, cut, read_corpus
from phi3kit.advise.measure.duplicates import confusable, searchable
from phi3kit.advise.measure.findings import Findings
from phi3kit.advise.measure.history import DAY, YEAR, Event, History, from_file_times, from_git
from phi3kit.advise.measure.measure import measure_corpus
from phi3kit.advise.measure.questions import literal_homes, searchable_by_questions
from phi3kit.advise.measure.tokens import corpus_tokens
from phi3kit.advise.measure.vocabulary import vocabulary
from phi3kit.advise.measure.words import english_share, fold, forms
from phi3kit.errors import DataError
from phi3kit.shipped import shipped

DOCUMENTS = shipped("data") / "documents"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def value(findings: Findings):
    """The one measured value, or None."""
    return findings.measured[0].value if findings.measured else None


def corpus_of(folder: Path, texts: list[str]) -> Corpus:
    for number, text in enumerate(texts):
        (folder / f"{number:04}.txt").write_text(text, encoding="utf-8")
    return read_corpus([str(folder)])


@pytest.fixture(scope="module")
def sample() -> Corpus:
    return read_corpus([str(DOCUMENTS)])


# --- reading ------------------------------------------------------------------------------


def test_reads_every_format_and_names_what_it_cannot(tmp_path, sample):
    assert {path.suffix for path in (d.path for d in sample.documents)} >= {
        ".md", ".pdf", ".docx", ".html"}
    assert not sample.failures
    (tmp_path / "good.txt").write_text("A sluice is a gate.")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (tmp_path / "empty.md").write_text("")
    corpus = read_corpus([str(tmp_path), str(tmp_path / "absent")])
    assert [d.path.name for d in corpus.documents] == ["good.txt"]
    assert {Path(f.where).name for f in corpus.failures} == {"bad.pdf", "empty.md", "absent"}


@pytest.mark.parametrize("make", ["nothing", "unreadable", "absent"])
def test_nothing_readable_is_one_line_with_a_mend(tmp_path, make):
    if make == "unreadable":
        (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    path = tmp_path / "absent" if make == "absent" else tmp_path
    with pytest.raises(DataError) as caught:
        read_corpus([str(path)])
    assert caught.value.mend and caught.value.where
    assert "\n" not in str(caught.value)


def test_passages_hold_every_word_once_and_none_is_too_long(sample):
    for index, document in enumerate(sample.documents):
        passages = [text for at, text in sample.passages if at == index]
        assert " ".join(passages).split() == document.text.split()
        assert all(len(text.split()) <= PASSAGE_WORDS for text in passages)


def test_cuts_between_paragraphs_if_it_can():
    text = "\n\n".join(f"{n} " + "word " * 59 for n in range(5))
    assert [len(p.split()) for p in cut(text)] == [180, 120]
    assert [len(p.split()) for p in cut("word " * 450)] == [200, 200, 50]


# --- tokens -------------------------------------------------------------------------------


@pytest.mark.model
def test_tokens_of_the_samples_are_about_those_of_the_chat_model(sample):
    from tokenizers import Tokenizer

    from phi3kit.models.packaged import smollm2

    tokenizer = Tokenizer.from_file(str(smollm2() / "tokenizer.json"))
    other = sum(len(tokenizer.encode(d.text).ids) for d in sample.documents)
    assert value(corpus_tokens(sample)) == pytest.approx(other, rel=0.2)


def test_long_passages_are_not_truncated(tmp_path):
    texts = ["gate " * 5000]
    assert value(corpus_tokens(corpus_of(tmp_path, texts))) == 5000


# --- change -------------------------------------------------------------------------------


def git(folder: Path, *arguments: str, when: datetime = NOW) -> None:
    stamp = f"{int(when.timestamp())} +0000"
    subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c",
         "commit.gpgsign=false", *arguments],
        cwd=folder, check=True, capture_output=True,
        env={**os.environ, "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp})


def repository(folder: Path, made: int = 30, when: datetime = NOW - timedelta(days=800)) -> Path:
    """A repository with a folder `docs` of `made` documents, all in one commit."""
    docs = folder / "docs"
    docs.mkdir()
    for number in range(made):
        (docs / f"{number:04}.md").write_text(f"# Gate {number}\n\nIt opens inward.\n")
    git(folder, "init", "-q")
    commit(folder, when)
    return docs


def commit(folder: Path, when: datetime) -> None:
    git(folder, "add", "-A", when=when)
    git(folder, "commit", "-q", "--allow-empty", "-m", "change", when=when)


def measured(docs: Path) -> Findings:
    return facts_change(read_corpus([str(docs)]))


@pytest.mark.parametrize(("every", "days", "answer"), [
    (1, 30, "daily"), (6, 120, "weekly"), (28, 400, "monthly"), (300, 1000, "yearly")])
@pytest.mark.parametrize("how", ["edit", "add"])
def test_commits_tell_how_often_documents_change(tmp_path, every, days, answer, how):
    docs = repository(tmp_path, 10, NOW - timedelta(days=days))
    for day in range(days - every, -1, -every):
        name = "0003.md" if how == "edit" else f"news-{day}.md"
        (docs / name).write_text(f"# Gate\n\nAs of day {day} it opens outward.\n")
        commit(tmp_path, NOW - timedelta(days=day))
    findings = measured(docs)
    assert value(findings) == answer, findings
    assert "commits" in findings.measured[0].how


def test_documents_that_nobody_touches_are_static_while_the_repository_moves(tmp_path):
    docs = repository(tmp_path)
    (tmp_path / "code.py").write_text("pass\n")
    commit(tmp_path, NOW)
    assert value(measured(docs)) == "static"


def test_reformatting_everything_once_is_no_monthly_change(tmp_path):
    docs = repository(tmp_path)
    for path in docs.iterdir():
        path.write_text(path.read_text().replace("#", "##"))
    commit(tmp_path, NOW - timedelta(days=100))
    commit(tmp_path, NOW)
    assert value(measured(docs)) != "monthly"


def test_one_import_tells_nothing(tmp_path):
    findings = measured(repository(tmp_path))
    assert not findings.measured
    assert "too short" in findings.unmeasured[0].why


def test_a_shallow_clone_says_how_to_learn_more(tmp_path):
    docs = repository(tmp_path)
    (docs / "0001.md").write_text("# Other\n\nText.\n")
    commit(tmp_path, NOW)
    git(tmp_path, "clone", "-q", "--depth=1", tmp_path.as_uri(), "shallow")
    findings = measured(tmp_path / "shallow" / "docs")
    assert not findings.measured
    assert "--unshallow" in findings.unmeasured[0].why


def test_a_rename_is_no_change_and_keeps_the_history(tmp_path):
    docs = repository(tmp_path)
    (docs / "0001.md").write_text("# Other\n\nText.\n")
    commit(tmp_path, NOW - timedelta(days=400))
    for path in list(docs.iterdir()):
        path.rename(docs / f"gate-{path.name}")
    commit(tmp_path, NOW - timedelta(days=300))
    history = from_git([d.path for d in read_corpus([str(docs)]).documents])
    assert history is not None
    assert [(Path(e.document).name, e.made) for e in history.events] == [("gate-0001.md", False)]


def test_names_beyond_ascii_have_their_history(tmp_path):
    docs = repository(tmp_path, 1)
    (docs / "Schütz öffnen.md").write_text("# Sluice\n\nText.\n")
    commit(tmp_path, NOW)
    history = from_git([d.path for d in read_corpus([str(docs)]).documents])
    assert history is not None
    assert [Path(e.document).name for e in history.events] == ["Schütz öffnen.md"]


def test_a_hook_of_git_does_not_point_us_elsewhere(tmp_path, monkeypatch):
    docs = repository(tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert "one commit" in measured(docs).unmeasured[0].why


def test_without_git_there_are_file_times(tmp_path, monkeypatch):
    docs = repository(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert "within an hour" in measured(docs).unmeasured[0].why


def test_documents_that_are_not_committed_have_file_times(tmp_path):
    docs = repository(tmp_path, 3)
    for number in range(20):
        (docs / f"new-{number}.md").write_text("# New\n\nText.\n")
    assert "within an hour" in measured(docs).unmeasured[0].why


def test_git_that_cannot_answer_is_quoted(tmp_path):
    docs = repository(tmp_path)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/nowhere\n")
    assert "git cannot tell the history" in measured(docs).unmeasured[0].why


def with_times(folder: Path, days_ago: list[float]) -> Corpus:
    corpus = corpus_of(folder, [f"Bulletin {n}." for n in range(len(days_ago))])
    for document, ago in zip(corpus.documents, days_ago, strict=True):
        stamp = NOW.timestamp() - ago * DAY
        os.utime(document.path, (stamp, stamp))
    return corpus


@pytest.mark.parametrize(("days_ago", "answer"), [
    ([n + 0.5 for n in range(60)], "daily"),
    ([7 * n + 3 for n in range(50)], "weekly"),
    ([30 * n + 9 for n in range(24)], "monthly"),
    ([300 * n + 100 for n in range(4)], "yearly"),
    ([1500 + 40 * n for n in range(20)], "static"),
    ([n / 2000 for n in range(40)], None),
    ([2000] * 30 + [500, 100, 3, 1], None)])
def test_file_times_stand_in(tmp_path, days_ago, answer):
    findings = facts_change(with_times(tmp_path, days_ago), now=NOW.timestamp())
    assert value(findings) == answer, findings
    if answer:
        assert "modification times" in findings.measured[0].how


def test_turnover_counts_documents_once_a_period_and_those_there_were():
    end = 100 * DAY
    history = History(4, 90 * DAY, end, (
        Event("a", end - 1, made=False), Event("a", end - 2, made=False),
        Event("b", end - 1.5 * DAY, made=True), Event("c", end - 1.2 * DAY, made=False)), "x")
    assert turnover(history, DAY)[:3] == [1 / 4, 2 / 4, 0.0]
    assert len(turnover(history, DAY)) == 10


def test_more_change_is_never_measured_as_less():
    order = ["static", "yearly", "monthly", "weekly", "daily"]
    rank, draw = -1, random.Random(7)
    for each in (0, 4, 60, 300, 3000):
        events = tuple(Event(str(draw.randrange(50)), draw.random() * 3 * YEAR, made=False)
                       for _ in range(each))
        now = order.index(value(judge(History(50, 0.0, 3 * YEAR, events, "x"))))
        assert now >= rank
        rank = now
    assert rank == order.index("daily")


def test_the_future_is_now(tmp_path):
    corpus = with_times(tmp_path, [-40, 20, 900])
    history = from_file_times([d.path for d in corpus.documents], NOW.timestamp())
    assert history.end == NOW.timestamp() == max(e.time for e in history.events)


# --- searching ----------------------------------------------------------------------------

_SHEET = """Sheet {n}: seal type {letter}

The seal of type {letter} is cut from oiled felt and sits in the groove under the lid. Before it
is fitted the groove is scraped clean with a horn spatula and dried with a cloth. The seal is
pressed in by hand, beginning at the hinge, and must not be stretched. It is {size} millimetres
wide and {height} millimetres high. It is renewed every {months} months by the works office, and
the old seal goes back to the stores with its label. A seal that shows cracks is renewed at once
and the crossing is told so on the same day by the foreman on duty.
"""


def sheets(count: int) -> list[str]:
    return [_SHEET.format(n=n, letter=chr(65 + n % 26) + str(n), size=10 + n, height=3 + n % 7,
                          months=1 + n % 11) for n in range(count)]


def test_sheets_of_one_template_are_hard_to_search(tmp_path):
    findings = searchable(corpus_of(tmp_path, sheets(60)))
    assert value(findings) == "hard"
    assert "60 of 60 passages (100%)" in findings.measured[0].how


def test_telling_documents_are_not_called_easy_without_questions(sample):
    findings = searchable(sample)
    assert not findings.measured
    assert findings.unmeasured[0].where == "documents_searchable"


def test_copies_confuse_nobody_even_when_cut_elsewhere(sample):
    passages = [(0, sample.documents[2].text)]
    words = passages[0][1].split()
    assert len(words) > 120
    assert confusable([*passages, (1, " ".join(words))]) == [False, False]
    assert confusable([(0, " ".join(words[:110])), (1, " ".join(words[6:116]))]) == [False, False]


def test_a_document_does_not_confuse_with_itself():
    one, other = sheets(2)
    assert confusable([(0, one), (0, other)]) == [False, False]
    assert confusable([(0, one), (1, other)]) == [True, True]


def test_texts_shorter_than_a_shingle_are_nobodys_duplicates():
    assert confusable([(0, "Gate one"), (1, "Lid two"), (2, "Gate one")]) == [False] * 3


def asked(corpus: Corpus, pairs: list[tuple[str, str]]) -> Findings:
    return searchable_by_questions(corpus, [question for question, _ in pairs],
                                   literal_homes(corpus, [answer for _, answer in pairs]))


def test_questions_that_name_their_sheet_are_easy_and_others_hard(tmp_path):
    corpus = corpus_of(tmp_path, sheets(60))
    named = [(f"How wide is the seal of type {chr(65 + n % 26)}{n}?", f"is {10 + n} millimetres")
             for n in range(60)]
    vague = [("How wide is the seal?", answer) for _, answer in named]
    assert value(asked(corpus, named)) == "easy"
    assert value(asked(corpus, named[:48] + vague[48:])) == "mixed"
    assert value(asked(corpus, vague)) == "hard"
    assert "of 60 questions" in asked(corpus, vague).measured[0].how


def test_the_samples_are_easy_to_search_by_their_questions(sample):
    rows = [json.loads(line) for line in (DOCUMENTS.parent / "questions.jsonl").open()]
    pairs = [(row["question"], row["answers"][0]) for row in rows if row["kind"] == "fact"]
    assert value(asked(sample, pairs)) == "easy"


def test_answers_that_stand_everywhere_tell_nothing(tmp_path):
    corpus = corpus_of(tmp_path, sheets(60))
    findings = asked(corpus, [("Is it cut from felt?", "oiled felt")] * 60)
    assert not findings.measured
    assert "0 questions" in findings.unmeasured[0].why


def test_literal_homes_are_whole_words_in_a_row(tmp_path):
    corpus = corpus_of(tmp_path, ["The seal is 14 millimetres wide.", "Sealing takes a minute.",
                                  "It is wide, the\nSEAL."])
    assert literal_homes(corpus, ["the seal", "wide the", "", "14", "1", "seal wide",
                                  "word " * 30]) == [[0, 2], [2], [], [0], [], [], []]


def test_a_datasets_questions_go_before_near_duplicates(tmp_path):
    corpus = corpus_of(tmp_path, sheets(60))
    named = [(f"How wide is the seal of type {chr(65 + n % 26)}{n}?", f"{10 + n} millimetres")
             for n in range(60)]
    for pairs, answer in ((named, "easy"), (named[:5], "hard"), ([], "hard")):
        by_field = {m.field: m for m in measure_corpus(corpus, pairs).measured}
        assert by_field["documents_searchable"].value == answer
        assert ("questions" in by_field["documents_searchable"].how) == (answer == "easy")


# --- vocabulary ---------------------------------------------------------------------------

_PLAIN = """The people of the town have always been kind to the children who come here for the
summer. They give them bread and milk in the morning, and in the evening there is a story for
everybody who wants to hear one. My brother was one of those children many years ago, and he has
never forgotten the old house by the river, the garden with its apple trees, or the woman who
used to call him in from the street when it was time to eat. He says that it was the best time
of his life, and I think that he is right. When we go back now, most of the houses are new and
there are more cars, but the river is as it was, and so is the light on the water. """
_LIVER = """Cholestasis with pruritus in a patient with primary biliary cholangitis is treated with
ursodeoxycholic acid; in those with an insufficient response, obeticholic acid or a fibrate is
added. Transient elastography is used for staging of fibrosis, and oesophageal varices are
sought by endoscopy when thrombocytopenia or splenomegaly suggests portal hypertension. In
decompensated cirrhosis with refractory ascites a transjugular intrahepatic shunt is an option,
but encephalopathy and hyperbilirubinemia are contraindications. Hepatocellular carcinoma is
sought by ultrasonography with or without alphafetoprotein. """
_GERMAN = """Die Schleuse wird jeden Morgen von dem Wärter geöffnet, der auch die Boote zählt und
die Gebühren einnimmt. Wenn das Wasser zu hoch steht, bleibt das Tor geschlossen, und die
Schiffer müssen warten, bis der Pegel wieder gefallen ist. Das steht in der Ordnung. """


def test_plain_prose_is_low_and_hepatology_high(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "liver").mkdir()
    assert value(vocabulary(corpus_of(tmp_path / "plain", [_PLAIN] * 5))) == "low"
    findings = vocabulary(corpus_of(tmp_path / "liver", [_LIVER] * 9))
    assert value(findings) == "high"
    assert "words" in findings.measured[0].how


def test_the_samples_lie_between(sample):
    findings = vocabulary(sample)
    assert value(findings) == "medium"
    assert "chainhand" in findings.measured[0].how


@pytest.mark.parametrize(("texts", "why"), [
    ([_GERMAN] * 30, "100% of the words"), ([_GERMAN] * 30 + [_PLAIN] * 5, "not running English"),
    ([_PLAIN], "too few")])
def test_other_languages_and_scraps_have_no_answer(tmp_path, texts, why):
    findings = vocabulary(corpus_of(tmp_path, texts))
    assert not findings.measured
    assert why in findings.unmeasured[0].why


def test_code_names_and_numbers_are_no_vocabulary():
    text = ("The gate calls `open_gate(3)` and Haverstock said that DMCA notices, see "
            "https://example.org/x, need the --force flag of snake_case and camelCase. "
            "Don’t.\n```\nlet mut frobnicator = 1;\n```\nA state-of-the-art gate.")
    counted = fold(forms(text))
    assert counted["gate"] == 2
    assert {"dmca", "notices", "state", "art"} <= set(counted)
    assert not {"haverstock", "open_gate", "frobnicator", "https", "force", "camelcase",
                "snake_case", "x"} & set(counted)


def test_english_share_of_nothing_is_nothing():
    assert english_share({}) == 0.0
    assert english_share({"the": 1, "gate": 3}) == 0.25


# --- all of it ----------------------------------------------------------------------------


def test_every_field_is_measured_or_has_its_reason(sample):
    findings = measure_corpus(sample)
    fields = [m.field for m in findings.measured] + [f.where for f in findings.unmeasured]
    assert sorted(fields) == ["corpus_tokens", "documents_searchable", "facts_change",
                              "vocabulary"]
    assert all(m.how and m.given is None for m in findings.measured)
    assert all(f.why for f in findings.unmeasured)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_documents_does_not_change_the_answers(tmp_path, sample, seed):
    corpus = with_times(tmp_path, [7 * n + 3 for n in range(40)])
    documents = [*corpus.documents, *sample.documents,
                 *corpus_of(tmp_path, sheets(30)).documents]
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)
    assert measure_corpus(Corpus(tuple(shuffled))) == measure_corpus(Corpus(tuple(documents)))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_order_of_paths_does_not_change_the_corpus(tmp_path, order):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(f"Gate {name}.")
    corpus = read_corpus([str(tmp_path / name) for name in order])
    assert [d.path.parent.name for d in corpus.documents] == ["a", "b"]
