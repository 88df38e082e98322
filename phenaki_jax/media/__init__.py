"""Films, GIFs, images and contact sheets: one writer of each format.

Every file records its provenance as JSON in the comment of its format, with
the notice 'AI-generated' unless the caller gives another.
"""
