"""The corpus into Chroma with LlamaIndex: `python with_llamaindex.py CORPUS STORE MODEL TOKENS`.

As its guides do it: SimpleDirectoryReader, SentenceSplitter in the model's tokens,
HuggingFaceEmbedding and VectorStoreIndex.from_documents over ChromaVectorStore, all with their
defaults but for the chunk's size and no overlap.
"""

import json
import sys
import time

import chromadb
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore
from transformers import AutoTokenizer

corpus, store, model, tokens = sys.argv[1:]
embedding = HuggingFaceEmbedding(model_name=model)
tokenizer = AutoTokenizer.from_pretrained(model)
embedding.get_text_embedding("warm")

started = time.perf_counter()
documents = SimpleDirectoryReader(corpus).load_data()
splitter = SentenceSplitter(
    chunk_size=int(tokens), chunk_overlap=0,
    tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False))
collection = chromadb.PersistentClient(path=store).get_or_create_collection("documents")
before = collection.count()
context = StorageContext.from_defaults(
    vector_store=ChromaVectorStore(chroma_collection=collection))
VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=embedding,
                                transformations=[splitter])
seconds = time.perf_counter() - started
stored = collection.count()
print(json.dumps({"chunks": stored - before, "seconds": seconds, "files": len(documents),
                  "stored": stored}))
