"""Each key with its type, its bounds, its default and its trade-off, in one place.

`phi3kit init` writes the file from the same declarations.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from phi3kit.records import Arm, Criterion

# Bounds of values that may also be null: they stand with the number. The upper ones keep out
# infinity.
_Tokens = Annotated[int, Meta(ge=1)]
_Volume = Annotated[int, Meta(ge=1, le=10**12)]
_NotNegative = Annotated[float, Meta(ge=0.0, le=1e9)]
_Positive = Annotated[float, Meta(gt=0.0, le=1e9)]
# A file or folder of this machine; `load` puts the home folder in the place of its `~`.
PATH = "path"
# Never "", which would be the working folder: what a script gives whose variable is not set.
_Path = Annotated[str, Meta(min_length=1, extra={PATH: True})]


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base model that every command shares."""

    name: Annotated[str, Meta(description=(
        "Catalog name (phi-3-mini, phi-4-mini, …), hub id, or local folder. The packaged "
        "smollm2-135m needs no hub and no GPU, and knows little."))] = "smollm2-135m"
    revision: Annotated[str | None, Meta(description=(
        "Commit of a hub model. Pinned: the same weights tomorrow; null: the catalog's pin, "
        "else the newest."))] = None
    quantization: Annotated[Literal["auto", "none", "nf4"], Meta(description=(
        "How the base answers. auto: as its adapter was trained (nf4 after --qlora), none "
        "without one. nf4 takes about a quarter of the memory and loses a little quality."))] = (
        "auto")
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], Meta(description=(
        "Arithmetic. auto: bfloat16 where the machine is fast at it, else float16 on CUDA, "
        "float32 on CPU; with finetune.full always float32 on CPU."))] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Meta(description=(
        "auto takes a GPU when there is one."))] = "auto"
    endpoint: Annotated[str | None, Meta(description=(
        "URL of an OpenAI-compatible server (vLLM, Ollama, llama.cpp) that answers instead, for "
        "example http://localhost:11434/v1; name is then the model that it serves. Questions "
        "and passages are sent there. Its key is read from PHI3KIT_API_KEY."))] = None
    endpoint_context: Annotated[int, Meta(ge=256, description=(
        "Tokens of prompt and answer together that the server's model holds."))] = 4096


class IngestSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documents in, a Chroma collection out."""

    corpus: Annotated[tuple[_Path, ...], Meta(description=(
        "Files and folders that the collection mirrors: what is removed from them goes from "
        "the collection too (see prune)."))] = ()
    store: Annotated[_Path, Meta(description=(
        "Folder of the Chroma store, to be kept out of the corpus and out of git; or a Chroma "
        "server, which many can ask: http://host:8000, https://host:443/tenant/database (token "
        "from CHROMA_API_KEY). What it holds is asked of it at each run, so an unchanged corpus "
        "costs more than in a folder."))] = (
        ".phi3kit/store")
    collection: Annotated[str, Meta(min_length=3, max_length=63, description=(
        "Name of the collection; one embedder and one chunking per collection."))] = "documents"
    embedder: Annotated[str, Meta(description=(
        "sentence-transformers model: minilm (packaged, English, fast), hub id or folder; or a "
        "provider's, which is sent your text: openai:MODEL, azure:DEPLOYMENT, jina:MODEL, "
        "URL#MODEL (Ollama, vLLM). "
        "Larger ones find more and embed slower; a change needs a new collection."))] = "minilm"
    requests_per_minute: Annotated[_Volume | None, Meta(description=(
        "Most requests of an ingest to a provider's embedder in a minute, each of up to 256 "
        "chunks; null: as fast as it answers. Set it where your account has a limit; when the "
        "provider refuses for it (429), the request is tried again later anyway."))] = None
    precision: Annotated[Literal["auto", "int8"], Meta(description=(
        "Of the embedder. auto: the fastest on this machine that is as good as float32. int8 "
        "(CPU, extra phi3kit[int8]): faster still, and finds slightly other passages; how many "
        "is printed. A change needs a new collection; ask takes what it was built "
        "with."))] = "auto"
    chunk_tokens: Annotated[int, Meta(ge=32, le=8192, description=(
        "Longest chunk in the embedder's own tokens, at most its window. Short chunks are "
        "found and cited more exactly; long ones keep more context."))] = 200
    engine: Annotated[Literal["local", "ray"], Meta(description=(
        "What reads, cuts and embeds: this process, or Ray (extra phi3kit[ray]), on this "
        "machine or on the cluster of RAY_ADDRESS, where each machine must reach the files by "
        "the same paths. Ray takes seconds to start, so it pays with several machines "
        "or GPUs."))] = "local"
    prune: Annotated[bool, Meta(description=(
        "What is removed from the folders goes from the collection. false keeps it, and answers "
        "may then cite documents that are no longer there."))] = True


class AskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How questions are answered, in `ask` and in every arm of `compare`."""

    instruction: Annotated[str, Meta(description=(
        "System message of every prompt, and of training examples that bring none: what is "
        "trained is what is asked."))] = (
        "Answer the question briefly. If you do not know the answer, say: I do not know.")
    adapter: Annotated[_Path | None, Meta(description=(
        "Run folder of `finetune` (or an adapter folder) to answer with; null: the base "
        "model alone."))] = None
    passages: Annotated[int, Meta(ge=1, le=50, description=(
        "Passages put into the prompt. More find more and cost prompt tokens; small models "
        "lose the thread."))] = 3
    retrieval: Annotated[Literal["dense", "lexical", "hybrid"], Meta(description=(
        "What orders the passages. dense: by meaning; lexical: by shared words (BM25), best for "
        "part numbers and names; hybrid: both rankings joined."))] = "hybrid"
    filters: Annotated[tuple[str, ...], Meta(description=(
        "Only passages that pass are found: source=handbook/*.md, type=pdf, heading=safety, "
        "page=3-8. Of several with one key one has to hold, different keys together. Fewer "
        "wrong documents; what lies elsewhere cannot be found."))] = ()
    rerank: Annotated[str | None, Meta(description=(
        "Cross-encoder (folder or hub id, such as cross-encoder/ms-marco-MiniLM-L6-v2) that "
        "reads each of the first passages together with the question and orders them anew. "
        "Often better ranked, and slower at every question; null: the order stands."))] = None
    min_similarity: Annotated[float, Meta(ge=-1.0, le=1.0, description=(
        "When no passage has this cosine similarity to the question, the answer is that it does "
        "not know (dense retrieval also leaves out each passage below it). Higher: fewer wrong "
        "answers, more refusals."))] = 0.3
    unsupported: Annotated[Literal["show", "abstain"], Meta(description=(
        "What becomes of an answer that cites no passage and that none of those shown holds. show: "
        "it stands, and below it that no passage holds it; abstain: the answer is that it does not "
        "know, in every arm of compare that reads. Withholds most invented answers, a few right "
        "ones in other words, and what a tuned model says from what it learned."))] = "show"
    max_new_tokens: Annotated[int, Meta(ge=1, le=8192, description=(
        "Longest answer, in tokens. A longer one is cut off; a small number saves time when a "
        "model rambles."))] = 64


class FinetuneSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LoRA or QLoRA on the model above."""

    dataset: Annotated[_Path | None, Meta(description=(
        "Training examples (JSON, JSONL or CSV): messages, prompt/completion, Alpaca, ShareGPT or "
        "question/answer; the format is detected."))] = None
    qlora: Annotated[bool, Meta(description=(
        "Base in 4-bit NF4. On a GPU a quarter of the weights' memory and slower steps: use it "
        "when LoRA does not fit. On a CPU a model of up to about 1B is held dequantised as well, "
        "so that it is as fast as LoRA and takes more memory, not less."))] = False
    full: Annotated[bool, Meta(description=(
        "Train every weight of the base instead of an adapter: learns most, forgets most, and "
        "takes 16 bytes per parameter before activations. For models under 1B, larger ones by "
        "shares (shard), with a learning_rate near 2e-5; the run then holds a whole "
        "model."))] = False
    dora: Annotated[bool, Meta(description=(
        "Train each weight column's length apart from its direction (DoRA). Sometimes better "
        "at rank 8 and below; steps take about twice the time."))] = False
    rslora: Annotated[bool, Meta(description=(
        "Scale by alpha / sqrt(rank) instead of alpha / rank, so that ranks of 64 and more "
        "learn at full strength. At small ranks take a smaller alpha with it."))] = False
    init: Annotated[Literal["default", "pissa", "loftq"], Meta(description=(
        "Where the adapter begins. default: changing nothing; pissa: with the base's largest "
        "singular parts, which learns faster and makes a file of twice the rank; loftq (with "
        "qlora): with what 4-bit rounding lost. Both cost a decomposition of each weight at "
        "the start."))] = "default"
    passages: Annotated[float, Meta(ge=0.0, le=1.0, description=(
        "Share of the examples whose prompt carries retrieved passages, as `ask` would show "
        "them (needs an ingested collection). 0: a model that answers from memory; 0.5: one "
        "that can do both. Tuned without, a model often answers worse with passages."))] = 0.0
    rank: Annotated[int, Meta(ge=1, le=1024, description=(
        "Rank of the adapter. Higher learns more and costs memory; 8–32 serve most "
        "tasks."))] = 16
    alpha: Annotated[int, Meta(ge=1, le=4096, description=(
        "Scale of the adapter, divided by the rank; twice the rank is usual."))] = 32
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0, description=(
        "Dropout on the adapter's input. 0 is fastest; 0.05 helps a little on small "
        "datasets trained long."))] = 0.0
    learning_rate: Annotated[float, Meta(gt=0.0, le=1.0, description=(
        "Peak rate, linear warm-up then cosine decay. Small models bear 5e-4, 7B and up "
        "1e-4 to 2e-4."))] = 2e-4
    epochs: Annotated[float, Meta(gt=0.0, le=1000.0, description=(
        "Passes over the examples. Labels and style need 2–5; more repeats them by "
        "heart."))] = 3.0
    batch_size: Annotated[int, Meta(ge=1, le=65536, description=(
        "Examples per optimizer step. It changes the result; micro_batch_tokens does "
        "not."))] = 8
    micro_batch_tokens: Annotated[_Tokens | None, Meta(description=(
        "Tokens, padding included, that one forward and backward pass may hold. null: chosen by "
        "the device: on a CPU 1,024, or room for the longest row on each core where half of the "
        "memory holds that, which gains little from more; on a CUDA card what `phi3kit "
        "plan` counts into its free memory with room kept, up to a whole optimizer step. Higher "
        "is faster until memory ends: set it lower where it ends, higher where the room is "
        "yours to risk."))] = None
    packing: Annotated[bool, Meta(description=(
        "Lay the examples of a micro-batch end to end instead of padding them. Pays where lengths "
        "differ much; on a GPU attention then works on the square of micro_batch_tokens. Refused "
        "for models in which one example would see another; the result differs by rounding "
        "only. On a CPU, without dropout, they lie so anyway where the model allows it."))] = False
    max_tokens: Annotated[int, Meta(ge=16, description=(
        "Longest example; a longer one loses the start of its prompt, never its "
        "answer."))] = 1024
    checkpointing: Annotated[bool, Meta(description=(
        "Recompute activations in the backward pass instead of keeping them: a fraction of the "
        "memory, about a third slower; the result differs by rounding only. Phi-3 needs it on "
        "most cards, the packaged model does not."))] = False
    shard: Annotated[bool, Meta(description=(
        "With several processes (torchrun): each holds its share of the frozen layers, with full "
        "of all weights, gradients and optimizer states, and gathers the others' when it needs "
        "them (FSDP). For a model that does not fit one card; each step then carries the layers "
        "over the network twice per micro-batch, and with full their gradients. The result is "
        "the same."))] = False
    seed: Annotated[int, Meta(ge=0, description=(
        "Same seed, same data, same machine: same adapter (on a CPU to the bit; a card's kernels "
        "may add up in another order). Trainings with several seeds tell "
        "how much of a score is luck (compare.more_adapters)."))] = 0
    report_to: Annotated[Literal["none", "tensorboard", "wandb", "mlflow"], Meta(description=(
        "A tracker that gets each step's loss too, beside metrics.jsonl; its package has to be "
        "installed. wandb and mlflow may send the figures to a server."))] = "none"


class CompareSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every option on held-out questions."""

    questions: Annotated[_Path | None, Meta(description=(
        "Held-out questions, JSON Lines: id, question, answers, source_ids, answerable, "
        "kind, format, terms. None of them may stand among the training examples."))] = None
    arms: Annotated[tuple[Arm, ...], Meta(description=(
        "What runs. base, rag, finetune and both can win; those left out cannot. few-shot, "
        "oracle-rag, full-context and bolted-on tell why something wins, and take as long as "
        "any other."))] = ("base", "rag", "finetune", "both")
    adapter_rag: Annotated[_Path | None, Meta(description=(
        "Run folder of an adapter that was tuned with passages: both answers with it, and "
        "bolted-on with ask.adapter. null: ask.adapter serves finetune and both."))] = None
    more_adapters: Annotated[tuple[_Path, ...], Meta(description=(
        "Run folders of the same training as ask.adapter with other seeds (finetune.seed): each "
        "answers all questions too, and how much a seed changes is in the intervals. Two or more "
        "of them tell something; each takes as long as the first. Freshness, learning curve and "
        "judge look at the first alone."))] = ()
    more_adapters_rag: Annotated[tuple[_Path, ...], Meta(description=(
        "The same for compare.adapter_rag."))] = ()
    shots: Annotated[int, Meta(ge=1, le=64, description=(
        "Training examples in each prompt of few-shot, those nearest to the question. More "
        "show more and cost prompt tokens; small models lose the thread."))] = 4
    metric: Annotated[Literal["score", "token_f1", "exact_match", "contains", "span_f1", "rouge_l",
                              "chrf"], Meta(description=(
        "What decides. score: exact label for closed kinds, abstention for unanswerable "
        "questions, token F1 for the rest; the others apply one measure to all."))] = "score"
    formats: Annotated[_Path | None, Meta(description=(
        "YAML or JSON file that says what the `format` of a question is: a name with `regex`, or "
        "with `schema` (a JSON schema, or its file). How many answers keep to it is shown; it "
        "does not decide."))] = None
    similarity: Annotated[bool, Meta(description=(
        "Embed answers and gold answers with ingest.embedder and show how alike they are in "
        "meaning. Takes seconds; what negates the right answer is alike too; a provider's "
        "embedder is sent the answers."))] = False
    general_questions: Annotated[_Path | None, Meta(description=(
        "General questions, as a file like `questions` or `shipped` for 40 of our own: which of "
        "those that the base answers right does an arm no longer know? Asked of the base and "
        "of each arm that can win, which takes that much longer."))] = None
    judge: Annotated[str | None, Meta(description=(
        "URL of an OpenAI-compatible server whose model says which of two answers is better, "
        "asked in both orders. It sees questions, right answers and outputs; two requests for "
        "each question and pair of arms. Shown beside; it does not decide."))] = None
    judge_model: Annotated[str | None, Meta(description=(
        "Name of the judge's model on that server; a stronger one than those judged."))] = None
    weights: Annotated[dict[Criterion, Annotated[float, Meta(ge=0.0)]], Meta(description=(
        "How much each criterion weighs: quality, latency, cost, transparency, freshness, as in "
        "{quality: 2, latency: 1}; those left out weigh nothing. {}: quality alone decides. "
        "With others the choice by weights decides, and the verdict on quality stays beside "
        "it."))] = {}
    gate: Annotated[tuple[str, ...], Meta(description=(
        "Conditions for continuous integration, such as 'both token_f1 >= rag + 0.02': their "
        "outcome is the exit code, 0 all passed, 1 one failed, 3 undecided. Each is held "
        "against its interval, so that few questions leave it undecided."))] = ()
    questions_per_month: Annotated[_Volume | None, Meta(description=(
        "How many questions will be asked a month: what each arm then costs is shown, and from "
        "which volume on one costs less than another. It does not decide."))] = None
    refreshes_per_month: Annotated[_NotNegative | None, Meta(description=(
        "How often a month the documents change so much that an arm is made anew: indexed if it "
        "retrieves, trained if it is tuned. null: that costs nothing here."))] = None
    price_per_hour: Annotated[_Positive | None, Meta(description=(
        "What an hour of the machine that answers, indexes and trains costs; it counts while it "
        "works. null: costs are shown in its seconds."))] = None
    price_per_million_tokens_in: Annotated[_NotNegative | None, Meta(description=(
        "What the server at model.endpoint takes for a million tokens of prompts; null with a "
        "price for those it writes: nothing."))] = None
    price_per_million_tokens_out: Annotated[_NotNegative | None, Meta(description=(
        "The same for a million tokens that it writes. With either price, its answers cost "
        "tokens, not hours."))] = None
    currency: Annotated[str, Meta(min_length=1, max_length=8, description=(
        "Of all prices, as it stands behind a figure; nothing is converted."))] = "USD"
    freshness: Annotated[int, Meta(ge=0, le=10000, description=(
        "Facts to change after training, in a copy of the collection, and to ask for again: what "
        "does each arm still get right? 0: not measured. Takes as long as so many questions; the "
        "documents and the collection stay as they are."))] = 0
    learning_curve: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(description=(
        "Sizes of nested subsets of the examples to train on too, such as [25, 50, 100]: would "
        "more examples pay? Each takes its share of the training's time and all questions again; "
        "with all examples as the last, two or more tell where twice as many would lead."))] = ()
    margin: Annotated[float, Meta(ge=0.0, lt=1.0, description=(
        "How far ahead, in the metric, an option with more parts must be to be worth them: the "
        "simplest option that is shown to be behind none by so much wins. 0: only what is ahead "
        "of all others wins, and equals are not decidable."))] = 0.0
    confidence: Annotated[float, Meta(ge=0.5, lt=1.0, description=(
        "Level of the intervals. Higher decides less often and errs less often."))] = 0.95
    resamples: Annotated[int, Meta(ge=1000, le=1000000, description=(
        "Bootstrap resamples. More make the interval's ends steadier and take longer."))] = 10000
    batch_tokens: Annotated[int, Meta(ge=64, description=(
        "Prompt tokens, padding included, that are answered at once. Higher is faster until "
        "memory ends; answers stay the same but for rounding."))] = 8192
    seed: Annotated[int, Meta(ge=0, description=(
        "Seed of the bootstrap. Same seed, same rows: same verdict, byte for byte."))] = 0


class AdviseSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The questionnaire."""

    scenario: Annotated[_Path | None, Meta(description=(
        "Answers to the questionnaire (YAML or JSON). null: `advise` asks one by one."))] = None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. `runs` is where run folders are made."""

    model: ModelSettings = ModelSettings()
    ingest: IngestSettings = IngestSettings()
    ask: AskSettings = AskSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    compare: CompareSettings = CompareSettings()
    advise: AdviseSettings = AdviseSettings()
    runs: Annotated[_Path, Meta(description=(
        "Folder for run folders: settings, versions, hashes, results."))] = "runs"
