"""Workers by the names that vLLM users know."""
