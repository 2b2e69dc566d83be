"""Resource types, their rules, and CRD generation. Knows nothing of the other packages but `errors`."""
