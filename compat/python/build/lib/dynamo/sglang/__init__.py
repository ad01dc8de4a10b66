"""Workers by the names that SGLang users know."""
