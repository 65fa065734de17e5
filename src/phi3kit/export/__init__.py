"""A trained model on its way out: merged, as GGUF, for Ollama or for vLLM, and measured again."""
