"""Adapters for frameworks, each imported by its own name: `nearfield.integrations.langchain`, `llama_index`, `haystack`."""
