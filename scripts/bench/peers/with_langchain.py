"""The corpus into Chroma with LangChain: `python with_langchain.py CORPUS STORE MODEL TOKENS`.

As its guides do it: RecursiveCharacterTextSplitter in the model's tokens, HuggingFaceEmbeddings,
and Chroma.add_documents, all with their defaults but for the chunk's size and no overlap.
"""

import json
import sys
import time
from pathlib import Path

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from transformers import AutoTokenizer

corpus, store, model, tokens = sys.argv[1:]
embeddings = HuggingFaceEmbeddings(model_name=model)
tokenizer = AutoTokenizer.from_pretrained(model)
embeddings.embed_documents(["warm"])

started = time.perf_counter()
documents = [Document(path.read_text(encoding="utf-8"), metadata={"source": str(path)})
             for path in sorted(Path(corpus).iterdir())]
splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
    tokenizer, chunk_size=int(tokens), chunk_overlap=0)
chunks = splitter.split_documents(documents)
vector_store = Chroma("documents", embedding_function=embeddings, persist_directory=store)
vector_store.add_documents(chunks)
seconds = time.perf_counter() - started
print(json.dumps({"chunks": len(chunks), "seconds": seconds, "files": len(documents),
                  "stored": len(vector_store.get(include=[])["ids"])}))
