"""The prompts, as files: the same ones collect, train and evaluate, and their hash is part of every trajectory."""
