"""vLLM on a model folder: command line, readiness, smoke test, client configuration."""
