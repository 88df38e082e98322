"""Films, GIFs, pictures and contact sheets: one writer of each format."""
