"""Who is who: collections of identities and their face embeddings. `gallery.py` says what is promised of them."""
