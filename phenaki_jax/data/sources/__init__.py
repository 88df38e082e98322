"""The places that records come from; each is a Source of `base`."""
