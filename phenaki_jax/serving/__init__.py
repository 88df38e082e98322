"""An HTTP server of stories, which survives being killed, and its page."""
