"""One file per command: parse, wire, call; the logic lives elsewhere."""
