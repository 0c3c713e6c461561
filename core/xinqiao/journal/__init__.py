"""The one journal: a hash chain per writer, appended in the same transaction as its effect, verifiable offline."""
