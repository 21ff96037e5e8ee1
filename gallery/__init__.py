"""Who is who: collections of identities and their face embeddings. SQLite is the truth, FAISS is derived from it."""
