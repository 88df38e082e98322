"""Writers of the layouts in which real data comes."""
