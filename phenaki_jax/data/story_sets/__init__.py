"""Published sets of captioned stories, and the HDF5 file that all become."""
