"""RepoExpert: turns a Git repository into a small coding model that knows it."""

__version__ = "0.1.0"
