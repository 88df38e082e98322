"""Stories: files of scenes, and the films made from them."""
