"""The sources of records; each implements `base.Source`."""
